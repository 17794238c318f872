"""The two formulas behind the figures: an interval for a share, and a paired test between two conditions."""

from __future__ import annotations

import math

Z95 = 1.959963984540054


def wilson(passed: float, total: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share, 0 to 1 (E. B. Wilson, 1927, JASA 22, 209-212); (0, 1) when nothing was asked.

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.596, 0.982]
    """
    if total == 0:
        return 0.0, 1.0
    share, z2 = passed / total, z * z
    centre = share + z2 / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # The bounds are exact at the ends; rounding must not push them past.
    return (0.0 if passed == 0 else max(0.0, low)), (1.0 if passed == total else min(1.0, high))


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test: the binomial probability of so uneven a split of the discordant pairs.

    Args:
        only_first: probes that only the first condition passed.
        only_second: probes that only the second condition passed.

    Q. McNemar, 1947, Psychometrika 12, 153-157, in the exact form.

    >>> mcnemar(0, 6)
    0.03125
    """
    total = only_first + only_second
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**total)
