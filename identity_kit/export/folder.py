"""Exported folders that are whole or not there: written aside, checked, then given their name."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import os_errors
from identity_kit.ui import tr

# Written into every folder we export; only a folder that carries it is ever replaced.
MANIFEST = "idkit.json"


def check_replaceable(out: Path) -> None:
    """Refuse a target that holds something we did not write.

    Raises:
        BadInput: `out` is a file, or a folder with files in it and no manifest of ours.
    """
    if out.is_dir():
        if (out / MANIFEST).is_file() or not any(out.iterdir()):
            return
    elif not out.exists():
        return
    raise BadInput(
        tr("这里已有不是 idkit 导出的内容", "something that idkit did not export is here already"),
        where=str(out),
        fix=tr("换一个 -o", "choose another -o"),
    )


@contextlib.contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the name `out` only when the block ends well; an earlier export there is replaced.

    Raises:
        BadInput: something else is at `out`.
        Stopped: the disk is full or not writable; `out` is as it was.
    """
    check_replaceable(out)
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
        with os_errors():
            yield temporary
        _swap(temporary, out)
    except OSError as error:
        raise Stopped(
            tr(f"写不了：{error.strerror or error}", f"cannot write: {error.strerror or error}"),
            where=str(out),
            fix=tr(
                "腾出空间或换个 -o，再运行同一条命令", "free some space or choose another -o, then run the same command"
            ),
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, out: Path) -> None:
    """Give `new` the name `out`; what was there goes only when the new one is in place."""
    if not out.exists():
        new.rename(out)
        return
    old = new.with_suffix(".old")
    out.rename(old)
    try:
        new.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def readable(folder: Path) -> None:
    """Give an export the rights that new files have here; some writers leave files readable to their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    folder.chmod(0o777 & ~mask)
    for path in folder.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
