"""Memory of this process that goes back to the system: what was freed, and weights of a file that were copied."""

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

_STATM, _MAPS = Path("/proc/self/statm"), Path("/proc/self/smaps")
_held = 0  # bytes resident after memory was last given back


def give_back_memory(*, spare: int = 0) -> None:
    """Return what has been freed to the system; glibc would keep a long step's activations for good.

    What is given back has to be fetched again page by page, so within a loop it pays to wait.

    Args:
        spare: do nothing while the process holds less than so many bytes more than after the last time.
    """
    global _held
    if sys.platform != "linux" or (spare and 0 < _resident() < _held + spare):
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
    """Where files are mapped of which no page was written to: addresses from, to; none where the system does not tell."""
    found: list[tuple[int, int]] = []
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:  # not in every sandbox
        return found
    for line in lines:
        first, *rest = line.split()
        if not first.endswith(":"):  # the head of a mapping: addresses, rights, offset, device, inode
            low, high = (int(part, 16) for part in first.split("-"))
            if rest[3] != "0":
                found.append((low, high))
        elif first in ("Anonymous:", "Swap:") and rest[0] != "0" and found and found[-1] == (low, high):
            found.pop()
    return found


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
