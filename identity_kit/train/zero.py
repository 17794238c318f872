"""DeepSpeed's ZeRO-3 as an `Optimiser`: it holds weights, gradients and moments in parts, and takes the steps; rates,
turns and checkpoints stay ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import BadInput
from identity_kit.train.checkpoint import Checkpoint
from identity_kit.train.optimiser import Optimiser, rate_ratio
from identity_kit.train.recipe import Recipe
from identity_kit.ui import tr


def configuration(recipe: Recipe, dtype: torch.dtype) -> dict[str, Any]:
    """DeepSpeed's configuration of a recipe. Which turn ends a step the loop says itself, so one turn is a step here."""
    return {
        "train_micro_batch_size_per_gpu": recipe.batch_size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.max_grad_norm,
        "bf16": {"enabled": dtype is torch.bfloat16},
        "zero_optimization": {"stage": 3},
        "zero_allow_untested_optimizer": True,
    }


class ZeroOptimiser(Optimiser):
    """Schedule, clipping and update by DeepSpeed; `model` is what the forward passes must go through."""

    def __init__(self, model: Any, recipe: Recipe, steps: int, dtype: torch.dtype) -> None:
        try:
            import deepspeed
        except ImportError as error:
            raise BadInput(
                tr("parallel: deepspeed 需要 deepspeed", "parallel: deepspeed needs deepspeed"),
                fix="python -m pip install deepspeed",
            ) from error
        self.recipe, self.steps, self.step_number, self.deepspeed = recipe, steps, 0, deepspeed
        self.turns_left = 1
        by_ratio: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                by_ratio.setdefault(rate_ratio(name, recipe), []).append(parameter)
        self.ratios = list(by_ratio)
        settings = [{"params": parameters} for parameters in by_ratio.values()]
        inner = torch.optim.AdamW(
            settings, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.epsilon, weight_decay=recipe.weight_decay
        )
        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed(torch.distributed.get_backend())
        self.model, *_ = deepspeed.initialize(model=model, optimizer=inner, config=configuration(recipe, dtype))

    def begin_step(self, turns: int) -> None:
        """Told before a step how many turns of gradients it has."""
        self.turns_left = turns

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a turn; the last of a step puts those of all processes together."""
        self.turns_left -= 1
        self.model.set_gradient_accumulation_boundary(self.turns_left == 0)
        self.model.backward(loss)

    def flat_gradients(self) -> list[torch.Tensor]:
        """None: DeepSpeed adds them up."""
        return []

    def step(self) -> float:
        """Clip and update; returns the gradient's norm before clipping."""
        for settings, ratio in zip(self.model.optimizer.param_groups, self.ratios, strict=True):
            settings["lr"] = self.rate() * ratio
        self.model.step()
        self.step_number += 1
        return float(self.model.get_global_grad_norm())

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing: DeepSpeed writes files of its own."""
        return {}

    def save_files(self, folder: Path) -> None:
        """Write this process's part of the state. Every process must call it."""
        self.model.save_checkpoint(str(folder), tag="zero", save_latest=False, exclude_frozen_parameters=True)

    def load(self, checkpoint: Checkpoint) -> None:
        """Take up where `save_files` wrote."""
        self.model.load_checkpoint(str(checkpoint.folder), tag="zero", load_module_strict=False)
        self.step_number = checkpoint.step

    def whole_weights(self, model: Any) -> dict[str, torch.Tensor]:
        """The trained weights, put together, on the CPU. Every process must call it."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        with self.deepspeed.zero.GatheredParameters(list(trained.values())):
            return {name: parameter.detach().cpu().clone() for name, parameter in trained.items()}
