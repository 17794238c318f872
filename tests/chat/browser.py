"""Headless Chromium through chromedriver's WebDriver address, in a few calls."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing() -> str:
    """Why no browser can be started here; empty when one can."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


class Browser:
    """One page."""

    def __init__(self, address: str) -> None:
        options = {"args": list(FLAGS), "binary": shutil.which("chromium")}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self.root = address
        reply = _call("POST", f"{address}/session", {"capabilities": capabilities})
        self.session = f"{address}/session/{reply['sessionId']}"

    def command(self, name: str, body: dict[str, Any] | None = None) -> Any:
        """A WebDriver command; with a body it is a POST."""
        return _call("GET" if body is None else "POST", f"{self.session}/{name}", body)

    def open(self, url: str) -> None:
        self.command("url", {"url": url})

    def size(self, width: int, height: int) -> None:
        """Lay the page out at this width, phones included, which a window cannot be made as narrow as."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.command("execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def element(self, selector: str) -> str:
        return self.command("element", {"using": "css selector", "value": selector})[_ELEMENT]

    def click(self, selector: str) -> None:
        self.command(f"element/{self.element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self.command(f"element/{self.element(selector)}/value", {"text": text})

    def clear(self, selector: str) -> None:
        self.command(f"element/{self.element(selector)}/clear", {})

    def keys(self, *keys: str) -> None:
        """Press keys where the focus is."""
        actions = [
            action for key in keys for action in ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})
        ]
        self.command("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def wait(self, done: Callable[[], Any], seconds: float = 20) -> Any:
        """Wait until `done` gives something true, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = done()
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"waited {seconds} s in vain; the page says: {self.text()[:2000]}")

    def complaints(self) -> list[str]:
        """What the browser's console has complained about since it was last asked."""
        return [entry["message"] for entry in self.command("se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("screenshot")))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium for the length of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LANG": "C.UTF-8"},
    )
    page = None
    try:
        for _ in range(100):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                _call("GET", f"http://127.0.0.1:{port}/status", None)
                break
            time.sleep(0.1)
        page = Browser(f"http://127.0.0.1:{port}")
        yield page
    finally:
        if page is not None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(urllib.request.Request(page.session, method="DELETE"), timeout=20)
        driver.terminate()
        driver.wait(10)


def _call(method: str, url: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from None
