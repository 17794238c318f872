"""What a person sees while it trains: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from identity_kit import ui
from identity_kit.train.batches import Step
from identity_kit.train.data import TrainingData
from identity_kit.train.log import last_words
from identity_kit.ui import say, tr

Show = Callable[[int, float, float, int, float, int], None]
"""(steps done, loss, learning rate, tokens, seconds of the step, peak bytes)"""

_LINE_EVERY = 15.0  # seconds between lines off a terminal


@contextmanager
def view(steps: list[Step], rows: TrainingData, done: int, *, show: bool) -> Iterator[Show]:
    """A function to call after each step."""
    lengths = [len(row) for row in rows.rows]
    ahead = [sum(lengths[i] for batch in step for i in batch) for step in steps]
    speed = _Speed()

    def words(number: int, loss: float, rate: float, tokens: int, seconds: float, memory: int) -> str:
        per_second = speed.add(tokens, seconds)
        return last_words(loss, rate, per_second, memory, sum(ahead[number:]) / max(per_second, 1e-9))

    if not show or ui.quiet():
        yield lambda *figures: None
    elif ui.console().is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=ui.console(), transient=True) as bar:
            task = bar.add_task(tr("训练", "training"), total=len(steps), completed=done, words="")
            yield lambda *figures: bar.update(task, completed=figures[0], words=words(*figures))
    else:
        last = 0.0

        def line(*figures: float) -> None:
            nonlocal last
            text = words(*figures)  # type: ignore[arg-type]
            if time.monotonic() - last >= _LINE_EVERY or figures[0] == len(steps):
                last = time.monotonic()
                say(tr(f"训练 {figures[0]}/{len(steps)}  ", f"training {figures[0]}/{len(steps)}  ") + text)

        yield line


class _Speed:
    """Tokens a second over the last steps, the first few steps weighing less."""

    def __init__(self) -> None:
        self.tokens, self.seconds = 0.0, 0.0

    def add(self, tokens: int, seconds: float) -> float:
        self.tokens, self.seconds = 0.9 * self.tokens + tokens, 0.9 * self.seconds + seconds
        return self.tokens / max(self.seconds, 1e-9)
