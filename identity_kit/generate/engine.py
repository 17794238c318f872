"""Make the planned rows: many at a time, in plan order, topped up until enough are accepted, nothing lost on the way.

Answers are paid for once: they stand in journal.jsonl before they are counted, and every run, also one that follows a
kill, derives conversations.jsonl and rejected.jsonl from the plan and the journal anew. Drafts pass the duplicate gate
in plan order whatever order the answers come in, so the same inputs give the same files. Memory does not grow with the
number of rows: a bounded window of rows is in work, all else is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from identity_kit.conversation import Kind
from identity_kit.errors import BadInput, Stopped
from identity_kit.files import atomic_open, folder_lock, read_json, sha256_file, sha256_text, write_json
from identity_kit.generate.banks import bank_files
from identity_kit.generate.plan import PlannedRow, planned, targets
from identity_kit.generate.prompts import NAMES, Prompts
from identity_kit.generate.settings import GenerateSettings
from identity_kit.generate.similar import Seen
from identity_kit.generate.write import Draft, Workshop
from identity_kit.llm.batch import BatchRequest
from identity_kit.llm.client import Client
from identity_kit.llm.cost import Meter
from identity_kit.llm.endpoint import Endpoint, shown_address
from identity_kit.llm.journal import Journal
from identity_kit.llm.limits import Limiter
from identity_kit.persona import Persona
from identity_kit.ui import say, tr

# Rows planned and judged at a stretch before the answers that have come in meanwhile get their turn.
_TURN = 8


@dataclass(frozen=True)
class GenerateResult:
    """What a run gave.

    accepted, rejected: rows. asked: rows that were wanted. counts: accepted rows by kind, facet, language and system.
    reasons: refused rows by reason. tokens: in and out. cost: USD. path: conversations.jsonl.
    """

    accepted: int
    rejected: int
    asked: int
    counts: dict[str, dict[str, int]]
    reasons: dict[str, int]
    tokens: tuple[int, int]
    cost: float
    path: Path

    @property
    def shortage(self) -> str:
        """One line for the reader where there are fewer rows than asked for; empty otherwise."""
        if self.accepted >= self.asked:
            return ""
        return tr(
            f"只有 {self.accepted}/{self.asked} 行：题库用完了，或被拒绝的太多（原因见 rejected.jsonl）；用 --base-url 接一个大模型可以写出更多",
            f"only {self.accepted} of {self.asked} rows: the questions are used up, or too many rows were refused "
            "(rejected.jsonl says why); an LLM behind --base-url writes more",
        )


@dataclass
class Progress:
    """The run so far, for whoever shows it: rows, requests, money, and the endpoint's state."""

    asked: int = 0
    accepted: int = 0
    rejected: int = 0
    meter: Meter = field(default_factory=Meter)
    clients: tuple[Client, ...] = ()
    started: float = field(default_factory=time.monotonic)


Report = Callable[[Progress], None]


def generate(
    persona: Persona,
    out: Path,
    settings: GenerateSettings,
    *,
    writer: Endpoint | None = None,
    rehearser: Endpoint | None = None,
    judge: Endpoint | None = None,
    prompts: Path | None = None,
    known: Path | None = None,
    max_cost: float | None = None,
    fresh: bool = False,
    progress: Report | None = None,
) -> GenerateResult:
    """Write a data set for a persona into a folder; what is there of an earlier run is used, not paid for again.

    Args:
        persona: the new identity.
        out: the folder; gets conversations.jsonl, rejected.jsonl, manifest.json and journal.jsonl.
        settings: how many rows of which kind, and how strict.
        writer: the LLM that invents questions and varies answers; None composes all identity rows, with no key.
        rehearser: the model to be tuned, which answers contrast and rehearsal questions; None leaves those kinds out.
        judge: an LLM that scores style from 1 to 5; rows below 3 are refused.
        prompts: a folder of templates that replace the shipped ones.
        known: answers that need not be asked for (`llm.journal.share_answers`).
        max_cost: USD; a hard cap on what is spent and in flight.
        fresh: forget earlier answers.
        progress: called about four times a second.

    Raises:
        BadInput: another process works in the folder, its rows were edited, there is no row to write, a prompt or endpoint
            is wrong, the provider refuses for good.
        Stopped: the cap, the quota or an unreachable endpoint ended the run; what was accepted is written.
    """
    with folder_lock(out):
        if fresh:
            clear(out)
        return run_once(
            persona,
            out,
            settings,
            writer,
            rehearser,
            judge,
            prompts=prompts,
            known=known,
            meter=Meter(cap=max_cost),
            progress=progress,
        )


def clear(out: Path) -> None:
    """Forget the answers of earlier runs."""
    for name in ("journal.jsonl", "manifest.json", "batches.json"):
        (out / name).unlink(missing_ok=True)


def run_once(
    persona: Persona,
    out: Path,
    settings: GenerateSettings,
    writer: Endpoint | None,
    rehearser: Endpoint | None,
    judge: Endpoint | None,
    *,
    prompts: Path | None,
    known: Path | None,
    meter: Meter,
    progress: Report | None = None,
    waiting: dict[str, BatchRequest] | None = None,
) -> GenerateResult:
    """One pass over the plan. With `waiting`, what the writer has not answered yet is put there instead of asked."""
    templates = Prompts(prompts)
    inputs = fingerprint(persona, settings, templates, writer, rehearser, judge)
    done = _finished(out, inputs)
    if done is not None:
        return done
    _check_unedited(out)
    run = _Run(persona, out, settings, templates, known, meter, progress, inputs, waiting)
    return asyncio.run(run.go(writer, rehearser, judge))


def fingerprint(
    persona: Persona,
    settings: GenerateSettings,
    prompts: Prompts,
    writer: Endpoint | None,
    rehearser: Endpoint | None,
    judge: Endpoint | None,
) -> str:
    """A hash of everything that shapes the rows: persona, settings, banks, prompts, models; not addresses or keys."""
    parts = [persona.model_dump_json(), settings.model_dump_json()]
    parts += [sha256_file(path) for path in bank_files()]
    parts += [prompts.hash(name, language) for name in NAMES for language in ("zh", "en")]  # type: ignore[arg-type]
    parts += [endpoint.model if endpoint else "" for endpoint in (writer, rehearser, judge)]
    return sha256_text("\n".join(parts))


def _finished(out: Path, inputs: str) -> GenerateResult | None:
    """The result of an earlier run that was complete, had the same inputs, and whose rows are still as it left them."""
    path = out / "conversations.jsonl"
    if not (out / "manifest.json").exists() or not path.exists():
        return None
    try:
        manifest = read_json(out / "manifest.json")
        if manifest["complete"] and manifest["inputs"] == inputs and manifest["sha256"] == sha256_file(path):
            return GenerateResult(
                accepted=manifest["accepted"],
                rejected=manifest["rejected"],
                asked=manifest["asked"],
                counts=manifest["counts"],
                reasons=manifest["reasons"],
                tokens=(manifest["tokens"]["in"], manifest["tokens"]["out"]),
                cost=manifest["cost_usd"],
                path=path,
            )
    except (BadInput, KeyError, TypeError):
        pass
    return None


def _check_unedited(out: Path) -> None:
    """Rows that somebody changed after they were written are not written over.

    Raises:
        BadInput: conversations.jsonl is not what the manifest of a run that was complete says it was.
    """
    path = out / "conversations.jsonl"
    if not (out / "manifest.json").exists() or not path.exists():
        return
    try:
        manifest = read_json(out / "manifest.json")
        edited = manifest["complete"] and manifest["sha256"] != sha256_file(path)
    except (BadInput, KeyError, TypeError):
        return
    if edited:
        raise BadInput(
            tr("写好之后被改过，重写会丢掉改动", "edited since it was written; writing it anew would lose that"),
            where=str(path),
            fix=tr("换一个 -o，或先把它移走", "choose another -o, or move it away first"),
        )


@dataclass
class _Run:
    persona: Persona
    out: Path
    settings: GenerateSettings
    prompts: Prompts
    known: Path | None
    meter: Meter
    report: Report | None
    inputs: str
    waiting: dict[str, BatchRequest] | None = None
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {k: Counter() for k in ("kind", "facet", "language", "system")}
    )
    reasons: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    rejected: int = 0
    started: float = field(default_factory=time.monotonic)

    async def go(self, writer: Endpoint | None, rehearser: Endpoint | None, judge: Endpoint | None) -> GenerateResult:
        """The whole run; what was accepted is written however it ends."""
        wanted = targets(self.persona, self.settings)
        if rehearser is None:
            wanted = {kind: count for kind, count in wanted.items() if kind in ("identity", "domain")}
        if not sum(wanted.values()):
            raise BadInput(
                tr("一行也不用写", "there is not one row to write"),
                fix=tr("加大 -n，或用 --rehearse-with", "give a larger -n, or --rehearse-with"),
            )
        complete = False
        async with contextlib.AsyncExitStack() as stack:
            spool = stack.enter_context(_spools(self.out, list(wanted)))
            journal = await stack.enter_async_context(Journal(self.out / "journal.jsonl", self.known))
            if journal.mended:
                say(tr("日志最后一行不完整，已修好", "the journal's last line was torn and has been mended"))
            clients: dict[int, Client] = {}
            limiters: dict[str, Limiter] = {}  # two models at one address share its limits, the writer's before others
            for endpoint in (writer, rehearser, judge):
                if endpoint is not None and id(endpoint) not in clients:
                    limiter = limiters.setdefault(endpoint.base_url, Limiter(endpoint))
                    client = self._client(endpoint, journal, limiter, by_batch=endpoint is writer)
                    clients[id(endpoint)] = await stack.enter_async_context(client)
            shop = Workshop(
                self.persona,
                self.settings,
                self.prompts,
                writer=clients.get(id(writer)) if writer else None,
                rehearser=clients.get(id(rehearser)) if rehearser else None,
                judge=clients.get(id(judge)) if judge else None,
            )
            self._shown = Progress(sum(wanted.values()), meter=self.meter, clients=tuple(clients.values()))
            seen = stack.enter_context(Seen(self.settings.near_duplicate))
            try:
                await self._all(wanted, shop, seen, spool)
                complete = not self.waiting
            finally:
                spool.flush()
                result = self._write(wanted, spool, shop, complete)
        return result

    def _client(self, endpoint: Endpoint, journal: Journal, limiter: Limiter, *, by_batch: bool) -> Client:
        if self.waiting is None or not by_batch:
            return Client(endpoint, journal, self.meter, limiter)
        from identity_kit.generate.batched import Collector

        return Collector(endpoint, journal, self.meter, self.waiting)

    async def _all(self, wanted: dict[Kind, int], shop: Workshop, seen: Seen, spool: _Spools) -> None:
        ticker = asyncio.ensure_future(self._tick())
        width = max((client.limiter.cap for client in self._shown.clients), default=1) * 8
        streams = [
            asyncio.ensure_future(self._stream(kind, count, shop, seen, spool, min(1024, max(64, width))))
            for kind, count in wanted.items()
            if count
        ]
        try:
            await asyncio.gather(*streams)
        finally:
            for task in (*streams, ticker):
                task.cancel()
            await asyncio.gather(*streams, ticker, return_exceptions=True)
            self._show()

    async def _stream(self, kind: Kind, count: int, shop: Workshop, seen: Seen, spool: _Spools, width: int) -> None:
        """One kind of rows: a window of them in work, judged in plan order, more planned as long as too few passed."""
        rows = planned(kind, self.persona, self.settings, writer=shop.writer is not None)
        most = int(count * self.settings.tries) + 20
        work: deque[tuple[PlannedRow, Draft | asyncio.Task[Draft]]] = deque()
        clients = self._shown.clients
        slots = (
            max((client.limiter.cap for client in clients), default=0) if all(c.endpoint.free for c in clients) else 0
        )
        accepted = tried = 0
        try:
            while accepted < count:
                short = count - accepted
                if slots:  # all is free: stand-ins for twice as many as will be refused, by the share so far
                    refused = tried - len(work) - accepted
                    short += math.ceil(2 * short * refused / (accepted + slots))
                while len(work) < min(width, short) and tried < most:
                    if tried % _TURN == 0:
                        await asyncio.sleep(0)
                    row = next(rows, None)
                    if row is None:
                        most = tried
                        break
                    tried += 1
                    work.append((row, shop.composed(row) or asyncio.ensure_future(shop.make(row))))
                if not work:
                    break
                row, item = work[0]
                draft = item if isinstance(item, Draft) else await item
                work.popleft()
                accepted += self._settle(kind, row, draft, seen, spool)
        finally:
            tasks = [item for _, item in work if isinstance(item, asyncio.Task)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _settle(self, kind: Kind, row: PlannedRow, draft: Draft, seen: Seen, spool: _Spools) -> bool:
        """Pass a draft through the duplicate gate and write it where it belongs; whether it was accepted."""
        if draft.pending:
            # Likely to be accepted once it is there; the next pass judges it.
            return True
        if not draft.reason:
            earlier = seen.add(f"{kind}/{row.language}", row.id, draft.question, draft.answer)
            if earlier is not None:
                draft.refuse("near duplicate", earlier)
        line = draft.conversation().to_line() + "\n"
        if draft.reason:
            self.rejected += 1
            self.reasons[draft.reason] += 1
            spool.rejected[kind].write(line)
            return False
        spool.kinds[kind].write(line)
        self.accepted += 1
        for axis, value in (("kind", kind), ("facet", row.facet), ("language", row.language), ("system", row.system)):
            self.counts[axis][value] += 1
        return True

    async def _tick(self) -> None:
        while True:
            self._show()
            await asyncio.sleep(0.25)

    def _show(self) -> None:
        if self.report is not None:
            self._shown.accepted, self._shown.rejected = self.accepted, self.rejected
            self.report(self._shown)

    def _write(self, wanted: dict[Kind, int], spool: _Spools, shop: Workshop, complete: bool) -> GenerateResult:
        """Conversations, refusals, manifest: each whole or not there."""
        path = self.out / "conversations.jsonl"
        # Killed between the two, rows that the manifest does not know would look edited.
        (self.out / "manifest.json").unlink(missing_ok=True)
        with atomic_open(path, "wb") as stream:
            for line in spool.mixed({kind: self.counts["kind"][kind] for kind in wanted}):
                stream.write(line)
        with atomic_open(self.out / "rejected.jsonl", "wb") as stream:
            for refused in spool.rejected.values():
                refused.seek(0)
                for line in refused.buffer:
                    stream.write(line)
        asked = sum(wanted.values())
        result = GenerateResult(
            accepted=self.accepted,
            rejected=self.rejected,
            asked=asked,
            counts={axis: dict(sorted(values.items())) for axis, values in self.counts.items()},
            reasons=dict(self.reasons.most_common()),
            tokens=(self.meter.tokens_in, self.meter.tokens_out),
            cost=round(self.meter.cost, 6),
            path=path,
        )
        write_json(self.out / "manifest.json", self._manifest(result, wanted, shop, complete))
        return result

    def _manifest(
        self, result: GenerateResult, wanted: dict[Kind, int], shop: Workshop, complete: bool
    ) -> dict[str, Any]:
        endpoints = {"writer": shop.writer, "rehearser": shop.rehearser, "judge": shop.judge}
        meter = self.meter
        return {
            "complete": complete,
            "asked": result.asked,
            "asked_by_kind": dict(wanted),
            "accepted": result.accepted,
            "rejected": result.rejected,
            "counts": result.counts,
            "reasons": result.reasons,
            "repairs": dict(shop.repairs.most_common()),
            "tokens": {"in": meter.tokens_in, "out": meter.tokens_out},
            "cost_usd": result.cost,
            "cost_known": not meter.unpriced,
            "requests": {
                "sent": meter.requests,
                "answered": meter.answered,
                "from_journal": meter.replayed,
                "retried": meter.retries,
            },
            "seconds": round(time.monotonic() - self.started, 1),
            "seed": self.settings.seed,
            "settings": self.settings.model_dump(mode="json"),
            "endpoints": {
                role: {
                    "base_url": shown_address(client.endpoint.base_url),
                    "model": client.endpoint.model,
                    "structured": client.structured,
                }
                for role, client in endpoints.items()
                if client is not None
            },
            "prompts": {
                f"{name}.{language}": self.prompts.hash(name, language)  # type: ignore[arg-type]
                for name in NAMES
                for language in ("zh", "en")
            },
            "inputs": self.inputs,
            "sha256": sha256_file(result.path),
        }


class _Spools:
    """Temporary files of one run: accepted and refused lines by kind. They are the run's only row store."""

    def __init__(self, kinds: dict[Kind, Any], rejected: dict[Kind, Any]) -> None:
        self.kinds, self.rejected = kinds, rejected

    def flush(self) -> None:
        """Hand everything to the files."""
        for stream in (*self.kinds.values(), *self.rejected.values()):
            stream.flush()

    def mixed(self, counts: dict[Kind, int]) -> Iterator[bytes]:
        """The accepted lines, kinds evenly mixed in their proportion, each kind in plan order."""
        streams: dict[Kind, Any] = {}
        for kind, count in counts.items():
            if count:
                self.kinds[kind].seek(0)
                streams[kind] = self.kinds[kind].buffer
        given = dict.fromkeys(streams, 0)
        for _ in range(sum(counts.values())):
            kind = min(streams, key=lambda k: (given[k] + 0.5) / counts[k] if given[k] < counts[k] else 2.0)
            given[kind] += 1
            yield streams[kind].readline()


@contextlib.contextmanager
def _spools(out: Path, kinds: list[Kind]) -> Iterator[_Spools]:
    import tempfile

    with contextlib.ExitStack() as stack:

        def spool() -> Any:
            try:
                return stack.enter_context(
                    tempfile.TemporaryFile("w+", dir=out, prefix=".spool", encoding="utf-8", newline="\n")
                )
            except OSError as error:
                raise Stopped(
                    tr(f"写不了文件：{error.strerror}", f"cannot write: {error.strerror}"), where=str(out)
                ) from None

        yield _Spools({kind: spool() for kind in kinds}, {kind: spool() for kind in kinds})
