"""The two ways to compute a step, behind one face: the fast engine where it fits, the plain one everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from identity_kit.errors import BadInput
from identity_kit.train.data import TrainingData
from identity_kit.train.fast import FastEngine, unfit
from identity_kit.train.model import Setting
from identity_kit.train.plain import PlainEngine
from identity_kit.train.tokens import Row
from identity_kit.ui import detail, tr


class _Computes(Protocol):
    def accumulate(self, rows: Sequence[Row], scale: float) -> torch.Tensor: ...


class Engine:
    """Loss and gradients of micro-batches given by row numbers."""

    def __init__(self, computes: _Computes, data: TrainingData) -> None:
        self.computes, self.data = computes, data

    def weight(self, batch: Sequence[int]) -> int:
        """What a step's loss is divided by: the labels of the batch."""
        return sum(self.data.rows[i].learnt for i in batch)

    def accumulate(self, batch: Sequence[int], scale: float) -> torch.Tensor:
        """The batch's summed loss (scalar, fp32); adds its gradient × `scale` to the parameters' `.grad`."""
        return self.computes.accumulate([self.data.rows[i] for i in batch], scale)

    def refresh(self) -> None:
        """Take notice that the trained weights have changed."""
        refresh = getattr(self.computes, "refresh", None)
        if refresh:
            refresh()


def make_engine(model: Any, setting: Setting, data: TrainingData) -> Engine:
    """The fast engine where it fits, else (or if the recipe asks for it) the plain one.

    Raises:
        BadInput: the recipe insists on the fast engine, and it does not fit.
    """
    recipe = setting.recipe
    if recipe.engine != "plain":
        reason = unfit(model, recipe)
        if reason is None:
            return Engine(FastEngine(model, recipe, setting.dtype), data)
        if recipe.engine == "fast":
            raise BadInput(
                tr(f"engine: fast 不适用（{reason}）", f"engine: fast does not fit ({reason})"),
                fix="--set engine=auto",
            )
        detail(tr(f"用通用引擎（{reason}）", f"using the plain engine ({reason})"))
    return Engine(PlainEngine(model, recipe), data)
