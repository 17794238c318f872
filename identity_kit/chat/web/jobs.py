"""Commands that the page starts: child processes that outlive a closed tab and a stopped page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from identity_kit.chat.web.workspace import is_busy
from identity_kit.errors import BadInput
from identity_kit.files import read_json, write_json
from identity_kit.ui import tr

_TAIL = 4000  # bytes of output that the page shows


def job_folder(run: Path) -> Path:
    """Where a run's job is recorded: job.json, output.log, exit.json."""
    return run / ".web"


def start_job(run: Path, arguments: list[str], *, stop_after: str = "") -> None:
    """Start `idkit ARGUMENTS` on the run, in a session of its own.

    Args:
        stop_after: a stage of `idkit run` after which it is interrupted, to be gone on with later.

    Raises:
        BadInput: a command is working on the run already.
    """
    if is_busy(run) or job_state(run)["running"]:
        raise BadInput(
            tr("一条命令正在使用这个运行", "a command is working on this run"), fix=tr("等它结束", "wait for it to end")
        )
    folder = job_folder(run)
    folder.mkdir(exist_ok=True)
    (folder / "exit.json").unlink(missing_ok=True)
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "identity_kit.chat.web.child", str(folder), stop_after, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
        )
    write_json(
        folder / "job.json",
        {"pid": process.pid, "born": _born(process.pid), "arguments": arguments, "started": time.time()},
    )
    _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Collect the child's end in the background, so that no zombie counts as running."""
    import threading

    threading.Thread(target=process.wait, daemon=True).start()


def _born(pid: int) -> float | None:
    """When the process was started, which tells it from a later one with the same number."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def job_state(run: Path) -> dict[str, Any]:
    """The run's latest job: {running, command, exit, tail, seconds}; exit is None while it runs or when it was killed."""
    folder = job_folder(run)
    if not (folder / "job.json").is_file():
        return {"running": False, "command": "", "exit": None, "tail": "", "seconds": 0}
    job = read_json(folder / "job.json")
    ended = read_json(folder / "exit.json") if (folder / "exit.json").is_file() else {}
    running = not ended and job["born"] is not None and _born(job["pid"]) == job["born"]
    until = time.time() if running else ended.get("ended", job["started"])
    return {
        "running": running,
        "command": " ".join(
            ["idkit", *(json.dumps(a, ensure_ascii=False) if " " in a else a for a in job["arguments"])]
        ),
        "exit": ended.get("code"),
        "tail": _tail(folder / "output.log"),
        "seconds": round(until - job["started"]),
    }


def _tail(path: Path) -> str:
    """The end of the output, as a terminal would show it: a line that was written over shows its last state."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL))
        text = stream.read().decode("utf-8", errors="replace")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def stop_job(run: Path) -> None:
    """Interrupt the run's job as Ctrl-C does, so that it saves first.

    Raises:
        BadInput: none is running that the page has started.
    """
    if not job_state(run)["running"]:
        raise BadInput(tr("没有由网页启动的命令在运行", "no command that this page started is running"))
    os.kill(read_json(job_folder(run) / "job.json")["pid"], signal.SIGINT)
