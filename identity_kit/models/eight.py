"""Products of a frozen matrix in 8 bits: twice as fast as in 16 on a CPU with VNNI.

Rows of the input are scaled each by its own largest value, the columns of the output each by the weights that make it,
so no outlier of one token or neuron coarsens another (SwitchBack, arXiv:2304.13013; LLM.int8, arXiv:2208.07339).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from identity_kit.models import fused

_LARGEST = 127
# Added to a small 32-bit number, leaves its nearest whole number in the last byte: unsigned, with 128 for zero, as the
# processor multiplies it. Three times as fast as rounding and converting.
_ROUND = 1.5 * 2**23 + 128
_UP = 1.004 / _LARGEST  # a little more than 1 / 127: rounded to bf16, a scale still covers the largest value


class Thin:
    """A 16-bit matrix (R, n) of few rows, as an adapter has, which is multiplied by many rows before it changes.

    `pairs` (R / 2, n, 2) holds two rows at a time value by value, as the processor multiplies them; None where it does not.
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix
        self.pairs: torch.Tensor | None = None
        even = (
            [matrix.shape[0]] if matrix.stride(0) > 1 else [matrix.shape[0], matrix.stride(1), matrix.storage_offset()]
        )
        if fused.fits(matrix.new_empty(1)) and not any(number % 2 for number in even):
            self.pairs = matrix.new_empty(matrix.shape[0] // 2, matrix.shape[1], 2)

    def refresh(self) -> None:
        """Take over the matrix's present values."""
        if self.pairs is None:
            return
        if self.matrix.stride(0) == 1:  # its pairs lie side by side already
            self.pairs.view(torch.int32)[..., 0].copy_(self.matrix.t().view(torch.int32).t())
        else:
            self.pairs[..., 0].copy_(self.matrix[0::2])
            self.pairs[..., 1].copy_(self.matrix[1::2])


@dataclass(frozen=True)
class Share:
    """What is added to some columns of a product: low (T, R) times a thin matrix (R, n); nothing where there is none."""

    columns: slice
    low: torch.Tensor
    thin: Thin | None


class EightBit:
    """x (T, K) times Wᵀ for a frozen W (N, K)."""

    def __init__(self, weight: torch.Tensor) -> None:
        wide = weight.float()
        scale = wide.abs().amax(1).clamp_min_(1e-12).div_(_LARGEST)
        whole = (wide / scale[:, None]).round_().to(torch.int8).contiguous()
        self.packed = torch.ops.onednn.qlinear_prepack(whole, None)
        self.scale, self.zero = scale, torch.zeros(len(scale), dtype=torch.int32)

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None = None, shares: Sequence[Share] = ()) -> torch.Tensor:
        """The product (T, N) in x's type, plus bias (N,), plus the shares, which cover all columns if there are any."""
        if fused.fits(x) and (bias is None or fused.fits(bias)):
            whole, scale = fused.quantised(x)
            y = self._multiply(whole, x.dtype)
            if shares and all(share.thin is None or share.thin.pairs is not None for share in shares):
                for share in shares:
                    part = None if bias is None else bias[share.columns]
                    pairs = None if share.thin is None else share.thin.pairs
                    fused.rescale(y[:, share.columns], scale, part, share.low, pairs)
                return y
            fused.rescale(y, scale, bias)
        else:
            scale = x.abs().amax(1, keepdim=True).mul_(_UP).clamp_min_(1e-30)
            whole = x.to(torch.float32, copy=True).div_(scale).add_(_ROUND).view(torch.int32).to(torch.uint8)
            y = self._multiply(whole, x.dtype).mul_(scale)
            y = y if bias is None else y.add_(bias)
        for share in shares:
            if share.thin is not None:
                y[:, share.columns].addmm_(share.low, share.thin.matrix)
        return y

    def _multiply(self, whole: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Whole numbers around 128 (T, K, uint8) times the weights (T, N); the scales of the rows are still to come."""
        y: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, 128, self.packed, self.scale, self.zero, None, 1.0, 0, dtype, "none", [], ""
        )
        return y


@functools.cache
def multiplies_in_eight() -> bool:
    """Whether this processor and this torch make such products, and make them right."""
    chance = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 64, generator=chance) for n in (8, 32))
    try:
        if not torch.cpu._is_vnni_supported():
            return False
        y = EightBit(w)(x)
    except (AttributeError, RuntimeError):  # torch without oneDNN, or with other operators
        return False
    return bool((y - x @ w.t()).norm() < 0.02 * y.norm())
