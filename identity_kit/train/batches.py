"""Which rows go into which step: a pure function of the lengths, the recipe and the seed, so that any step can be made
again alone, by any process."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from identity_kit.train.recipe import Recipe

Step = list[list[int]]
"""One optimiser step: micro-batches, each a list of row numbers."""

_WINDOW = 16  # steps among which rows are sorted by length


def plan_steps(lengths: Sequence[int], recipe: Recipe, *, processes: int = 1) -> list[Step]:
    """All steps of a run, in order. With several processes, process p takes the micro-batches p, p+n, p+2n, ….

    Rows of like length meet in a step (less padding); within a window of steps and between windows the order is random.
    `batch_tokens` fills micro-batches up to that many tokens instead of `batch_size` rows.
    """
    micro = recipe.gradient_accumulation * processes
    steps: list[Step] = []
    whole, part = int(recipe.epochs), recipe.epochs - int(recipe.epochs)
    for epoch in range(math.ceil(recipe.epochs)):
        chance = random.Random(f"{recipe.seed}:{epoch}")
        made = _epoch(lengths, recipe, micro, chance)
        steps.extend(made if epoch < whole else made[: max(1, round(len(made) * part))])
    if recipe.max_steps is not None:
        while len(steps) < recipe.max_steps:
            chance = random.Random(f"{recipe.seed}:{len(steps)}:more")
            steps.extend(_epoch(lengths, recipe, micro, chance))
        steps = steps[: recipe.max_steps]
    return steps


def _epoch(lengths: Sequence[int], recipe: Recipe, micro: int, chance: random.Random) -> list[Step]:
    rows = list(range(len(lengths)))
    chance.shuffle(rows)
    if recipe.group_by_length:
        window = _WINDOW * micro * recipe.batch_size
        rows = [
            row for i in range(0, len(rows), window) for row in sorted(rows[i : i + window], key=lambda r: lengths[r])
        ]
    batches = _by_tokens(rows, lengths, recipe.batch_tokens) if recipe.batch_tokens else _by_rows(rows, recipe, micro)
    steps = [batches[i : i + micro] for i in range(0, len(batches), micro)]
    chance.shuffle(steps)
    return steps


def _by_rows(rows: list[int], recipe: Recipe, micro: int) -> Step:
    """Micro-batches of `batch_size` rows; what is left over is spread evenly over the last step's micro-batches."""
    size = recipe.batch_size
    batches: Step = []
    for i in range(0, len(rows), size * micro):
        step = rows[i : i + size * micro]
        share = math.ceil(len(step) / micro)
        batches.extend(step[j * share : (j + 1) * share] for j in range(micro))
    return batches


def _by_tokens(rows: list[int], lengths: Sequence[int], budget: int) -> Step:
    batches: Step = [[]]
    used = 0
    for row in rows:
        if batches[-1] and used + lengths[row] > budget:
            batches.append([])
            used = 0
        batches[-1].append(row)
        used += lengths[row]
    return batches
