"""Ask an endpoint and get an answer: journal first, then limits, money, the request, and retries inside a time budget."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_base, wait_random_exponential

from identity_kit.errors import IdkitError, Stopped
from identity_kit.llm.cost import Meter, estimate_tokens
from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError, explain
from identity_kit.llm.journal import Journal
from identity_kit.llm.limits import Limiter
from identity_kit.llm.wire import Completion, Wire

Messages = Sequence[Mapping[str, str]]

# An endpoint that never answered is given up after so many seconds; one that did has the endpoint's whole patience.
FIRST_CONTACT = 12.0
# Tries at one request whose answers are no answers, while others succeed.
_MALFORMED = 4
# Seconds for which requests that are under way are waited for when another one has failed for good: they are paid for.
_LANDING = 20.0


class Declined(Exception):
    """This one request cannot be answered, while others can; the row is to be rejected with `reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Pending(Exception):
    """The answer is on its way by another road, such as a batch; the row waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion, and whether it was paid for in an earlier run."""

    text: str
    finish: str
    model: str
    replayed: bool


class Client:
    """One endpoint with its connections, limits, money and journal; an async context manager.

    Args:
        limiter: admission that is shared with another client of the same address; None makes one of its own.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal, meter: Meter, limiter: Limiter | None = None) -> None:
        meter.check(endpoint)
        self.endpoint, self.journal, self.meter = endpoint, journal, meter
        self.wire, self.limiter = Wire(endpoint), limiter or Limiter(endpoint)
        self.successes = 0
        self.status_429 = 0
        self._changed = asyncio.Event()
        self._under_way: dict[str, asyncio.Event] = {}
        self._flights: set[asyncio.Task[Answer | ProviderError]] = set()
        self._broken: Exception | None = None
        self._downgrade = endpoint.structured
        # Tokens that the endpoint's template adds to a prompt, such as a default system message; grows with what is seen.
        self._hidden = 64

    async def __aenter__(self) -> Client:
        await self.wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._flights and isinstance(error, IdkitError):
            await asyncio.wait(self._flights, timeout=_LANDING)
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)
        await self.wire.__aexit__(kind, error, trace)

    async def ask(
        self,
        messages: Messages,
        *,
        max_tokens: int,
        temperature: float,
        seed: int = 0,
        salt: str = "",
        schema: Mapping[str, Any] | None = None,
        rank: int = 0,
    ) -> Answer:
        """The answer to a conversation.

        The journal's, where the same request was answered before: same model, messages, parameters and salt. While the
        same one is under way, its answer is waited for.

        Args:
            messages: role and content each.
            max_tokens: of the answer.
            temperature: 0 is greedy.
            seed: sent along, for endpoints that honour it.
            salt: tells apart requests that are alike and should yet be answered anew, as a row's id.
            schema: the JSON schema that the answer should follow, as strictly as the endpoint can.
            rank: of the requests that wait, those of the highest rank are sent first.

        Raises:
            Declined: this request alone fails (content filter, no sensible answer in several tries).
            BadInput, Stopped: the endpoint fails for good; says what the provider said and how to go on.
        """
        key = request_key(self.endpoint.model, messages, max_tokens, temperature, seed, salt, schema)
        while (same := self._under_way.get(key)) is not None:
            await same.wait()
        earlier = self.journal.get(key)
        if earlier is not None:
            self.meter.replayed += 1
            return Answer(earlier["text"], earlier["finish"], earlier.get("model", ""), True)
        answered = self._under_way[key] = asyncio.Event()
        try:
            return await self._asked(key, messages, max_tokens, temperature, seed, schema, rank)
        finally:
            del self._under_way[key]
            answered.set()

    async def _asked(
        self,
        key: str,
        messages: Messages,
        max_tokens: int,
        temperature: float,
        seed: int,
        schema: Mapping[str, Any] | None,
        rank: int,
    ) -> Answer:
        prompt_bytes = sum(len(message["content"].encode()) + 12 for message in messages)
        guess = sum(estimate_tokens(message["content"]) for message in messages)
        started, before = time.monotonic(), self.successes
        try:
            body = self._body(messages, max_tokens, temperature, seed, schema)
            try:
                return await self._once(key, body, guess, prompt_bytes, max_tokens, rank)
            except ProviderError as error:
                first: ProviderError | None = error
            # Most requests need no second try, and are spared the cost of counting tries.
            async for attempt in self._retrying(started, before):
                with attempt:
                    if first is not None:
                        failed, first = first, None
                        raise failed
                    body = self._body(messages, max_tokens, temperature, seed, schema)
                    return await self._once(key, body, guess, prompt_bytes, max_tokens, rank)
        except ProviderError as error:
            if error.kind == "filtered":
                raise Declined("content filter", error.words) from None
            if error.kind == "malformed" and self.successes > before:
                raise Declined("no sensible answer", error.words) from None
            raise explain(error, self.endpoint.where, self.endpoint.key_variable) from None
        raise AssertionError("unreachable")

    async def _once(
        self, key: str, body: Mapping[str, Any], guess: int, prompt_bytes: int, max_tokens: int, rank: int
    ) -> Answer:
        reserved = await self._reserve(prompt_bytes + self._hidden, max_tokens)
        try:
            await self.limiter.acquire(guess + max_tokens // 2, rank=rank)
        except BaseException:
            self._settle(reserved, 0, 0)
            raise
        # What was sent is paid for, if it costs anything: it goes on to the journal even where nobody waits for it any more.
        flight = asyncio.ensure_future(self._flight(key, body, guess, prompt_bytes, max_tokens, reserved))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)
        landed = await (flight if self.endpoint.free else asyncio.shield(flight))
        if isinstance(landed, ProviderError):
            raise landed
        return landed

    async def _flight(
        self,
        key: str,
        body: Mapping[str, Any],
        guess: int,
        prompt_bytes: int,
        max_tokens: int,
        reserved: float,
    ) -> Answer | ProviderError:
        """One request, from admission to the journal. An error is returned, since nobody may be there to catch it."""
        spent_in = spent_out = 0
        try:
            self.meter.requests += 1
            try:
                completion, headers = await self.wire.chat(body)
            except ProviderError as error:
                self.limiter.failed(error)
                self.status_429 += error.status == 429
                if error.kind == "timeout":
                    # It may have been answered, and billed, without our seeing it.
                    spent_in = guess
                if error.kind == "unsupported" and self._step_down(body):
                    return ProviderError("server", error.words, status=error.status, retry_after=0.0)
                return error
            except BaseException:
                self.limiter.release()
                raise
            spent_in = completion.tokens_in or guess
            self._hidden = max(self._hidden, spent_in - prompt_bytes)
            spent_out = completion.tokens_out or estimate_tokens(completion.text)
            self.limiter.succeeded(headers, spent_in + spent_out - guess - max_tokens // 2)
            self.successes += 1
        finally:
            cost = self._settle(reserved, spent_in, spent_out)
        await self.journal.append(key, self.record(completion, self.endpoint.model, spent_in, spent_out, cost))
        self.meter.answered += 1
        return Answer(completion.text, completion.finish, completion.model, False)

    def _settle(self, reserved: float, spent_in: int, spent_out: int) -> float:
        """Put in place of money set aside what was spent; USD."""
        cost = self.meter.settle(self.endpoint, reserved, spent_in, spent_out)
        self._changed.set()
        return cost

    @staticmethod
    def record(completion: Completion, model: str, tokens_in: int, tokens_out: int, cost: float) -> dict[str, Any]:
        """An answer as the journal keeps it."""
        return {
            "text": completion.text,
            "finish": completion.finish,
            "model": completion.model or model,
            "in": tokens_in,
            "out": tokens_out,
            "cost": round(cost, 8),
        }

    async def _reserve(self, prompt_bytes: int, max_tokens: int) -> float:
        """Set money aside; waits for answers in flight where they may leave room under the cap.

        A prompt has no more tokens than bytes, whatever the tokenizer, but for what the endpoint's template adds.
        """
        while True:
            try:
                return self.meter.reserve(self.endpoint, prompt_bytes, max_tokens)
            except Stopped:
                if self.meter.reserved <= 0:
                    raise
                self._changed.clear()
                await self._changed.wait()

    def _body(
        self, messages: Messages, max_tokens: int, temperature: float, seed: int, schema: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [dict(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            **dict(self.endpoint.extra),
        }
        if seed:
            body["seed"] = seed
        if schema is not None and self._downgrade == "json_schema":
            named = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif schema is not None and self._downgrade == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def _step_down(self, body: Mapping[str, Any]) -> bool:
        """After a 400 about the answer's format: ask for the next looser one. Whether there is one to try."""
        kind = (body.get("response_format") or {}).get("type")
        if kind is None:
            return False
        looser = "json_object" if kind == "json_schema" else "text"
        order = ("json_schema", "json_object", "text")
        if order.index(looser) > order.index(self._downgrade):
            self._downgrade = looser  # type: ignore[assignment]
        return True

    @property
    def structured(self) -> str:
        """The answer format in use, after what the endpoint refused."""
        return self._downgrade

    def _retrying(self, started: float, before: int) -> AsyncRetrying:
        def again(error: BaseException) -> bool:
            if not isinstance(error, ProviderError) or not error.retryable:
                return False
            self.meter.retries += 1
            return True

        def stop(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            waited = time.monotonic() - started
            if isinstance(error, ProviderError):
                if error.kind == "malformed" and state.attempt_number >= _MALFORMED:
                    return True
                if not self.successes and error.kind in ("connection", "malformed", "server"):
                    return waited > FIRST_CONTACT
            return waited > self.endpoint.patience

        return AsyncRetrying(retry=retry_if_exception(again), stop=stop, wait=PoliteWait(), reraise=True)


class PoliteWait(wait_base):
    """What the provider asks for, with jitter, else exponential with full jitter (Brooker, AWS 2015)."""

    _plain = wait_random_exponential(multiplier=0.5, max=20)

    def __call__(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ProviderError) and error.retry_after is not None:
            return min(error.retry_after, 120.0) * 1.02 + self._plain(state) * 0.1 * bool(error.retry_after)
        return self._plain(state)


def request_key(
    model: str,
    messages: Messages,
    max_tokens: int,
    temperature: float,
    seed: int,
    salt: str,
    schema: Mapping[str, Any] | None,
) -> str:
    """The name of a request in the journal: a hash of everything that shapes its answer, without address and key."""
    value = [model, [[m["role"], m["content"]] for m in messages], max_tokens, temperature, seed, salt, schema]
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
