"""The limiter in simulated time: pace, pauses, the breaker, and what it learns."""

import asyncio
import heapq

import pytest

from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError
from identity_kit.llm.limits import Limiter, seconds


class Clock:
    """Time that moves only when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleepers: list[tuple[float, int, asyncio.Future]] = []
        self.count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, wait: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.count += 1
        heapq.heappush(self.sleepers, (self.now + wait, self.count, future))
        await future

    async def run(self, until: float) -> None:
        while self.sleepers and self.sleepers[0][0] <= until:
            for _ in range(6):
                await asyncio.sleep(0)
            if not self.sleepers or self.sleepers[0][0] > until:
                break
            at, _, future = heapq.heappop(self.sleepers)
            self.now = at
            if not future.done():
                future.set_result(None)
            for _ in range(6):
                await asyncio.sleep(0)
        self.now = until


def simulate(
    endpoint: Endpoint, length: float, *, rate: float, retry_after: bool = True, tell: bool = False, burst: float = 10.0
) -> tuple[int, int]:
    """Requests served and refused in `length` seconds by a bucket of `burst` that refills at `rate` a second."""
    clock = Clock()
    served = refused = 0
    bucket, filled = burst, 0.0

    async def go() -> None:
        nonlocal served, refused, bucket, filled
        limiter = Limiter(endpoint, clock=clock, sleep=clock.sleep)

        async def worker() -> None:
            nonlocal served, refused, bucket, filled
            while True:
                await limiter.acquire(100)
                bucket = min(burst, bucket + (clock.now - filled) * rate)
                filled = clock.now
                if bucket >= 1:
                    bucket -= 1
                    await clock.sleep(0.2)
                    served += 1
                    limiter.succeeded({"x-ratelimit-limit-requests": f"{rate * 60:g}"} if tell else {})
                else:
                    wait = (1 - bucket) / rate
                    await clock.sleep(0.02)
                    refused += 1
                    limiter.failed(
                        ProviderError("rate_limited", "slow", status=429, retry_after=wait if retry_after else None)
                    )

        tasks = [asyncio.ensure_future(worker()) for _ in range(128)]
        for _ in range(200):
            await asyncio.sleep(0)
        await clock.run(length)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())
    return served, refused


@pytest.mark.parametrize(("rpm", "tell"), [(600.0, False), (None, True)])
def test_a_known_limit_is_used_up_and_hardly_ever_crossed(rpm: float | None, tell: bool) -> None:
    endpoint = Endpoint(base_url="http://x", model="m", concurrency=128, rpm=rpm, firm_limits=rpm is not None)
    served, refused = simulate(endpoint, 300, rate=10.0, tell=tell)
    assert served >= 0.97 * 3000
    assert refused < 0.01 * (served + refused)


@pytest.mark.parametrize("retry_after", [True, False])
def test_an_unknown_limit_is_learnt_from_refusals(retry_after: bool) -> None:
    endpoint = Endpoint(base_url="http://x", model="m", concurrency=128)
    served, refused = simulate(endpoint, 600, rate=10.0, retry_after=retry_after)
    assert served >= 0.9 * 6000
    assert refused < 0.03 * (served + refused)


def test_tokens_a_minute_are_kept() -> None:
    endpoint = Endpoint(base_url="http://x", model="m", concurrency=128, tpm=60_000, firm_limits=True)
    served, _ = simulate(endpoint, 120, rate=1000.0, burst=1000.0)
    # 100 tokens each, 1,000 a second: ten requests a second.
    assert 0.95 * 1200 <= served <= 1230


def test_nothing_but_failures_open_the_breaker_and_a_success_closes_it() -> None:
    clock = Clock()
    limiter = Limiter(Endpoint(base_url="http://x", model="m"), clock=clock, sleep=clock.sleep)
    for _ in range(12):
        limiter.in_flight += 1
        limiter.failed(ProviderError("server", "oops", status=500))
    assert limiter.breaks == 1
    assert limiter.paused_until > clock.now
    limiter.in_flight += 1
    limiter.succeeded()
    assert limiter.breaks == 0


@pytest.mark.parametrize(
    ("text", "value"), [("1s", 1.0), ("6m0s", 360.0), ("120ms", 0.12), ("1.5", 1.5), ("", None), ("soon", None)]
)
def test_durations_in_headers(text: str, value: float | None) -> None:
    assert seconds(text) == value
