"""Checkpoints that are whole or not there: a temporary folder, fsync, a manifest of hashes, a rename.

Tensors are safetensors, the rest is JSON; nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import Stopped
from identity_kit.files import sha256_file
from identity_kit.ui import tr

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state to continue from: after which step, its tensors, and what else the loop noted."""

    step: int
    tensors: dict[str, torch.Tensor]
    notes: dict[str, Any]


def save_checkpoint(
    root: Path, step: int, tensors: dict[str, torch.Tensor], notes: dict[str, Any], *, keep: int
) -> Path:
    """Write `root/step-NNNNNN`, then remove all but the newest `keep`.

    Raises:
        Stopped: the disk is full or not writable; earlier checkpoints are untouched.
    """
    from safetensors.torch import save_file

    root.mkdir(parents=True, exist_ok=True)
    final = root / f"step-{step:06d}"
    temporary = root / f".step-{step:06d}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary / "state.safetensors")
        (temporary / "notes.json").write_text(json.dumps({"step": step, **notes}, indent=1), encoding="utf-8")
        names = ("state.safetensors", "notes.json")
        manifest = {name: sha256_file(temporary / name) for name in names}
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for name in (*names, _MANIFEST):
            _sync(temporary / name)
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync(root)
    except Exception as error:  # safetensors wraps a full disk in an error of its own
        shutil.rmtree(temporary, ignore_errors=True)
        last = newest_step(root)
        reason = getattr(error, "strerror", None) or str(error)
        raise Stopped(
            tr(f"存不下检查点：{reason}", f"cannot save the checkpoint: {reason}"),
            where=str(root),
            fix=tr(
                f"最后的好检查点在第 {last} 步；腾出空间后加 --resume 继续",
                f"the last good one is of step {last}; free some space, then go on with --resume",
            ),
        ) from error
    for old in _folders(root)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(root: Path) -> Checkpoint | None:
    """The newest checkpoint whose files match their hashes; None if there is none."""
    from safetensors.torch import load_file

    for folder in _folders(root):
        if _verifies(folder):
            notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
            return Checkpoint(notes["step"], load_file(folder / "state.safetensors"), notes)
    return None


def newest_step(root: Path) -> int:
    """The step of the newest checkpoint that verifies; 0 if there is none."""
    return next((int(folder.name.removeprefix("step-")) for folder in _folders(root) if _verifies(folder)), 0)


def clear_checkpoints(root: Path) -> None:
    """Remove the checkpoints of an earlier, finished run."""
    for folder in _folders(root):
        shutil.rmtree(folder, ignore_errors=True)


def random_state() -> dict[str, torch.Tensor]:
    """The generators that training draws from, as tensors."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["rng.cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_state(tensors: dict[str, torch.Tensor]) -> None:
    """Put the generators back where `random_state` found them."""
    torch.set_rng_state(tensors["rng.cpu"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])


def _folders(root: Path) -> list[Path]:
    return sorted((p for p in root.glob("step-*") if p.is_dir()), reverse=True)


def _verifies(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest) and all(sha256_file(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # pragma: no cover
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
