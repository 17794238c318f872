"""Linear layers with their weights laid out as a CPU multiplies them.

oneDNN brings a 16-bit weight into the order of its blocks each time it multiplies few rows, which costs as much as the
product. In decoding the same weights meet few rows hundreds of times, so they are laid out once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from identity_kit.models.memory import forget_files


@contextmanager
def packed_linears(model: Any, *, rows: int) -> Iterator[None]:
    """Within it, the model's 16-bit linears on a CPU multiply by packed copies, made for products of `rows` rows.

    Copies take as much memory as the weights; those of a mapped file leave it meanwhile.
    """
    packed = []
    if _can_pack():
        for module in model.modules():
            if type(module) is torch.nn.Linear and _fits(module.weight):
                copy = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), rows)
                module.forward = partial(_multiply, copy, module.bias)  # type: ignore[method-assign]
                packed.append(module)
        forget_files(module.weight for module in packed)
    try:
        yield
    finally:
        for module in packed:
            del module.forward


def _can_pack() -> bool:
    operators = torch.ops.mkldnn
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(operators, "_reorder_linear_weight")
        and hasattr(operators, "_linear_pointwise")
    )


def _fits(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.bfloat16 and weight.is_contiguous()


def _multiply(packed: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
