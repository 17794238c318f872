"""Progress of long work: a bar on a terminal, lines off one, silence under -q."""

import io

import pytest
from rich.console import Console

from identity_kit import progress as module
from identity_kit import ui
from identity_kit.progress import progress, time_left


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(ui, "say", lambda text, **_: lines.append(text))
    monkeypatch.setattr(module, "_LINE_SECONDS", 0.0)
    return lines


def test_off_a_terminal_it_says_a_line_with_count_and_time_left(said: list[str]):
    with progress("asking", 4) as bar:
        bar.advance(1)
        bar.stage("counting")
        bar.update(4, "all of them")
    assert said[0].startswith("asking 1/4 · 0:0")
    assert said[-1] == "counting all of them"


def test_lines_keep_their_distance(said: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_LINE_SECONDS", 60.0)
    with progress("asking", 100) as bar:
        for _ in range(100):
            bar.advance(1)
    assert said == []


def test_quiet_says_nothing(said: list[str]):
    ui.configure("en", quiet=True)
    with progress("asking", 4) as bar:
        bar.advance(1)
    assert said == []


def test_on_a_terminal_it_draws_a_bar(monkeypatch: pytest.MonkeyPatch):
    screen = io.StringIO()
    monkeypatch.setattr(ui, "console", lambda: Console(file=screen, force_terminal=True, width=80))
    with progress("asking", 4) as bar:
        bar.update(2, "two [of] four")
    assert "asking" in screen.getvalue() and "two [of] four" in screen.getvalue()


def test_time_left_is_minutes_and_seconds():
    assert time_left(75.4) == "1:15 left"
