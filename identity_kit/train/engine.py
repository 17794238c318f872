"""The two ways to compute a step, behind one face: the fast engine where it fits, the plain one everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from identity_kit.train.data import TrainingData
from identity_kit.train.model import Setting
from identity_kit.train.plain import PlainEngine
from identity_kit.train.tokens import Row


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
    """The engine that the recipe asks for."""
    return Engine(PlainEngine(model, setting.recipe), data)
