"""The formulas behind the figures: an interval for a share, a paired test, and an interval for a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def mean_difference(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The sum of differences over the sum of sizes, and its 95 % interval, from (difference, size) of at least two units.

    The interval is that of a ratio estimate (W. G. Cochran, Sampling Techniques, 1977, section 6.3), the units taken for
    a sample, with Student's quantile.

    >>> [round(figure, 3) for figure in mean_difference([(1.0, 10), (2.0, 10), (3.0, 10)])]
    [0.2, -0.048, 0.448]
    """
    n, size = len(pairs), sum(size for _, size in pairs)
    ratio = sum(difference for difference, _ in pairs) / size
    squares = sum((difference - ratio * each) ** 2 for difference, each in pairs)
    spread = _student(n - 1) * math.sqrt(n / (n - 1) * squares) / size
    return ratio, ratio - spread, ratio + spread


# Student's 97.5 % quantiles for 1, 2, … degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def _student(freedom: int) -> float:
    """Student's 97.5 % quantile; above ten degrees of freedom by its expansion, to 0.001."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = Z95
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
