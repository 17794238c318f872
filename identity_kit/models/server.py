"""A local OpenAI-compatible server for a GGUF file: llama.cpp's own, on loopback, in a child process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from identity_kit.errors import Stopped
from identity_kit.ui import tr


@dataclass(frozen=True)
class LocalServer:
    """A running server. `base_url` ends in /v1; `slots` requests are answered at once; `pid` is the child's."""

    base_url: str
    slots: int
    pid: int


@contextlib.contextmanager
def local_server(
    gguf: Path, *, slots: int = 8, context: int = 1024, port: int = 0, template: str | None = None
) -> Iterator[LocalServer]:
    """Serve `gguf` until the block ends; the child ends with it, and with this process if that is killed.

    Args:
        slots: requests answered at the same time.
        context: tokens a slot, prompt and answer together.
        port: 0 takes a free one.
        template: a Jinja chat template in place of the file's own.

    Raises:
        Stopped: the server did not come up; the engine's last words are in the message.
    """
    port = port or free_port()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        command = [
            sys.executable,
            "-m",
            "identity_kit.models.serve_gguf",
            str(gguf),
            str(port),
            str(slots),
            str(context),
        ]
        # The pipe on stdin is the child's life line: when this process dies, however, it reads the end of file.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "IDKIT_TEMPLATE": template or ""},
        )
        try:
            _wait(process, port, gguf, log)
            yield LocalServer(base_url=f"http://127.0.0.1:{port}/v1", slots=slots, pid=process.pid)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(process: subprocess.Popen, port: int, gguf: Path, log, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    process.kill()
    process.wait()
    log.seek(0)
    words = [line.strip() for line in log.read().splitlines() if line.strip()]
    reason = words[-1] if words else tr("没有回应", "no answer")
    raise Stopped(
        tr(f"本地模型服务没有起来：{reason}", f"the local model server did not start: {reason}"),
        where=str(gguf),
        fix=tr(
            "检查内存和该 GGUF 文件，再运行同一条命令", "check the memory and the GGUF file, then run the same command"
        ),
    )
