"""The limiter in simulated time: pace, pauses, the breaker, and what it learns."""

import asyncio
import heapq
from collections.abc import Callable

import pytest

from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError
from identity_kit.llm.limits import Limiter, seconds


class Clock:
    """Time that moves only when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, int, Callable[[], None]]] = []
        self.count = 0

    def __call__(self) -> float:
        return self.now

    def later(self, wait: float, call: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.calls, (self.now + wait, self.count, call))

    async def sleep(self, wait: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.later(wait, lambda: None if future.done() else future.set_result(None))
        await future

    async def run(self, until: float) -> None:
        while self.calls and self.calls[0][0] <= until:
            self.now, _, call = heapq.heappop(self.calls)
            call()
            await turns()
        self.now = until


async def turns() -> None:
    """Let everybody run who can."""
    for _ in range(6):
        await asyncio.sleep(0)


def simulate(
    endpoint: Endpoint, length: float, *, rate: float, retry_after: bool = True, tell: bool = False, burst: float = 10.0
) -> tuple[int, int]:
    """Requests served and refused in `length` seconds by a bucket of `burst` that refills at `rate` a second."""
    clock = Clock()
    served = refused = 0
    bucket, filled = burst, 0.0

    async def go() -> None:
        nonlocal served, refused, bucket, filled
        limiter = Limiter(endpoint, clock=clock, later=clock.later)

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
        await turns()
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
    limiter = Limiter(Endpoint(base_url="http://x", model="m"), clock=clock, later=clock.later)
    for _ in range(12):
        limiter.in_flight += 1
        limiter.failed(ProviderError("server", "oops", status=500))
    assert limiter.breaks == 1
    assert limiter.paused_until > clock.now
    limiter.in_flight += 1
    limiter.succeeded()
    assert limiter.breaks == 0


class Askers:
    """Tasks that ask a limiter for a place, in order; `served` are those that have one."""

    def __init__(self, concurrency: int, **fields) -> None:
        self.clock = Clock()
        endpoint = Endpoint(base_url="http://x", model="m", concurrency=concurrency, **fields)
        self.limiter = Limiter(endpoint, clock=self.clock, later=self.clock.later)
        self.limiter.limit = float(concurrency)
        self.served: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, count: int, *, rank: int = 0) -> None:
        async def ask(number: int) -> None:
            await self.limiter.acquire(rank=rank)
            self.served.append(number)

        self.tasks += [asyncio.ensure_future(ask(len(self.tasks) + n)) for n in range(count)]
        await turns()


def test_places_go_to_those_who_waited_longest() -> None:
    async def go() -> None:
        askers = Askers(3)
        await askers.come(8)
        assert askers.served == [0, 1, 2]
        askers.limiter.succeeded()
        # Whoever asks now finds the place taken by the one who waited.
        await askers.come(1)
        assert askers.served == [0, 1, 2, 3]
        for _ in range(5):
            askers.limiter.succeeded()
        await turns()
        assert askers.served == list(range(9))
        assert askers.limiter.in_flight == 3

    asyncio.run(go())


def test_the_highest_rank_goes_first_and_those_of_one_rank_in_turn() -> None:
    async def go() -> None:
        askers = Askers(1)
        for rank in (0, 0, 1, 3, 1):
            await askers.come(1, rank=rank)
        for _ in range(4):
            askers.limiter.succeeded()
            await turns()
        assert askers.served == [0, 3, 2, 4, 1]

    asyncio.run(go())


def test_all_places_that_come_back_in_one_turn_are_taken_in_the_next() -> None:
    async def go() -> None:
        askers = Askers(128)
        await askers.come(256)
        for _ in range(128):
            askers.limiter.succeeded()
        assert askers.limiter.in_flight == 128
        await asyncio.sleep(0)
        assert len(askers.served) == 256

    asyncio.run(go())


def test_one_who_gives_up_waiting_takes_no_place() -> None:
    async def go() -> None:
        askers = Askers(1)
        await askers.come(4)
        askers.tasks[1].cancel()
        await turns()
        askers.limiter.succeeded()
        # Number 2 has been given the place, but not yet run.
        askers.tasks[2].cancel()
        await turns()
        assert askers.served == [0, 3]
        assert askers.limiter.in_flight == 1
        askers.limiter.succeeded()
        assert askers.limiter.in_flight == 0

    asyncio.run(go())


def test_the_limit_shrinks_and_grows_while_many_wait() -> None:
    async def go() -> None:
        askers = Askers(10)
        await askers.come(300)
        assert len(askers.served) == 10
        askers.limiter.failed(ProviderError("rate_limited", "slow", status=429, retry_after=2.0))
        assert int(askers.limiter.limit) == 7
        for _ in range(9):
            askers.limiter.release()
        await turns()
        assert len(askers.served) == 10, "a place was given away during the pause"
        await askers.clock.run(2.5)
        assert askers.limiter.in_flight == 7
        for _ in range(100):
            askers.limiter.succeeded()
            await askers.clock.run(askers.clock.now + 0.5)
            assert askers.limiter.in_flight <= int(askers.limiter.limit) <= 10
        assert askers.limiter.in_flight == 10
        assert askers.served == list(range(len(askers.served)))

    asyncio.run(go())


@pytest.mark.parametrize("kind", ["server", "timeout", "malformed", "connection", "bad_request"])
def test_a_place_that_an_error_gives_back_goes_to_the_next(kind) -> None:
    async def go() -> None:
        askers = Askers(1)
        await askers.come(2)
        askers.limiter.failed(ProviderError(kind, "oops"))
        await turns()
        assert askers.served == [0, 1]
        assert askers.limiter.in_flight == 1

    asyncio.run(go())


def test_a_broken_endpoint_is_felt_out_by_one_of_those_who_wait() -> None:
    async def go() -> None:
        askers = Askers(12)
        await askers.come(40)
        for _ in range(12):
            askers.limiter.failed(ProviderError("server", "oops", status=500))
        await turns()
        # Failing places went on to others until the breaker opened, and then to nobody.
        waiting = len(askers.served)
        while askers.limiter.in_flight:
            askers.limiter.failed(ProviderError("server", "oops", status=500))
        await turns()
        assert len(askers.served) == waiting
        await askers.clock.run(askers.limiter.paused_until + 0.1)
        assert len(askers.served) == waiting + 1
        assert askers.limiter.in_flight == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("text", "value"), [("1s", 1.0), ("6m0s", 360.0), ("120ms", 0.12), ("1.5", 1.5), ("", None), ("soon", None)]
)
def test_durations_in_headers(text: str, value: float | None) -> None:
    assert seconds(text) == value
