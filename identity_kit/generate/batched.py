"""A run whose writer answers in batches: pass after pass, each collecting what is missing and sending it off together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput, Stopped
from identity_kit.files import folder_lock
from identity_kit.generate.engine import GenerateResult, clear, run_once
from identity_kit.generate.settings import GenerateSettings
from identity_kit.llm.batch import Batches, BatchRequest
from identity_kit.llm.client import Client, Pending
from identity_kit.llm.cost import Meter
from identity_kit.llm.endpoint import Endpoint
from identity_kit.llm.errors import ProviderError, explain
from identity_kit.llm.journal import Journal
from identity_kit.persona import Persona
from identity_kit.ui import say, tr

# Passes after the first only make up for rows that gates refused; a stream that never converges is stopped here.
_PASSES = 8


def generate_in_batches(
    persona: Persona,
    out: Path,
    settings: GenerateSettings,
    *,
    writer: Endpoint,
    rehearser: Endpoint | None = None,
    judge: Endpoint | None = None,
    prompts: Path | None = None,
    known: Path | None = None,
    max_cost: float | None = None,
    fresh: bool = False,
    poll: float = 20.0,
) -> GenerateResult:
    """As `generate`, the writer's requests through its batch API. Killed, the same command goes on waiting.

    Args:
        poll: seconds between looks at a batch. The others are those of `generate`.

    Raises:
        BadInput, Stopped: as `generate`; a batch that failed as a whole says why.
    """
    if not writer.batch and writer.provider != "custom":
        raise BadInput(
            tr(f"{writer.provider} 没有批处理接口", f"{writer.provider} has no batch API"),
            where="--batch",
            fix=tr("去掉 --batch", "leave out --batch"),
        )
    with folder_lock(out):
        state = out / "batches.json"
        if fresh:
            clear(out)
        meter = Meter(cap=max_cost)
        beyond: Stopped | None = None
        for _ in range(_PASSES):
            batches = Batches(writer, state, poll=poll)
            if batches.open:
                asyncio.run(_collect(batches, out, writer, meter))
            waiting: dict[str, BatchRequest] = {}
            result = run_once(
                persona,
                out,
                settings,
                writer,
                rehearser,
                judge,
                prompts=prompts,
                known=known,
                meter=meter,
                waiting=waiting,
            )
            if not waiting:
                return result
            if beyond is not None:
                raise beyond
            requests, beyond = _affordable(list(waiting.values()), writer, meter)
            say(tr(f"提交 {len(requests)} 个请求", f"{len(requests)} requests sent off"))
            batches.submit(requests)
        raise Stopped(
            tr(f"{_PASSES} 轮批处理后仍不够", f"still short after {_PASSES} rounds of batches"),
            where=str(out),
            fix=tr("看 rejected.jsonl，再运行同一条命令", "see rejected.jsonl, then run the same command"),
        )


async def _collect(batches: Batches, out: Path, writer: Endpoint, meter: Meter) -> None:
    """Every answer of the open batches into the journal."""
    last = [""]

    def report(line: str) -> None:
        if line != last[0]:
            say(line, style="dim")
            last[0] = line

    failed: list[ProviderError] = []
    async with Journal(out / "journal.jsonl") as journal:
        for key, outcome in batches.collect(report):
            if journal.get(key) is not None:
                continue
            if isinstance(outcome, ProviderError):
                failed.append(outcome)
                # What the content filter refused is refused for good; anything else is asked again.
                if outcome.kind == "filtered":
                    await journal.append(key, {"text": "", "finish": "content_filter", "in": 0, "out": 0, "cost": 0.0})
                continue
            cost = meter.settle(writer, 0.0, outcome.tokens_in, outcome.tokens_out)
            await journal.append(key, Client.record(outcome, writer.model, outcome.tokens_in, outcome.tokens_out, cost))
            meter.answered += 1
    final = next((error for error in failed if not error.retryable and error.kind != "filtered"), None)
    if final is not None:
        raise explain(final, writer.where, writer.key_variable)


def _affordable(
    requests: list[BatchRequest], writer: Endpoint, meter: Meter
) -> tuple[list[BatchRequest], Stopped | None]:
    """As many of the requests as the cap surely pays for, and what is to be said where that is not all.

    Raises:
        Stopped: not even one.
    """
    meter.check(writer)
    taken: list[BatchRequest] = []
    reserved: list[float] = []
    beyond = None
    for request in requests:
        size = sum(len(message["content"].encode()) + 12 for message in request.body["messages"]) + 64
        try:
            reserved.append(meter.reserve(writer, size, request.body["max_tokens"]))
        except Stopped as stopped:
            if not taken:
                raise
            beyond = stopped
            break
        taken.append(request)
    for sum_ in reserved:
        meter.settle(writer, sum_, 0, 0)
    return taken, beyond


class Collector(Client):
    """A client that answers from the journal alone and notes what is missing instead of asking."""

    def __init__(self, endpoint: Endpoint, journal: Journal, meter: Meter, waiting: dict[str, BatchRequest]) -> None:
        super().__init__(endpoint, journal, meter)
        self.waiting = waiting

    async def _once(self, key: str, body: Any, *_: Any) -> Any:
        self.waiting[key] = BatchRequest(key, dict(body))
        raise Pending
