"""Row-wise steps of a decoder in compiled code (`_fused.c`), each in one pass over memory where torch takes several.

`_fused` is built where there is a C compiler when the package is installed. It is for bf16 on a CPU with AVX512-BF16;
`fits` says whether it can take some tensors, and where it cannot, the caller does the same in torch. Results are those of
torch but for the last bit: they are rounded once, not after each operation.
"""

from __future__ import annotations

import ctypes
import functools

import torch

try:
    from identity_kit.models import _fused
except ImportError:  # no compiler when it was installed
    _fused = None  # type: ignore[assignment]

COMPILED = _fused is not None


def fits(*tensors: torch.Tensor) -> bool:
    """Whether the compiled steps can take these: bf16 on a CPU, the values of a row side by side."""
    return _ready(torch.get_num_threads()) and all(
        x.dtype is torch.bfloat16 and x.device.type == "cpu" and x.stride(-1) == 1 for x in tensors
    )


def fit_whole(*tensors: torch.Tensor) -> bool:
    """`fits`, for tensors whose rows must also lie end to end."""
    return fits(*tensors) and all(x.is_contiguous() for x in tensors)


@functools.lru_cache(maxsize=1)
def _ready(threads: int) -> bool:
    """Whether the compiled steps suit this machine; from then on they share rows out over so many of torch's threads."""
    if not COMPILED or not _fused.suits():
        return False
    try:
        parallel = ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):  # torch came with another OpenMP, or the system has no such look-up
        parallel = 0
    _fused.threads(parallel, threads)
    return bool(parallel) or threads == 1


def quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (T, K) in whole numbers around 128 (T, K, uint8), and what one of them is worth in each row (T,), fp32."""
    out = torch.empty(x.shape, dtype=torch.uint8)
    scale = torch.empty(len(x), dtype=torch.float32)
    _fused.quantise(x.data_ptr(), x.stride(0), len(x), x.shape[1], out.data_ptr(), scale.data_ptr())
    return out, scale


def rescale(
    y: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    low: torch.Tensor | None = None,
    pairs: torch.Tensor | None = None,
) -> None:
    """y (T, N) times scale (T,), plus bias (N,), in place.

    Args:
        low, pairs: (T, R) and (R / 2, N, 2): plus low times the matrix (R, N) of which `pairs` holds rows 2i and 2i + 1,
            value by value, at i.
    """
    bias_at = 0 if bias is None else bias.data_ptr()
    added = (0, 0, 0, 0)
    if low is not None and pairs is not None:
        added = (low.data_ptr(), low.stride(0), low.shape[1], pairs.data_ptr())
    _fused.rescale(y.data_ptr(), y.stride(0), len(y), y.shape[1], scale.data_ptr(), bias_at, *added)


def norm(h: torch.Tensor, weight: torch.Tensor, eps: float, out: torch.Tensor) -> torch.Tensor:
    """RMS norm of h (T, d) into `out` (T, d); returns 1/rms (T, 1), fp32."""
    r = torch.empty(len(h), 1, dtype=torch.float32)
    _fused.norm(h.data_ptr(), len(h), h.shape[1], weight.data_ptr(), out.data_ptr(), out.stride(0), r.data_ptr(), eps)
    return r


def scaled(h: torch.Tensor, r: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
    """h (T, d) times r (T, 1) times weight (d,), into `out` (T, d)."""
    _fused.scaled(h.data_ptr(), len(h), h.shape[1], weight.data_ptr(), out.data_ptr(), out.stride(0), r.data_ptr())


def norm_backward(
    dy: torch.Tensor, h: torch.Tensor, weight: torch.Tensor, r: torch.Tensor, more: torch.Tensor | None
) -> torch.Tensor:
    """The gradient of h (T, d) from that of `norm`'s output, plus `more` (T, d)."""
    out = torch.empty_like(h)
    more_at = 0 if more is None else more.data_ptr()
    _fused.norm_backward(
        dy.data_ptr(), h.data_ptr(), len(h), h.shape[1], weight.data_ptr(), r.data_ptr(), more_at, out.data_ptr()
    )
    return out


def swiglu(gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """silu(gate)·up of (T, 2n) into `out` (T, n)."""
    _fused.swiglu(gate_up.data_ptr(), gate_up.stride(0), len(out), out.shape[1], out.data_ptr(), out.stride(0))


def swiglu_backward(d: torch.Tensor, gate_up: torch.Tensor, out: torch.Tensor) -> None:
    """The gradient of (T, 2n) from that of `swiglu`'s output (T, n), into `out` (T, 2n)."""
    _fused.swiglu_backward(
        d.data_ptr(),
        d.stride(0),
        gate_up.data_ptr(),
        gate_up.stride(0),
        len(d),
        d.shape[1],
        out.data_ptr(),
        out.stride(0),
    )


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x (T, heads, e) by angles given as cos and sin (T, 1, e / 2), which lie end to end."""
    out = torch.empty(x.shape, dtype=x.dtype)
    rows, heads, size = x.shape
    _fused.rotate(x.data_ptr(), x.stride(0), rows, heads, size // 2, cos.data_ptr(), sin.data_ptr(), out.data_ptr())
    return out
