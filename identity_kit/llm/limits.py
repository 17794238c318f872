"""How fast to ask: requests and tokens a minute, adaptive concurrency, pauses, and a breaker for a failing endpoint.

Concurrency follows TCP's additive increase and multiplicative decrease (Jacobson 1988): it triples each round trip until
the first refusal, then grows by one a round trip and shrinks by 30 % at a refusal. A pace is kept where the limit is
known, from a flag, a response's headers, or what the endpoint let through before it refused.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import re
import time
from collections.abc import Callable, Mapping

from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError

# Keep a little below a known limit, so that jitter does not carry requests across it.
MARGIN = 0.985
_FIRST = 8
_BREAK_AFTER = 12


class Limiter:
    """Admission to one endpoint. `acquire` waits for a place; `succeeded`, `failed` or `release` gives it back.

    Who gives a place back hands it to the first that waits, there and then: an endpoint that bears 128 requests has 128
    at every moment, however many ask.

    clock: seconds, monotonic. later: calls a function after so many seconds. Both replaceable, so that hours can be
    simulated.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self._clock = clock
        self._later = later or (lambda wait, call: asyncio.get_running_loop().call_later(wait, call))
        self.cap = max(1, endpoint.concurrency)
        self.limit = float(min(self.cap, _FIRST))
        self._threshold = float(self.cap)
        self.in_flight = 0
        self.rate = endpoint.rpm / 60 * MARGIN if endpoint.rpm else None
        self._firm = endpoint.firm_limits and endpoint.rpm is not None
        self._told = self.rate is not None
        self.tokens_rate = endpoint.tpm / 60 * MARGIN if endpoint.tpm else None
        self._next = self._next_tokens = clock()
        self.paused_until = 0.0
        # Who waits: the negative of its rank, its number, its place, its tokens.
        self._waiting: list[tuple[int, int, asyncio.Future[None], int]] = []
        self._numbers = itertools.count()
        self._alarmed = False
        self._epoch, self._epoch_count = clock(), 0
        self._grown = clock()
        self._refused_until = 0.0
        self._refusals = 0
        self._failures = 0
        self.breaks = 0

    async def acquire(self, tokens: int = 0, *, rank: int = 0) -> None:
        """Wait for a place in flight, for the pace, for any pause; the highest rank first, then first come, first served."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-rank, next(self._numbers), place, tokens))
        self._serve()
        if place.done():
            return
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                # It was given in the very turn in which its owner was cancelled.
                self.release()
            raise

    def _serve(self) -> None:
        """Hand out places in their order, until the limit, the pace or a pause says to wait."""
        while self._waiting and self.in_flight < int(self.limit):
            _, _, place, tokens = self._waiting[0]
            if not place.cancelled():
                wait = self._wait(tokens)
                if wait > 0:
                    if not self._alarmed:
                        self._alarmed = True
                        self._later(wait, self._alarm)
                    return
                self._take(tokens)
                place.set_result(None)
            heapq.heappop(self._waiting)

    def _alarm(self) -> None:
        self._alarmed = False
        self._serve()

    def _take(self, tokens: int) -> None:
        now = self._clock()
        if self.rate:
            # Lost time is caught up within a fifth of a second, so that a late timer costs no throughput.
            self._next = max(now - 0.2, self._next) + 1 / self.rate
        if self.tokens_rate:
            self._next_tokens = max(now - 1.0, self._next_tokens) + tokens / self.tokens_rate
        self.in_flight += 1

    def _wait(self, tokens: int) -> float:
        now = self._clock()
        until = self.paused_until
        if self.rate:
            until = max(until, self._next)
        if self.tokens_rate and tokens:
            until = max(until, self._next_tokens)
        return until - now if until - now > 1e-4 else 0.0

    def succeeded(self, headers: Mapping[str, str] | None = None, tokens_over: int = 0) -> None:
        """A place comes back with an answer; `tokens_over` is how many more tokens it took than was guessed."""
        self.in_flight -= 1
        self._failures = self._refusals = 0
        self.breaks = 0
        self._epoch_count += 1
        if self.limit < self.cap and self.in_flight + 1 >= self.limit * 0.7:
            self.limit = min(float(self.cap), self.limit + (2.0 if self.limit < self._threshold else 1.0 / self.limit))
        if self.tokens_rate and tokens_over > 0:
            self._next_tokens += tokens_over / self.tokens_rate
        if headers:
            self._read(headers)
        now = self._clock()
        if self.rate and not self._told and now - self._grown > 1:
            # What was learnt from refusals is a guess: feel upwards, faster the longer nothing was refused.
            calm = min(120.0, now - self._epoch)
            self.rate *= 1 + (now - self._grown) * (0.0003 + 0.0002 * max(0.0, calm))
            self._grown = now
        self._serve()

    def failed(self, error: ProviderError) -> None:
        """A place comes back with an error; slows down, pauses or breaks as its kind asks for."""
        self.in_flight -= 1
        self._slow_down(error)
        self._serve()

    def release(self) -> None:
        """A place comes back unused."""
        self.in_flight -= 1
        self._serve()

    def _slow_down(self, error: ProviderError) -> None:
        now = self._clock()
        if error.kind in ("rate_limited", "overloaded"):
            self._refuse(error, now)
            return
        if not error.retryable:
            return
        self._failures += 1
        if error.kind != "malformed":
            self.limit = max(1.0, self.limit * 0.93)
        if self._failures >= _BREAK_AFTER and now >= self.paused_until:
            # Nothing but failures: stop asking for a while, then let one request feel its way.
            self.breaks += 1
            self.paused_until = now + min(30.0, 2.0**self.breaks)
            self.limit, self._threshold = 1.0, max(2.0, self.limit)

    def _refuse(self, error: ProviderError, now: float) -> None:
        if now < self._refused_until:
            # The rest of what was in flight when the first refusal came; it tells nothing new but how long to wait.
            if error.retry_after:
                self.paused_until = max(self.paused_until, now + min(error.retry_after, 90.0))
            return
        self._refusals += 1
        pause = error.retry_after
        if pause is None:
            # A pace that was kept is hardly ever far off: a short rest is enough, unless refusals go on.
            rest = 3 / self.rate if self.rate and self._refusals == 1 else 0.5 * 2.0 ** min(self._refusals, 6)
            pause = min(30.0, rest)
        self.paused_until = max(self.paused_until, now + pause)
        if error.kind == "rate_limited" and not self._told:
            self._learn(now, pause)
        if self._refusals > 1 or not self.rate:
            self._threshold = max(2.0, self.limit * 0.7)
            self.limit = max(1.0, self.limit * 0.7)
        self._refused_until = now + max(pause, 0.5)
        self._epoch, self._epoch_count = now + pause, 0

    def _learn(self, now: float, pause: float) -> None:
        """The pace that the endpoint has shown it bears: what it let through since the last refusal, the wait counted in."""
        # In less than a second mostly a reserve was used up, which says little about the pace.
        span = max(1.0, now + pause - self._epoch)
        if self._epoch_count >= 5:
            borne = self._epoch_count / span
            self.rate = borne if self.rate is None else min(self.rate * 0.97, max(borne, self.rate * 0.5))
        elif self.rate is not None:
            self.rate *= 0.9
        self._grown = now

    def _read(self, headers: Mapping[str, str]) -> None:
        """Take over a limit that the response's headers tell (`x-ratelimit-limit-requests`, OpenAI's form, a minute)."""
        told = _number(headers.get("x-ratelimit-limit-requests"))
        reset = seconds(headers.get("x-ratelimit-reset-requests", ""))
        if told and told > 0 and (reset is None or reset <= 60):
            rate = told / 60 * MARGIN
            self.rate = min(self.rate, rate) if self._firm and self.rate else rate
            self._told = True
        tokens = _number(headers.get("x-ratelimit-limit-tokens"))
        if tokens and tokens > 0:
            rate = tokens / 60 * MARGIN
            self.tokens_rate = min(self.tokens_rate, rate) if self._firm and self.tokens_rate else rate


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: str) -> float | None:
    """Seconds in a duration as headers write it: "1s", "6m0s", "120ms", "1.5"; None where it is none."""
    text = text.strip()
    if (plain := _number(text)) is not None:
        return plain
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    found = _PARTS.findall(text)
    return sum(float(amount) * scale[unit] for amount, unit in found) if found else None
