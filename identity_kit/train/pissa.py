"""PiSSA (arXiv:2404.02948): the adapter begins as a weight's principal part, the frozen weight becomes the rest.

What was learnt is saved as a plain adapter of the model as it came: with A₀ and B₀ for the beginning,
BA − B₀A₀ = [B | −B₀] [A; A₀], of twice the rank.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from identity_kit.train.recipe import Recipe

_PREFIX = "pissa."


def split_off(model: Any, recipe: Recipe, kept: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
    """Put the principal part of each adapted weight into its adapter; {} where the recipe does not ask for it.

    The rest is taken against the adapter as it is held (perhaps in 16 bits), so that both add up to the weight.

    Args:
        kept: a checkpoint's tensors: the parts found there are taken instead of decomposing again.

    Returns:
        The adapter as it begins, by the names of its parameters, for checkpoints and for `as_plain_adapter`.
    """
    if not recipe.init.startswith("pissa"):
        return {}
    from peft.tuners.lora import LoraLayer

    first: dict[str, torch.Tensor] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        base: Any = layer.get_base_layer()
        whole, dtype = base.weight.data, base.weight.dtype
        sides = {f"{name}.lora_{side}.default.weight": getattr(layer, f"lora_{side}")["default"] for side in "AB"}
        if kept is None:
            layer.pissa_init("default", recipe.init)
        for key, side in sides.items():
            found = side.weight.data if kept is None else kept[_PREFIX + key]
            side.weight.data = found.to(whole.device, dtype).contiguous()
            first[_PREFIX + key] = side.weight.data.clone()
        a, b = (side.weight.data.float() for side in sides.values())
        base.weight.data = (whole.float() - layer.scaling["default"] * (b @ a)).to(dtype)
    return first


def as_plain_adapter(
    model: Any, recipe: Recipe, first: dict[str, torch.Tensor], weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The trained weights relative to the model as it came; the model's adapter configuration changes to match.

    Args:
        first: what `split_off` returned.
        weights: every weight of the model's adapters by name.
    """
    after = recipe.going_on
    model.peft_config["default"] = replace(model.peft_config["default"], r=after.rank, lora_alpha=after.alpha)
    plain = dict(weights)
    for key, begun in first.items():
        name = key.removeprefix(_PREFIX)
        begun = begun.to(weights[name])
        is_a = ".lora_A." in name
        plain[name] = torch.cat([weights[name], begun if is_a else -begun], dim=0 if is_a else 1)
    return plain
