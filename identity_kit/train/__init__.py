"""Training: recipe, data and mask, model and adapter, the loop, checkpoints, the plan before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from identity_kit.train.loop import TrainResult, preview, train
    from identity_kit.train.recipe import Recipe, load_recipe, make_recipe

__all__ = ["Recipe", "TrainResult", "load_recipe", "make_recipe", "preview", "train"]


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and `idkit --help` needs none of it."""
    if name in ("TrainResult", "preview", "train"):
        from identity_kit.train import loop

        return getattr(loop, name)
    if name in ("Recipe", "load_recipe", "make_recipe"):
        from identity_kit.train import recipe

        return getattr(recipe, name)
    raise AttributeError(name)
