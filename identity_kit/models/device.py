"""What this machine computes with: the device, and the 16-bit or 32-bit type that is fast on it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Shapes whose compiled matrix products are kept, by oneDNN and by torch's layer above it. Rows of every length make new
# ones at each step, and at the default of 1024 both come to gigabytes. Read when they first multiply.
_KEPT_PRODUCTS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}
# Steps of every length leave holes in a GPU's memory that no later tensor fits; segments that grow leave few.
_GROWING_SEGMENTS = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"} if sys.platform == "linux" else {}


def best_device() -> torch.device:
    """The first CUDA GPU, else Apple's MPS, else the CPU."""
    for variable, value in {**_KEPT_PRODUCTS, **_GROWING_SEGMENTS}.items():
        os.environ.setdefault(variable, value)
    import torch

    if torch.cuda.is_available():
        # It plans anew for each length, a millisecond a layer; and since torch 2.11 its backward pass under a mask
        # gives gradients that are no numbers at some lengths (pytorch issue 196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
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
        native = torch.cpu._is_avx512_bf16_supported() or has_tiles()
        return torch.bfloat16 if native else torch.float32
    return torch.float32


def has_tiles() -> bool:
    """Whether this processor multiplies 16-bit matrices tile by tile (AMX)."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())
