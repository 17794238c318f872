"""Progress of long work: a bar on a terminal, a line now and then off one, nothing under `-q`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from identity_kit import ui
from identity_kit.ui import tr

_LINE_SECONDS = 15.0  # between lines off a terminal


class Progress:
    """How far the work is: tell it by `stage`, `advance` and `update`, as often as one likes."""

    def __init__(self, what: str, total: float, draw: Callable[[Progress], None] | None) -> None:
        self.what, self.total, self.done, self.words = what, total, 0.0, ""
        self._started, self._draw = time.monotonic(), draw

    def stage(self, what: str) -> None:
        """Name what is going on now."""
        self.what = what
        self._show()

    def advance(self, count: float) -> None:
        """Count what has been done since."""
        self.update(self.done + count)

    def update(self, done: float, words: str = "", *, total: float | None = None) -> None:
        """Say how much is done in all; without `words`, the count and the time left stand beside it."""
        self.done, self.total = done, self.total if total is None else total
        self.words = words or self._count()
        self._show()

    def _count(self) -> str:
        count = f"{self.done:.0f}/{self.total:.0f}"
        if not 0 < self.done < self.total:
            return count
        left = time_left((time.monotonic() - self._started) / self.done * (self.total - self.done))
        return f"{count} · {left}"

    def _show(self) -> None:
        if self._draw is not None:
            self._draw(self)


def time_left(seconds: float) -> str:
    """The time that work will still take, as words."""
    minutes, rest = divmod(round(seconds), 60)
    return tr(f"还需 {minutes}:{rest:02d}", f"{minutes}:{rest:02d} left")


@contextlib.contextmanager
def progress(what: str, total: float = 0, *, show: bool = True) -> Iterator[Progress]:
    """Show how far the work in the block is.

    Args:
        what: what is being done.
        total: how much there is to do; 0 while that is not known.
        show: False says nothing at all.
    """
    if not show or ui.quiet():
        yield Progress(what, total, None)
    elif ui.console().is_terminal:
        with _bar() as draw:
            yield Progress(what, total, draw)
    else:
        yield Progress(what, total, _lines())


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Bars(*columns, console=ui.console(), transient=True) as bars:
        task = bars.add_task("", total=None, words="")
        yield lambda now: bars.update(
            task, description=now.what, completed=now.done, total=now.total or None, words=now.words
        )


def _lines() -> Callable[[Progress], None]:
    said = time.monotonic()

    def draw(now: Progress) -> None:
        nonlocal said
        if now.words and time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            ui.say(f"{now.what} {now.words}")

    return draw
