"""What the device is told before it first multiplies."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="needs torch")

PRODUCTS_OF_MANY_SHAPES = """
from pathlib import Path
from identity_kit.models.device import best_device
best_device()
import torch

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

weight, batch = torch.ones(256, 256, dtype=torch.bfloat16), torch.ones(4, 256, 64, dtype=torch.bfloat16)

def multiply(start, end):
    for tokens in range(start, end):
        torch.mm(torch.ones(tokens, 256, dtype=torch.bfloat16), weight)
        torch.bmm(torch.ones(4, tokens, 256, dtype=torch.bfloat16), batch)

multiply(32, 100)
before = resident()
multiply(100, 400)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc of Linux")
def test_matrix_products_of_many_shapes_do_not_fill_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", PRODUCTS_OF_MANY_SHAPES], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 100e6  # four times that where every product is kept
