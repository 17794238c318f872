"""A progress bar on a terminal, a line now and then off one, nothing under `-q`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from identity_kit import ui
from identity_kit.ui import tr

_EVERY_SECONDS = 20.0


class _Lines:
    """Plain lines, for a log file."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._said, self._stage = total, 0, time.monotonic(), ""

    def stage(self, name: str) -> None:
        """Name what is going on now."""
        self._stage = name

    def advance(self, count: int) -> None:
        """Count answers that are done."""
        self._done += count
        if time.monotonic() - self._said >= _EVERY_SECONDS:
            self._said = time.monotonic()
            ui.say(
                tr(
                    f"评测 {self._stage}：{self._done}/{self._total}",
                    f"asking {self._stage}: {self._done}/{self._total}",
                )
            )


class _Bar(_Lines):
    """A live bar."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(total)
        self.live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=ui.console(),
            transient=True,
        )
        self._task = self.live.add_task("", total=total)

    def stage(self, name: str) -> None:
        self.live.update(self._task, description=tr(f"评测 {name}", f"asking {name}"))

    def advance(self, count: int) -> None:
        self.live.advance(self._task, count)


@contextlib.contextmanager
def progress(total: int) -> Iterator[_Lines]:
    """Something to tell what is being done (`stage`) and how many answers have come (`advance`)."""
    if not ui.quiet() and ui.console().is_terminal:
        bar = _Bar(total)
        with bar.live:
            yield bar
    else:
        yield _Lines(total)
