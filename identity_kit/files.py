"""Files that are whole or not there: atomic writes, hashes, a lock on a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from identity_kit.errors import BadInput, Stopped
from identity_kit.ui import say, tr


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write that takes the name `path` only when the block ends well.

    Args:
        path: the final name; its folder is made.
        mode: "w" (UTF-8 text, \\n line ends) or "wb".

    Raises:
        Stopped: the disk is full or not writable; `path` is as it was.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, mode, **text) as stream:  # type: ignore[call-overload]
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise Stopped(
            tr(f"写不了文件：{error.strerror}", f"cannot write the file: {error.strerror}"),
            where=str(path),
            fix=tr(
                "腾出空间或换个 -o，再运行同一条命令", "free some space or choose another -o, then run the same command"
            ),
        ) from error
    except BaseException:
        if temporary:
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """Within it a full disk is an OSError where safetensors writes too, which wraps it in an error of its own."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file, atomically."""
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_given(path: Path, *, fix: str = "") -> str:
    """The text of a file that the user named, whatever its line ends, without a byte order mark.

    Raises:
        BadInput: it is missing, a folder, not to be opened, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path), fix=fix) from None
    except IsADirectoryError:
        raise BadInput(tr("是目录，不是文件", "is a folder, not a file"), where=str(path)) from None
    except OSError as error:
        raise BadInput(tr(f"打不开：{error.strerror}", f"cannot open: {error.strerror}"), where=str(path)) from None
    except UnicodeDecodeError:
        raise BadInput(tr("不是 UTF-8 文本", "not UTF-8 text"), where=str(path)) from None


def read_json(path: Path) -> Any:
    """Read a JSON file that we wrote.

    Raises:
        BadInput: it is missing or not JSON, with the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise BadInput(tr("不是有效的 JSON", "not valid JSON"), where=f"{path}:{line}") from None


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextlib.contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for one process; the lock goes with the process, however it dies.

    Args:
        wait: for folders of the cache, which the holder may remove when it is done: wait for it, and say so.

    Raises:
        BadInput: another process holds it, and `wait` is false; the file system knows no locks; or there can be no such
            folder.
    """
    with contextlib.ExitStack() as stack:
        told = False
        while not _try_lock(folder, stack):
            if not wait:
                raise BadInput(
                    tr("另一个 idkit 正在使用这个目录", "another idkit is working in this folder"),
                    where=str(folder),
                    fix=tr("等它结束，或换一个 -o", "wait for it to end, or choose another -o"),
                )
            if not told:
                say(tr(f"等另一个 idkit 做完：{folder}", f"waiting for another idkit to finish: {folder}"))
            told = True
            time.sleep(0.3)
        yield


def _try_lock(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Take the folder's lock until the stack closes; False where another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, error) from None
    try:
        stream = (folder / ".lock").open("a+")
    except FileNotFoundError:  # the holder removed the folder just now
        return False
    except OSError as error:
        raise _no_folder(folder, error) from None
    try:
        _lock(stream)
    except (BlockingIOError, PermissionError):  # what POSIX and Windows say of a lock that is taken
        stream.close()
        return False
    except OSError as error:
        stream.close()
        raise BadInput(
            tr(f"这个文件系统不能加锁：{error.strerror}", f"this file system has no locks: {error.strerror}"),
            where=str(folder),
            fix=tr("换一个本地磁盘上的目录", "choose a folder on a local disk"),
        ) from None
    stack.enter_context(stream)
    return True


def _no_folder(folder: Path, error: OSError) -> BadInput:
    return BadInput(
        tr(f"这个目录用不了：{error.strerror}", f"cannot use this folder: {error.strerror}"),
        where=str(folder),
        fix=tr("换一个 -o", "choose another -o"),
    )


def _lock(stream: IO[Any]) -> None:
    if os.name == "nt":  # pragma: no cover
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
