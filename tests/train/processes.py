"""Training runs in processes of their own, and what they leave: for tests that kill, resume or multiply them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from identity_kit.models.server import free_port

DRIVE = Path(__file__).with_name("drive.py")
ROOT = DRIVE.parents[2]
BASE: dict[str, Any] = {"rank": 4, "dtype": "fp32", "batch_size": 4, "learning_rate": 0.01, "threads": 1}


def start(
    rows: Path, model: Path, out: Path, *flags: str, launcher: tuple[str, ...] = (), gpu: bool = False, **recipe: Any
) -> Any:
    """A process that trains, on the CPU unless `gpu`; a launcher such as torchrun makes several of it."""
    command = [sys.executable, *launcher, str(DRIVE), str(rows), str(model), str(out), json.dumps({**BASE, **recipe})]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "IDKIT_UI": "en"}
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.Popen([*command, *flags], env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def two_processes() -> tuple[str, ...]:
    """The launcher that makes two processes of a run, at a free port."""
    return ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]


def adapter_bytes(out: Path) -> bytes:
    return (out / "adapter" / "adapter_model.safetensors").read_bytes()


def wait_for_step(out: Path, step: int, process: Any) -> None:
    deadline = time.monotonic() + 120
    while not list((out / "checkpoints").glob(f"step-*{step:04d}")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.005)
