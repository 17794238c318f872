"""`idkit web` in a process of its own, and requests to it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from identity_kit.models.server import free_port


class Page:
    """A running page server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> tuple[int, Any, Any]:
        """(status, JSON or text, headers) of a request as the page itself makes it; headers override its own."""
        own = {"Content-Type": "application/json", "Origin": self.url} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=own | given)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.status, _value(reply.read()), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, _value(error.read()), error.headers


def _value(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return raw.decode("utf-8")


@contextlib.contextmanager
def page_server(root: Path, *words: str) -> Iterator[Page]:
    port = free_port()
    command = [sys.executable, "-m", "identity_kit", "--ui", "en", "web", *words]
    command += ["--runs", str(root), "--port", str(port), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}/" in line, line + process.stderr.read()
        yield Page(port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
