"""The most memory that training used, of the GPU if there is one, else of this process; and what a GPU has left."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Counts from when it is made, where the system can count anew; else from the start of the process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with contextlib.suppress(OSError):  # Linux alone has it, and not in every sandbox
                _CLEAR.write_text("5")

    def peak(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self.device))
        if _STATUS.is_file():
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return _peak_of_process()


def room_left(device: torch.device) -> int | None:
    """Bytes of a GPU that this process may still take: free ones, and those that torch holds without using them.

    None for other devices, where memory is not asked for again and again.
    """
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device)
    allowed = total
    if hasattr(torch.cuda, "get_per_process_memory_fraction"):  # torch 2.6 can set it, not tell it
        allowed = int(torch.cuda.get_per_process_memory_fraction(device.index) * total)
    return min(free, allowed - reserved) + reserved - torch.cuda.memory_allocated(device)


def _peak_of_process() -> int:
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)  # type: ignore[attr-defined]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used if sys.platform == "darwin" else used * 1024)
