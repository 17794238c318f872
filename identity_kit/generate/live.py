"""The run on screen: rows, requests a second, tokens, money, time left. A bar on a terminal, a line now and then off one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from identity_kit.generate.engine import Progress, Report
from identity_kit.ui import console, quiet, say, tr

# Seconds between lines where there is no terminal.
_PLAIN = 15.0


@contextlib.contextmanager
def live() -> Iterator[Report | None]:
    """A report function that shows progress while the block runs; None under `-q`."""
    if quiet():
        yield None
        return
    if not console().is_terminal:
        last = [time.monotonic()]

        def plain(progress: Progress) -> None:
            if time.monotonic() - last[0] >= _PLAIN:
                last[0] = time.monotonic()
                say(_line(progress))

        yield plain
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[line]}"), console=console(),
        transient=True,
    ) as bars:  # fmt: skip
        task = bars.add_task(tr("生成", "writing"), total=None, line="")

        def bar(progress: Progress) -> None:
            bars.update(task, total=progress.asked, completed=progress.accepted, line=_line(progress))

        yield bar


def _line(progress: Progress) -> str:
    spent = max(1e-3, time.monotonic() - progress.started)
    meter = progress.meter
    parts = [
        tr(f"{progress.accepted}/{progress.asked} 行", f"{progress.accepted}/{progress.asked} rows"),
        tr(f"拒绝 {progress.rejected}", f"{progress.rejected} rejected"),
    ]
    if meter.requests:
        parts.append(tr(f"{meter.answered / spent:.1f} 请求/秒", f"{meter.answered / spent:.1f} req/s"))
        parts.append(f"{meter.tokens_in + meter.tokens_out} tok")
    if meter.cost:
        parts.append(f"${meter.cost:.4f}")
    in_flight = sum(client.limiter.in_flight for client in progress.clients)
    if in_flight:
        parts.append(tr(f"在途 {in_flight}", f"{in_flight} in flight"))
    if 0 < progress.accepted < progress.asked:
        left = int(spent / progress.accepted * (progress.asked - progress.accepted))
        parts.append(tr(f"还需 {left // 60}:{left % 60:02d}", f"{left // 60}:{left % 60:02d} left"))
    return " · ".join(parts)
