"""What a person sees while it trains: loss, learning rate, tokens a second, memory, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from identity_kit.progress import progress, time_left
from identity_kit.train.batches import Step
from identity_kit.train.data import TrainingData
from identity_kit.ui import tr

Show = Callable[[int, float, float, int, float, int], None]
"""(steps done, loss, learning rate, tokens, seconds of the step, peak bytes)"""


@contextmanager
def view(steps: list[Step], rows: TrainingData, *, show: bool) -> Iterator[Show]:
    """A function to call after each step."""
    lengths = [len(row) for row in rows.rows]
    ahead = [sum(lengths[i] for batch in step for i in batch) for step in steps]
    speed = _Speed()
    with progress(tr("训练", "training"), len(steps), show=show) as bar:

        def after(number: int, loss: float, rate: float, tokens: int, seconds: float, memory: int) -> None:
            per_second = speed.add(tokens, seconds)
            left = time_left(sum(ahead[number:]) / max(per_second, 1e-9))
            words = tr(
                f"损失 {loss:.3f}  学习率 {rate:.1e}  {per_second:.0f} 词元/秒",
                f"loss {loss:.3f}  lr {rate:.1e}  {per_second:.0f} tokens/s",
            )
            bar.update(number, f"{number}/{len(steps)}  {words}  {memory / 2**30:.1f} GiB  {left}")

        yield after


class _Speed:
    """Tokens a second over the last steps, the first few steps weighing less."""

    def __init__(self) -> None:
        self.tokens, self.seconds = 0.0, 0.0

    def add(self, tokens: int, seconds: float) -> float:
        self.tokens, self.seconds = 0.9 * self.tokens + tokens, 0.9 * self.seconds + seconds
        return self.tokens / max(self.seconds, 1e-9)
