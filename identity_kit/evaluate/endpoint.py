"""Any OpenAI-compatible endpoint as an answerer: what it refuses for good stops the card, what it filters does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from identity_kit.errors import BadInput, Stopped
from identity_kit.evaluate.ask import FILTERED, Answerer, Done, Turns
from identity_kit.evaluate.judge import Answer
from identity_kit.ui import tr

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from identity_kit.llm.endpoint import Endpoint
    from identity_kit.llm.errors import ProviderError
    from identity_kit.llm.wire import Completion, Wire

_TRIES = 5
_MALFORMED = 2  # tries at one request whose answers are no chat answers: an address that is wrong stays so


def endpoint_answerer(
    base_url: str,
    model: str,
    *,
    api_key: str = "",
    key_variable: str = "",
    concurrency: int = 8,
    timeout: float = 600.0,
) -> Answerer:
    """An answerer over an OpenAI-compatible endpoint.

    A request that the provider's content filter refuses is an empty answer with the finish reason `FILTERED`.

    Args:
        base_url: the address; a user and password or a query in it go with each request and are never shown.
        key_variable: where the key was read, for messages.

    The answerer raises Stopped when the endpoint stays out of reach, refuses or gives no chat answers, and BadInput when
    it refuses the key; answers already given are kept.
    """
    from identity_kit.llm.endpoint import Endpoint, Secret, has_user

    endpoint = Endpoint(
        base_url=base_url,
        model=model,
        # A request signs in once: with the address's own user, or with the key.
        key=Secret("" if has_user(base_url) else api_key),
        key_variable=key_variable,
        concurrency=concurrency,
        timeout=timeout,
    )
    body = _Body()

    def answer(conversations: Sequence[Turns], **options: Any) -> list[Answer]:
        return asyncio.run(_answer_all(endpoint, body, conversations, **options))

    return answer


@dataclass
class _Body:
    """Which fields the endpoint takes; learnt from what it refuses, and remembered."""

    seed: bool = True
    limit: str = "max_tokens"

    def make(self, model: str, turns: Turns, limit: int, temperature: float, seed: int) -> dict[str, Any]:
        body = {"model": model, "messages": list(turns), self.limit: limit, "temperature": temperature}
        return {**body, "seed": seed} if self.seed else body

    def learn(self, error: ProviderError, refused: Mapping[str, Any]) -> bool:
        """Whether a refusal names a field of the body that can be left out or called otherwise from now on."""
        if error.status not in (400, 422):
            return False
        if "max_tokens" in refused and "max_completion_tokens" in error.words:
            self.limit = "max_completion_tokens"
        elif "seed" in refused and re.search(r"\bseed\b", error.words):
            self.seed = False
        else:
            return False
        return True


async def _answer_all(
    endpoint: Endpoint,
    body: _Body,
    conversations: Sequence[Turns],
    *,
    max_new_tokens: Sequence[int],
    temperature: float,
    seed: int,
    done: Done | None = None,
) -> list[Answer]:
    from identity_kit.llm.errors import ProviderError
    from identity_kit.llm.wire import Wire

    gate = asyncio.Semaphore(endpoint.concurrency)
    async with Wire(endpoint) as wire:

        async def one(number: int, turns: Turns) -> Answer:
            async with gate:
                answered = await _one(wire, body, turns, max_new_tokens[number], temperature, seed)
            if done:
                done(number, answered)
            return answered

        tasks = [asyncio.create_task(one(number, turns)) for number, turns in enumerate(conversations)]
        try:
            return list(await asyncio.gather(*tasks))
        except ProviderError as error:
            raise _explained(error, endpoint) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _one(wire: Wire, body: _Body, turns: Turns, limit: int, temperature: float, seed: int) -> Answer:
    from identity_kit.llm.errors import ProviderError

    while True:
        request = body.make(wire.endpoint.model, turns, limit, temperature, seed)
        try:
            given = await _patiently(wire, request)
        except ProviderError as error:
            if body.learn(error, request):
                continue
            if error.kind == "filtered":
                return Answer("", FILTERED, 0)
            raise
        if given.finish == "content_filter":
            return Answer("", FILTERED, given.tokens_out)
        return Answer(given.text.strip(), "length" if given.finish == "length" else "stop", given.tokens_out)


async def _patiently(wire: Wire, request: Mapping[str, Any]) -> Completion:
    from tenacity import AsyncRetrying, retry_if_exception

    from identity_kit.llm.client import PoliteWait
    from identity_kit.llm.errors import ProviderError

    def stop(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        malformed = isinstance(error, ProviderError) and error.kind == "malformed"
        return state.attempt_number >= (_MALFORMED if malformed else _TRIES)

    def again(error: BaseException) -> bool:
        return isinstance(error, ProviderError) and error.retryable

    async for attempt in AsyncRetrying(retry=retry_if_exception(again), stop=stop, wait=PoliteWait(), reraise=True):
        with attempt:
            given, _ = await wire.chat(request)
            return given
    raise AssertionError("unreachable")


def _explained(error: ProviderError, endpoint: Endpoint) -> BadInput | Stopped:
    from identity_kit.llm.errors import explain

    told = explain(error, endpoint.where, endpoint.key_variable)
    what = tr(f"端点没有作答：{told.what}", f"the endpoint does not answer: {told.what}")
    if error.kind == "auth":
        return BadInput(what, where=endpoint.where, fix=told.fix)
    return Stopped(
        what,
        where=endpoint.where,
        fix=tr("检查后重复同一条命令，已有的回答不会再问", "check it and repeat the command; answers so far are kept"),
    )
