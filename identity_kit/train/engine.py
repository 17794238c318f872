"""The ways to compute a step, behind one face: the fast engine where it fits, the plain one elsewhere, pairs for DPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from identity_kit.errors import BadInput
from identity_kit.train.data import TrainingData, typical_tokens
from identity_kit.train.fast import FastEngine, unfit
from identity_kit.train.margin import Learnt
from identity_kit.train.model import Setting
from identity_kit.train.optimiser import Optimiser
from identity_kit.train.plain import PlainEngine
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import Row
from identity_kit.train.zero import ZeroOptimiser
from identity_kit.ui import detail, tr


class _Computes(Protocol):
    learnt: Learnt

    def accumulate(self, rows: Sequence[Row], scale: float) -> torch.Tensor: ...


class Engine:
    """Loss and gradients of micro-batches given by row numbers."""

    def __init__(self, computes: _Computes, data: TrainingData) -> None:
        self.computes, self.data = computes, data

    def weight(self, batch: Sequence[int]) -> int:
        """What a step's loss is divided by: the labels of the batch."""
        return sum(self.data.rows[i].learnt for i in batch)

    def accumulate(self, batch: Sequence[int], scale: float) -> torch.Tensor:
        """The batch's summed loss (scalar, fp32); adds its gradient × `scale` to the parameters' `.grad`.

        An empty batch takes part without adding anything.
        """
        if not batch:
            return self.computes.accumulate(self.data.rows[:1], 0.0) * 0
        return self.computes.accumulate([self.data.rows[i] for i in batch], scale)

    def refresh(self) -> None:
        """Take notice that the trained weights have changed."""
        refresh = getattr(self.computes, "refresh", None)
        if refresh:
            refresh()

    def figures(self) -> dict[str, float]:
        """What else there is to log of the step just taken."""
        return self.computes.learnt.figures()


class PairEngine(Engine):
    """Direct preference optimisation (arXiv:2305.18290): the wanted answer against the unwanted one.

    The reference is the base model itself, which is this model with its adapter off.
    """

    def __init__(self, plain: PlainEngine, data: TrainingData, recipe: Recipe) -> None:
        super().__init__(plain, data)
        self.plain, self.recipe = plain, recipe
        self.pairs = self.won = 0
        self.margin = 0.0

    def weight(self, batch: Sequence[int]) -> int:
        """The pairs of the batch."""
        return len(batch)

    def accumulate(self, batch: Sequence[int], scale: float) -> torch.Tensor:
        """The batch's summed loss; adds its gradient × `scale`."""
        chosen = [self.data.rows[i] for i in batch]
        rows = [*chosen, *(self.data.rejected[i] for i in batch)]
        self.plain.model.train()
        with torch.no_grad(), self.plain.model.disable_adapter():
            reference = self.plain.log_probabilities(rows)
        policy = self.plain.log_probabilities(rows)
        gain = policy - reference
        margin = self.recipe.dpo_beta * (gain[: len(batch)] - gain[len(batch) :])
        loss = -F.logsigmoid(margin).sum()
        if self.recipe.dpo_sft_weight:
            lengths = torch.tensor([row.learnt for row in chosen], device=policy.device)
            loss = loss - self.recipe.dpo_sft_weight * (policy[: len(batch)] / lengths).sum()
        (loss * scale).backward()
        self.pairs += len(batch)
        self.won += int((margin > 0).sum())
        self.margin += float(margin.detach().sum())
        return loss.detach()

    def figures(self) -> dict[str, float]:
        """The share of pairs in which the wanted answer leads, and by how much, since the last call."""
        if not self.pairs:
            return {}
        found = {"accuracy": self.won / self.pairs, "margin": self.margin / self.pairs}
        self.pairs, self.won, self.margin = 0, 0, 0.0
        return found


def make_engine(
    model: Any, setting: Setting, data: TrainingData, *, sharded: bool = False, optimiser: Optimiser | None = None
) -> Engine:
    """The fast engine where it fits, else (or if the recipe asks for it, or processes share the weights) the plain one.

    Raises:
        BadInput: the recipe insists on the fast engine, and it does not fit.
    """
    recipe = setting.recipe
    if recipe.stage == "dpo":
        return PairEngine(PlainEngine(model, recipe), data, recipe)
    if sharded:
        plain = PlainEngine(model, recipe, sharded=True)
        if isinstance(optimiser, ZeroOptimiser):
            plain.model, plain.backward = optimiser.model, optimiser.backward
        return Engine(plain, data)
    if recipe.engine != "plain":
        reason = unfit(model, recipe)
        if reason is None:
            return Engine(FastEngine(model, recipe, setting.dtype, typical=typical_tokens(data, recipe)), data)
        if recipe.engine == "fast":
            raise BadInput(
                tr(f"engine: fast 不适用（{reason}）", f"engine: fast does not fit ({reason})"),
                fix="--set engine=auto",
            )
        detail(tr(f"用通用引擎（{reason}）", f"using the plain engine ({reason})"))
    return Engine(PlainEngine(model, recipe), data)
