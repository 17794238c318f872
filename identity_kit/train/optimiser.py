"""The optimiser's side of the weights: 32-bit masters in flat buffers behind the (perhaps 16-bit) trained parameters.

One flat buffer a group makes the norm, the clipping, the all-reduce and the update one call each, and keeps small
updates that 16-bit weights would round away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import BadInput
from identity_kit.train.checkpoint import Checkpoint
from identity_kit.train.recipe import Recipe
from identity_kit.ui import tr


class _Group:
    """Parameters that share a learning rate, laid end to end: values, gradients, and the 32-bit master.

    Of parameters that processes share, the part that this one holds; `pull` and `push` copy it from and to the model.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], ratio: float) -> None:
        self.parameters, self.ratio = parameters, ratio
        self.sharded = hasattr(parameters[0], "to_local")
        held = [_held(parameter) for parameter in parameters]
        self.sizes = [part.numel() for part in held]
        self.values = torch.empty(sum(self.sizes), dtype=held[0].dtype, device=held[0].device)
        self.grads = torch.zeros_like(self.values)
        first = held[0]
        parts = zip(parameters, held, self.values.split(self.sizes), self.grads.split(self.sizes), strict=True)
        for parameter, part, value, grad in parts:
            value.view(part.shape).copy_(part)
            if not self.sharded:
                parameter.data = value.view(part.shape)
                parameter.grad = grad.view(part.shape)
        self.master = self.values if first.dtype is torch.float32 else self.values.float()
        self.masters: list[torch.Tensor] = []  # parts of `master`, as the update sees them
        self.master_grad = self.grads  # in 32 bits from `pull` to `push`

    def pull(self) -> None:
        """Bring the gradients to where the update reads them, in 32 bits."""
        if self.sharded:
            for parameter, grad in zip(self.parameters, self.grads.split(self.sizes), strict=True):
                if parameter.grad is not None:
                    grad.copy_(_held(parameter.grad).flatten())
                parameter.grad = None
        self.master_grad = self.grads.float()
        parts = self.master_grad.split([master.numel() for master in self.masters])
        for master, part in zip(self.masters, parts, strict=True):
            master.grad = part.view(master.shape)

    def push(self) -> None:
        """Bring the masters to where the model reads its weights."""
        self.master_grad = self.grads
        for master in self.masters:
            master.grad = None
        if self.master is not self.values:
            self.values.copy_(self.master)
        if self.sharded:
            for parameter, value in zip(self.parameters, self.values.split(self.sizes), strict=True):
                part = _held(parameter)
                part.copy_(value.view(part.shape))


def rate_ratio(name: str, recipe: Recipe) -> float:
    """How many times the learning rate a parameter learns at. LoRA+ (arXiv:2402.12354): B matrices learn faster."""
    return recipe.loraplus_ratio if "lora_B" in name or "lora_embedding_B" in name else 1.0


def _held(tensor: Any) -> torch.Tensor:
    """The part of a parameter or gradient that this process holds."""
    return tensor.detach().to_local() if hasattr(tensor, "to_local") else tensor.detach()


class Optimiser:
    """Learning-rate schedule, gradient clipping and update over flat 32-bit masters."""

    def __init__(self, named: Iterable[tuple[str, torch.nn.Parameter]], recipe: Recipe, steps: int) -> None:
        self.recipe, self.steps, self.step_number = recipe, steps, 0
        trained = [(name, p) for name, p in named if p.requires_grad]
        by_kind: dict[tuple[torch.dtype, float], list[torch.nn.Parameter]] = {}
        for name, p in trained:
            by_kind.setdefault((p.dtype, rate_ratio(name, recipe)), []).append(p)
        self.groups = [_Group(parameters, ratio) for (_, ratio), parameters in by_kind.items()]
        self.inner = _make(recipe, self.groups)

    @property
    def trained(self) -> int:
        """How many weights are trained."""
        return sum(group.values.numel() for group in self.groups)

    def rate(self, step: int | None = None) -> float:
        """The learning rate of a step (the next one by default), before LoRA+'s ratio."""
        step = self.step_number if step is None else step
        warm = math.ceil(self.recipe.warmup_ratio * self.steps)
        if step < warm:
            return self.recipe.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        if self.recipe.scheduler == "cosine":
            return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        if self.recipe.scheduler == "linear":
            return self.recipe.learning_rate * max(0.0, 1 - done)
        return self.recipe.learning_rate

    def begin_step(self, turns: int) -> None:
        """Told before a step how many turns of gradients it has."""

    def flat_gradients(self) -> list[torch.Tensor]:
        """The gradient buffers that replicas add up; those of shared weights come summed."""
        return [group.grads for group in self.groups if not group.sharded]

    def step(self) -> float:
        """Clip, update, clear the gradients; returns the gradient's norm. A norm that is not finite changes nothing."""
        for group in self.groups:
            group.pull()
        norms = [torch.linalg.vector_norm(group.master_grad) for group in self.groups]
        norm = float(torch.linalg.vector_norm(torch.stack([n.float().cpu() for n in norms])))
        if self.groups[0].sharded:
            square = torch.tensor(norm**2, device=self.groups[0].values.device)
            torch.distributed.all_reduce(square)
            norm = float(square.sqrt())
        if not math.isfinite(norm):
            return norm
        limit = self.recipe.max_grad_norm
        rate = self.rate()
        for group, settings in zip(self.groups, self.inner.param_groups, strict=True):
            if limit and norm > limit:
                group.master_grad.mul_(limit / (norm + 1e-6))
            settings["lr"] = rate * group.ratio
        self.inner.step()
        for group in self.groups:
            group.push()
            group.grads.zero_()
        self.step_number += 1
        return norm

    def take_weights(self) -> list[torch.Tensor]:
        """A copy of the trained weights."""
        return [group.master.detach().clone() for group in self.groups]

    def put_weights(self, weights: list[torch.Tensor]) -> None:
        """Set the trained weights to a copy that `take_weights` made."""
        for group, weight in zip(self.groups, weights, strict=True):
            group.master.copy_(weight)
            group.push()

    def state(self) -> dict[str, torch.Tensor]:
        """Everything to continue from, as named tensors: masters and the optimiser's moments."""
        tensors: dict[str, torch.Tensor] = {}
        for i, group in enumerate(self.groups):
            tensors[f"master.{i}"] = group.master
            for j, parameter in enumerate(self.inner.param_groups[i]["params"]):
                for key, value in self.inner.state.get(parameter, {}).items():
                    tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
                    tensors[f"state.{i}.{j}.{key}"] = tensor
        return tensors

    def save_files(self, folder: Path) -> None:
        """Write what `state` cannot hold into a checkpoint's folder: nothing here."""

    def load(self, checkpoint: Checkpoint) -> None:
        """Take up where `state` was made."""
        self.step_number, tensors = checkpoint.step, checkpoint.tensors
        for i, group in enumerate(self.groups):
            group.master.copy_(tensors[f"master.{i}"])
            group.push()
            for j, parameter in enumerate(self.inner.param_groups[i]["params"]):
                prefix = f"state.{i}.{j}."
                found = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
                if found:
                    self.inner.state[parameter] = {k: _restored(k, t, parameter) for k, t in found.items()}

    def whole_weights(self, model: Any) -> dict[str, torch.Tensor]:
        """The trained weights of a model that processes share, put together, on the CPU. Every process must call it."""
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        return {name: parameter.detach().full_tensor().cpu() for name, parameter in trained.items()}


def _restored(key: str, tensor: torch.Tensor, parameter: torch.Tensor) -> Any:
    if key == "step" and not tensor.is_floating_point():  # a number for bitsandbytes' optimisers
        return int(tensor)
    # Torch's count of steps too: the fused update on a GPU reads it there.
    return tensor.to(parameter.device).clone()


def _make(recipe: Recipe, groups: list[_Group]) -> Any:
    """The torch or bitsandbytes optimiser over the masters."""
    whole = recipe.optimizer != "adafactor"  # Adafactor factors matrices: it needs the parameters' shapes
    settings = []
    for group in groups:
        start = 0
        for parameter in [None] if whole else group.parameters:
            size = group.master.numel() if parameter is None else parameter.numel()
            shape = (size,) if parameter is None else tuple(parameter.shape)
            group.masters.append(group.master[start : start + size].view(shape).detach().requires_grad_(True))
            start += size
        settings.append({"params": group.masters, "lr": recipe.learning_rate * group.ratio})
    common: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    name = recipe.optimizer
    if name == "adamw":
        return torch.optim.AdamW(settings, betas=recipe.betas, eps=recipe.epsilon, fused=True, **common)
    if name == "adafactor":
        return torch.optim.Adafactor(settings, **common)
    if name == "sgd":
        return torch.optim.SGD(settings, momentum=recipe.betas[0], **common)
    try:
        import bitsandbytes.optim as bnb
    except ImportError as error:
        raise BadInput(
            tr(f"优化器 {name} 需要 bitsandbytes", f"optimizer {name} needs bitsandbytes"),
            fix="python -m pip install bitsandbytes",
        ) from error
    if name in ("lion8bit", "paged_lion8bit"):
        kind = bnb.Lion8bit if name == "lion8bit" else bnb.PagedLion8bit
        return kind(settings, betas=recipe.betas, **common)
    kinds = {"adamw8bit": bnb.AdamW8bit, "paged_adamw32bit": bnb.PagedAdamW32bit, "paged_adamw8bit": bnb.PagedAdamW8bit}
    return kinds[name](settings, betas=recipe.betas, eps=recipe.epsilon, **common)
