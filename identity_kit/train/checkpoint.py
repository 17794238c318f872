"""Checkpoints that are whole or not there: a temporary folder, fsync, a manifest of hashes, a rename.

Tensors are safetensors, the rest is JSON; nothing is pickled but what DeepSpeed writes of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import sha256_file
from identity_kit.train.team import Team
from identity_kit.ui import tr

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """A state to continue from: after which step, its tensors, and what else the loop noted."""

    step: int
    tensors: dict[str, torch.Tensor]
    notes: dict[str, Any]
    folder: Path


def save_checkpoint(
    root: Path,
    step: int,
    tensors: dict[str, torch.Tensor],
    notes: dict[str, Any],
    *,
    keep: int,
    team: Team | None = None,
    more: Callable[[Path], None] | None = None,
) -> Path:
    """Write `root/step-NNNNNN`, then remove all but the newest `keep`.

    Args:
        team: processes that each hold a part of the state and all call this: each writes its own, the leader the rest.
        more: writes further files of the state into the folder.

    Raises:
        Stopped: the disk is full or not writable; earlier checkpoints are untouched.
    """
    from safetensors.torch import save_file

    root.mkdir(parents=True, exist_ok=True)
    final = root / f"step-{step:06d}"
    temporary = root / f".step-{step:06d}.part"
    state = temporary / _state_name(team)
    leads = team is None or team.leads
    try:
        if leads:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
        if team:
            team.meet()
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, state)
        _sync(state)
        if more:
            more(temporary)
        if team:
            team.meet()
        if not leads:
            return final
        (temporary / "notes.json").write_text(json.dumps({"step": step, **notes}, indent=1), encoding="utf-8")
        manifest = {
            path.relative_to(temporary).as_posix(): sha256_file(path)
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        (temporary / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for name in ("notes.json", _MANIFEST):
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


def load_checkpoint(root: Path, *, team: Team | None = None) -> Checkpoint | None:
    """The newest checkpoint whose files match their hashes; None if there is none.

    Args:
        team: processes that each hold a part of the state: this one's part is read.

    Raises:
        BadInput: it was made by another number of processes.
    """
    from safetensors.torch import load_file

    for folder in _folders(root):
        if _verifies(folder):
            notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
            state = folder / _state_name(team)
            if not state.is_file():
                raise BadInput(
                    tr("检查点由不同数目的进程写成", "the checkpoint was made by another number of processes"),
                    where=str(folder),
                    fix=tr("用原来的 --nproc-per-node", "use the --nproc-per-node that it was made with"),
                )
            return Checkpoint(notes["step"], load_file(state), notes, folder)
    return None


def _state_name(team: Team | None) -> str:
    return f"state-{team.rank + 1}-of-{team.size}.safetensors" if team else "state.safetensors"


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
