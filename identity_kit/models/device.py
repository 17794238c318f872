"""What this machine computes with: the device, and the 16-bit or 32-bit type that is fast on it."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Shapes whose compiled matrix products oneDNN keeps. Rows of every length make new ones at each step, and at its default
# of 1024 they come to gigabytes. Read by oneDNN when it first multiplies.
_KEPT_PRODUCTS = "64"
_STATM, _MAPS = Path("/proc/self/statm"), Path("/proc/self/smaps")


def best_device() -> torch.device:
    """The first CUDA GPU, else Apple's MPS, else the CPU."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT_PRODUCTS)
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, else float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.float32


def give_back_memory(*, spare: int = 0) -> None:
    """Return what has been freed to the system; glibc would keep a long step's activations for good.

    What is given back has to be fetched again page by page, so within a loop it pays to wait.

    Args:
        spare: do nothing while the process holds less than so many bytes more than after the last time.
    """
    global _held
    if sys.platform != "linux" or (spare and _resident() < _held + spare):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
    _held = _resident()


def forget_files(tensors: Iterable[torch.Tensor]) -> None:
    """Let the pages of weights that were copied leave this process, where they are read from a mapped file.

    They would count as its memory as long as any other weight of that file is in use. Nothing is lost: the tensors are
    read from the file again when they are needed, and a file whose weights were changed in memory is left alone.
    """
    if sys.platform != "linux":
        return
    places = _unchanged_mappings()
    page = os.sysconf("SC_PAGE_SIZE")
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for tensor in tensors:
        start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        first, last = -(-start // page) * page, end // page * page
        if tensor.device.type == "cpu" and first < last and any(low <= start and end <= high for low, high in places):
            madvise(first, last - first, mmap.MADV_DONTNEED)


def _unchanged_mappings() -> list[tuple[int, int]]:
    """Where files are mapped of which no page was written to: addresses from, to."""
    found: list[tuple[int, int]] = []
    for line in _MAPS.read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):  # the head of a mapping: addresses, rights, offset, device, inode
            low, high = (int(part, 16) for part in first.split("-"))
            if rest[3] != "0":
                found.append((low, high))
        elif first in ("Anonymous:", "Swap:") and rest[0] != "0" and found and found[-1] == (low, high):
            found.pop()
    return found


_held = 0  # bytes resident after memory was last given back


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
