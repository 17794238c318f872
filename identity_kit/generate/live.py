"""The run on screen: rows, requests a second, tokens, money, time left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from identity_kit.generate.engine import Progress, Report
from identity_kit.progress import progress, time_left
from identity_kit.ui import tr


@contextlib.contextmanager
def live() -> Iterator[Report]:
    """A report function that shows progress while the block runs."""
    with progress(tr("生成", "writing")) as bar:
        yield lambda now: bar.update(now.accepted, _words(now), total=now.asked)


def _words(now: Progress) -> str:
    spent = max(1e-3, time.monotonic() - now.started)
    meter = now.meter
    parts = [
        tr(f"{now.accepted}/{now.asked} 行", f"{now.accepted}/{now.asked} rows"),
        tr(f"拒绝 {now.rejected}", f"{now.rejected} rejected"),
    ]
    if meter.requests:
        parts.append(tr(f"{meter.answered / spent:.1f} 请求/秒", f"{meter.answered / spent:.1f} req/s"))
        parts.append(f"{meter.tokens_in + meter.tokens_out} tok")
    if meter.cost:
        parts.append(f"${meter.cost:.4f}")
    in_flight = sum(limiter.in_flight for limiter in {client.limiter for client in now.clients})
    if in_flight:
        parts.append(tr(f"在途 {in_flight}", f"{in_flight} in flight"))
    if 0 < now.accepted < now.asked:
        parts.append(time_left(spent / now.accepted * (now.asked - now.accepted)))
    return " · ".join(parts)
