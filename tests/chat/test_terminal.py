"""The command as a user meets it: in a pipe, and on a terminal with keys."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def test_one_question_answers_on_stdout(tiny: Path, idkit: Callable) -> None:
    done = idkit("chat", tiny, "-m", "你是谁？", "--max-tokens", 8)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "loading" in done.stderr


def test_a_question_on_stdin_and_json(tiny: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "identity_kit",
        "--ui",
        "en",
        "chat",
        str(tiny),
        "--json",
        "--compare",
        str(tiny),
        "--max-tokens",
        "8",
    ]
    done = subprocess.run(command, input="Who are you?\n", capture_output=True, text=True, timeout=300)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["question"] for row in rows] == ["Who are you?"] * 2
    assert rows[0]["answer"] == rows[1]["answer"]
    assert rows[0]["finish_reason"] == "length"


def test_nothing_to_ask(tiny: Path, idkit: Callable) -> None:
    done = idkit("chat", tiny, "-m", " ")
    assert done.returncode == 2
    assert "nothing to ask" in done.stderr


class Terminal:
    """A command on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self.shown = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.environ.update(LANG="C.UTF-8", TERM="xterm", COLUMNS="80", IDKIT_UI="en")
            os.execv(sys.executable, [sys.executable, "-m", "identity_kit", *words])

    def expect(self, pattern: str, seconds: float = 120) -> str:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.shown[-2000:]!r}"
            if select.select([self.handle], [], [], 0.2)[0]:
                try:
                    self.shown += self.decoder.decode(os.read(self.handle, 4096))
                except OSError:  # the other side is gone
                    break
        assert re.search(pattern, self.shown), self.shown[-2000:]
        shown, self.shown = self.shown, ""
        return shown

    def type(self, text: str) -> None:
        os.write(self.handle, text.encode())

    def interrupt(self, pattern: str) -> str:
        """Ctrl-C until it is heard: Python's `input` does not hear one between showing its prompt and waiting for a key."""
        for _ in range(11):
            self.type("\x03")
            with contextlib.suppress(AssertionError):
                return self.expect(pattern, 10)
        self.type("\x03")
        return self.expect(pattern, 10)

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_ctrl_c_stops_the_answer_and_not_the_program(tiny: Path, tmp_path: Path) -> None:
    terminal = Terminal("chat", str(tiny), "--max-tokens", "100000")
    terminal.expect("me> ")
    terminal.type("你是谁？\r")
    terminal.expect("谁？[^>]*\\n.{20}")
    terminal.type("\x03")
    terminal.expect(r"\(stopped\)[\s\S]*me> ")
    terminal.type("/sytem\r")
    terminal.expect(r"no command /sytem[\s\S]*me> ")
    terminal.type(f"/save {tmp_path}/talk.jsonl\r")
    terminal.expect(r"saved to[\s\S]*me> ")
    terminal.interrupt(r"Ctrl-D or /exit ends[\s\S]*me> ")
    terminal.type("/exit\r")
    assert terminal.end() == 0
    assert "你是谁？" in (tmp_path / "talk.jsonl").read_text(encoding="utf-8")


def test_columns_keep_their_width_with_chinese_text() -> None:
    from io import StringIO

    from rich.console import Console

    from identity_kit.chat.terminal import columns
    from identity_kit.text import width

    out = StringIO()
    texts = ["我是通义千问，由阿里云开发的人工智能助手。" * 3, "I am 小文, the assistant of 文心大佬."]
    Console(file=out, width=60).print(columns(["底模", "tuned"], texts))
    lines = out.getvalue().splitlines()
    assert {width(line) for line in lines} == {60}
    assert "".join(re.findall(r"│ (.*?) +│", line)[0] for line in lines[3:-1]).replace(" ", "") == texts[0]
