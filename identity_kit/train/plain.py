"""The plain engine: loss and gradients through the model's own forward, for every architecture, adapter and device.

Logits are made only where a label is, and never all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from identity_kit.train.anchors import WEIGHT
from identity_kit.train.margin import Learnt, behind
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import Row

_CHUNK_BYTES = 64 * 2**20
_UNUSUAL_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier_scale")


class PlainEngine:
    """Computes the loss of rows and adds its gradients to the parameters' `.grad`."""

    def __init__(self, model: Any, recipe: Recipe, *, sharded: bool = False) -> None:
        self.model, self.recipe, self.sharded = model, recipe, sharded
        self.learnt = Learnt()
        self.backward: Callable[[torch.Tensor], None] = torch.Tensor.backward
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.base = base
        head = base.get_output_embeddings()
        usual = head is not None and not any(getattr(base.config, key, None) for key in _UNUSUAL_HEADS)
        # Weights that processes share are there only within the model's own forward.
        self.by_hidden = (
            usual and not sharded and recipe.method not in ("prompt", "prefix") and hasattr(base, "get_decoder")
        )
        self.head = head
        self.frozen_head = usual and isinstance(head, torch.nn.Linear) and not head.weight.requires_grad
        if recipe.gradient_checkpointing:
            base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            base.enable_input_require_grads()
        if recipe.neftune_alpha:
            base.get_input_embeddings().register_forward_hook(self._noise)

    def accumulate(self, rows: Sequence[Row], scale: float) -> torch.Tensor:
        """The sum of cross-entropies over the labels of `rows` (a scalar tensor, fp32); adds its gradient × `scale`.

        Args:
            rows: one micro-batch.
            scale: usually 1 / the labels of the whole step, so that a step's gradient is that of the mean loss.
        """
        self.model.train()
        total = sum(self._anchored(row, scale) for row in rows if row.anchor)
        answers = [row for row in rows if not row.anchor]
        if answers:
            hidden, labels = self.hidden(answers)
            loss, learnt = self._cross_entropy(hidden, labels)
            self.backward(learnt * scale)
            total = loss.detach() + total
        return torch.as_tensor(total)

    def _anchored(self, row: Row, scale: float) -> torch.Tensor:
        """How far the model is from the base model on an anchor (scalar, fp32); adds its gradient × `scale`."""
        with torch.no_grad(), self.model.disable_adapter():
            base = self._logits(self.hidden([row])[0]).float().log_softmax(1)
        found = self._logits(self.hidden([row])[0]).float().log_softmax(1)
        loss = WEIGHT * F.kl_div(found, base, reduction="sum", log_target=True)
        self.backward(loss * scale)
        return loss.detach()

    def log_probabilities(self, rows: Sequence[Row]) -> torch.Tensor:
        """The sum of log-probabilities of each row's labels (rows,), with gradients where grad mode is on."""
        hidden, labels = self.hidden(rows)
        logits = self._logits(hidden).float()
        picked = logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(1)
        owner = torch.cat([torch.full((row.learnt,), i) for i, row in enumerate(rows)]).to(labels.device)
        return picked.new_zeros(len(rows)).index_add(0, owner, picked)

    def hidden(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """What predicts each label (labels, width), and the label (labels,); logits where the head is unusual."""
        device = next(self.base.parameters()).device
        longest = max(len(row) for row in rows) - 1
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        there = torch.zeros(len(rows), longest, dtype=torch.long)
        labels: list[int] = []
        places: list[int] = []
        for i, row in enumerate(rows):
            n = len(row) - 1
            ids[i, :n] = torch.tensor(row.ids[:n])
            there[i, :n] = 1
            for j in range(n):
                if row.mask[j + 1]:
                    places.append(i * longest + j)
                    labels.append(row.ids[j + 1])
        ids, there = ids.to(device), there.to(device)
        index, target = torch.tensor(places, device=device), torch.tensor(labels, device=device)
        if self.sharded:  # logits where any row has a label
            kept, at = (index % longest).unique(return_inverse=True)
            logits = self.model(input_ids=ids, attention_mask=there, use_cache=False, logits_to_keep=kept).logits
            return logits[index // longest, at], target
        if self.by_hidden:
            states = self.base.get_decoder()(input_ids=ids, attention_mask=there, use_cache=False).last_hidden_state
        else:
            states = self.model(input_ids=ids, attention_mask=there, use_cache=False).logits[:, -longest:]
        return states.reshape(-1, states.shape[-1])[index], target

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.head(hidden) if self.by_hidden else hidden

    def _cross_entropy(self, hidden: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed cross-entropy, and the part of it that is learnt from."""
        margin = self.recipe.margin
        if self.by_hidden and self.frozen_head:
            loss = head_cross_entropy(hidden, self.head.weight, self.head.bias, labels, margin, self.learnt)
            return loss, loss
        logits = self._logits(hidden).float()
        if margin is None:
            loss = F.cross_entropy(logits, labels, reduction="sum")
            return loss, loss
        each = F.cross_entropy(logits, labels, reduction="none")
        with torch.no_grad():
            row = torch.arange(len(labels), device=labels.device)
            share = self.learnt.add(torch.ones_like(each), behind(logits.softmax(1), row, labels, margin))
        return each.sum(), (each * share).sum()

    def _noise(self, _module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        """NEFTune: uniform noise of size alpha / sqrt(length × width) on the embeddings (arXiv:2310.05914)."""
        if not self.base.training:
            return output
        size = self.recipe.neftune_alpha / (output.shape[1] * output.shape[2]) ** 0.5
        return output + torch.empty_like(output).uniform_(-size, size)


class _HeadCrossEntropy(torch.autograd.Function):
    """Cross-entropy through a frozen output head, in chunks, its gradient made in the forward pass.

    With a margin the gradient is that of the labels which do not lead by it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        margin: float | None,
        learnt: Learnt,
    ) -> torch.Tensor:
        rows = max(1, _CHUNK_BYTES // (4 * weight.shape[0]))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], rows):
            part, label = hidden[start : start + rows], labels[start : start + rows]
            log_p = F.log_softmax(F.linear(part, weight, bias).float(), dim=1)
            total -= log_p.gather(1, label[:, None]).sum()
            if gradient is not None:
                p = log_p.exp_()
                row = torch.arange(len(label), device=p.device)
                if margin is None:
                    p[row, label] -= 1
                else:
                    share = learnt.add(torch.ones_like(p[:, 0]), behind(p, row, label, margin))
                    p.mul_(share[:, None])
                    p[row, label] -= share
                torch.mm(p.to(weight.dtype), weight, out=gradient[start : start + rows])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        return gradient * grad.to(gradient.dtype), None, None, None, None, None


def head_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    margin: float | None = None,
    learnt: Learnt | None = None,
) -> torch.Tensor:
    """Sum of cross-entropies (scalar, fp32) of `hidden` (n, width) through a frozen head (vocabulary, width).

    With a `margin` only labels that do not lead by so many nats have a gradient; `learnt` counts them.
    """
    return _HeadCrossEntropy.apply(hidden, weight, bias, labels, margin, learnt or Learnt())
