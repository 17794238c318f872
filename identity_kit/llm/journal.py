"""Every paid answer, one JSON line each, on disk before anybody counts it: what makes a killed run cost nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import atomic_open
from identity_kit.ui import tr

# What of a record holds for others too: not its time, tokens and cost.
_SHARED = ("key", "text", "finish", "model")


class Journal:
    """An append-only file of answers by request key; an async context manager.

    Lines that arrive while the disk is busy are written together and synced once, so that the cost of a sync is shared.
    A last line that was torn by a kill is cut off at opening. Memory does not grow: offsets are kept in a temporary file.

    Args:
        path: the file; made where it is not there.
        known: answers that were got elsewhere (`share_answers`), for requests that `path` has no answer to; never
            written to.

    Raises:
        BadInput: a line of `known` is no answer.
    """

    def __init__(self, path: Path, known: Path | None = None) -> None:
        self.path = path
        self._known = {record["key"]: record for record in _shared(known)} if known else {}
        self.mended = 0
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-1024;"
            "CREATE TABLE lines (key BLOB PRIMARY KEY, offset INTEGER) WITHOUT ROWID; BEGIN"
        )
        self._file = -1
        self._end = 0
        self._waiting: list[tuple[bytes, bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._load()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._flusher is not None:
            with contextlib.suppress(Exception):
                await self._flusher
        os.close(self._file)
        self._base.close()

    def get(self, key: str) -> dict[str, Any] | None:
        """The record of a request that was answered before, or None."""
        found = self._base.execute("SELECT offset FROM lines WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        if found is None:
            return self._known.get(key)
        with open(self._file, "rb", closefd=False) as stream:
            stream.seek(found[0])
            value: dict[str, Any] = orjson.loads(stream.readline())
        return value

    async def append(self, key: str, record: dict[str, Any]) -> None:
        """Write a record; returns when it is on disk.

        Raises:
            Stopped: the disk is full or gone; what was written before is whole.
        """
        line = orjson.dumps({"key": key, **record, "at": round(time.time(), 3)}) + b"\n"
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((bytes.fromhex(key), line, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.ensure_future(self._flush())
        await done

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.get_running_loop().run_in_executor(
                    None, self._write, b"".join(line for _, line, _ in batch)
                )
            except OSError as error:
                stopped = Stopped(
                    tr(f"写不了日志：{error.strerror}", f"cannot write the journal: {error.strerror}"),
                    where=str(self.path),
                    fix=tr("腾出空间后再运行同一条命令", "free some space, then run the same command"),
                )
                for _, _, done in batch:
                    if not done.done():
                        done.set_exception(stopped)
                continue
            for key, line, done in batch:
                self._base.execute("INSERT OR IGNORE INTO lines VALUES (?, ?)", (key, self._end))
                self._end += len(line)
                if not done.done():
                    done.set_result(None)

    def _write(self, data: bytes) -> None:
        os.lseek(self._file, self._end, os.SEEK_SET)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise

    def _load(self) -> None:
        """Index the lines there are; cut off a torn last one.

        Raises:
            BadInput: a line in the middle is no record, with file and line.
        """
        with open(self._file, "rb", closefd=False) as stream:
            stream.seek(0)
            for number, line in enumerate(stream, start=1):
                try:
                    key = bytes.fromhex(orjson.loads(line)["key"])
                except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                    if stream.read(1):
                        raise BadInput(
                            tr("日志中间有坏行", "a broken line in the middle of the journal"),
                            where=f"{self.path}:{number}",
                            fix=tr("删除这一行，或用 --fresh 重新开始", "delete that line, or start over with --fresh"),
                        ) from None
                    line = b""
                if not line.endswith(b"\n"):
                    self.mended += 1
                    break
                self._base.execute("INSERT OR IGNORE INTO lines VALUES (?, ?)", (key, self._end))
                self._end += len(line)
        os.ftruncate(self._file, self._end)

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM lines").fetchone()[0])


def share_answers(journals: Sequence[Path], out: Path) -> None:
    """Write the answers of journals so that other runs can begin with them: without times and costs, in order of key.

    Raises:
        BadInput: a line of a journal is no answer.
    """
    records = (record for journal in journals for record in _shared(journal))
    lines = {record["key"]: {name: record[name] for name in _SHARED if name in record} for record in records}
    with atomic_open(out, "wb") as stream:
        for key in sorted(lines):
            stream.write(orjson.dumps(lines[key]) + b"\n")


def _shared(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                record = orjson.loads(line)
                whole = all(isinstance(record[name], str) for name in ("key", "text", "finish"))
            except (orjson.JSONDecodeError, KeyError, TypeError):
                whole = False
            if not whole:
                raise BadInput(
                    tr("不是一条回答", "this is no answer"),
                    where=f"{path}:{number}",
                    fix=tr("每行要有 key、text、finish", "each line needs key, text and finish"),
                )
            yield record
