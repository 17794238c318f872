"""A large file shared among processes by byte ranges, each of whole lines; the first range is the caller's own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from identity_kit.errors import IdkitError, Stopped
from identity_kit.rename.report import Report
from identity_kit.rename.rewrite import Rewriter, blocks_of
from identity_kit.ui import tr

# Smaller files are done before another process has started.
_WORTH = 24 << 20


def rename_ranges(source: Path, rewriter: Rewriter, out: IO[bytes] | None, target: Path | None, processes: int) -> None:
    """Rename a file of lines into `out` (nowhere when None), its counts into `rewriter.report`.

    Args:
        target: what `out` will be called; the shares of other processes lie beside it for a while.
        processes: how many to use; 0 for one a core, fewer where the file is small.

    Raises:
        BadInput: a broken line, with its number.
        Stopped: a process was killed, or the disk is full.
    """
    size = source.stat().st_size
    wanted = processes or min(os.cpu_count() or 1, size // _WORTH)
    ranges = line_ranges(source, size, wanted if rewriter.rows else 1)
    if len(ranges) < 2:
        _rename_range(source, (0, size), rewriter, out)
        return
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    folder = Path(tempfile.mkdtemp(prefix=f".{source.name}.", dir=target.parent if target else None))
    workers = []
    try:
        for i, span in enumerate(ranges[1:]):
            mine, theirs = context.Pipe(duplex=False)
            part = folder / str(i) if out is not None else None
            worker = context.Process(target=_work, args=(source, span, rewriter, part, theirs), daemon=True)  # type: ignore[attr-defined]
            worker.start()
            theirs.close()
            workers.append((worker, mine, part))
        _rename_range(source, ranges[0], rewriter, out)
        for worker, pipe, part in workers:
            rewriter.report.add(_result(pipe, worker, rewriter.report.lines, str(source)))
            if out is not None and part is not None:
                with part.open("rb") as stream:
                    _append(stream, out)
                part.unlink()
    finally:
        for worker, pipe, _ in workers:
            pipe.close()
            worker.terminate()
            worker.join()
        shutil.rmtree(folder, ignore_errors=True)


def line_ranges(source: Path, size: int, count: int) -> list[tuple[int, int]]:
    """Up to `count` ranges of about the same size that cover a file, cut at line ends."""
    cuts = [0]
    with source.open("rb") as stream:
        for i in range(1, count):
            stream.seek(max(size * i // count - 1, cuts[-1]))
            stream.readline()
            if cuts[-1] < stream.tell() < size:
                cuts.append(stream.tell())
    return list(zip(cuts, [*cuts[1:], size], strict=True))


def _rename_range(source: Path, span: tuple[int, int], rewriter: Rewriter, out: IO[bytes] | None) -> None:
    with source.open("rb", buffering=0) as stream:
        for block in blocks_of(stream, *span, rewriter.longest):  # type: ignore[arg-type]
            new = rewriter.block(block)
            if out is not None:
                out.write(new)


def _append(stream: IO[bytes], out: IO[bytes]) -> None:
    """The rest of one file after another, copied by the kernel where it can."""
    out.flush()
    try:
        while os.sendfile(out.fileno(), stream.fileno(), None, 1 << 30):
            pass
    except (AttributeError, OSError):
        shutil.copyfileobj(stream, out, 1 << 20)


def _work(source: Path, span: tuple[int, int], rewriter: Rewriter, part: Path | None, pipe: Any) -> None:
    """One process's share: its text into `part`, its report, or its error, into the pipe."""
    rewriter.report = Report()
    try:
        if part is None:
            _rename_range(source, span, rewriter, None)
        else:
            with part.open("wb", buffering=0) as out:
                _rename_range(source, span, rewriter, out)  # type: ignore[arg-type]
        pipe.send(("done", rewriter.report))
    except IdkitError as error:
        pipe.send(("known", type(error), error.what, error.where, error.fix))
    except OSError as error:
        pipe.send(("known", Stopped, error.strerror or str(error), str(part), ""))


def _result(pipe: Any, worker: Any, lines: int, path: str) -> Report:
    """A process's report.

    Raises:
        IdkitError: what the process met, its line counted from the start of the file.
        Stopped: the process died.
    """
    try:
        message = pipe.recv()
    except EOFError:
        worker.join()
        raise Stopped(
            tr(f"一个子进程意外结束（{worker.exitcode}）", f"a process died ({worker.exitcode})"),
            where=path,
            fix=tr("再运行一次，或加 --processes 1", "run it again, or with --processes 1"),
        ) from None
    if message[0] == "done":
        report: Report = message[1]
        return report
    _, kind, what, where, fix = message
    base, _, number = where.rpartition(":")
    if base == path and number.isdigit():
        where = f"{path}:{int(number) + lines}"
    raise kind(what, where=where, fix=fix)
