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

from identity_kit.models.eight import EightBit, multiplies_in_eight
from identity_kit.models.memory import forget_files


@contextmanager
def packed_linears(model: Any, *, rows: int, eight: bool = False) -> Iterator[None]:
    """Within it, the model's 16-bit linears on a CPU multiply by packed copies, made for products of `rows` rows.

    Copies take as much memory as the weights; those of a mapped file leave it meanwhile.

    Args:
        eight: multiply in 8 bits where the processor does, but for the output head: answers are nearly the same then,
            and there in two thirds of the time.
    """
    packed = []
    if _can_pack():
        eight = eight and multiplies_in_eight()
        head = model.get_output_embeddings() if eight else None
        for module in model.modules():
            if type(module) is torch.nn.Linear and _fits(module.weight):
                weight = module.weight.detach()
                if eight and module is not head:
                    module.forward = partial(_multiply_in_eight, EightBit(weight), module.bias)  # type: ignore[method-assign]
                else:
                    copy = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
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


def _multiply_in_eight(weight: EightBit, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    y = weight(x.reshape(-1, x.shape[-1]))
    if bias is not None:
        y.add_(bias)
    return y.view(*x.shape[:-1], -1)
