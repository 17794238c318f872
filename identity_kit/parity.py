"""Whether an exported model is still who it was: the identity suites on every export, each in its own engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_kit.errors import BadInput
from identity_kit.evaluate.probes import IDENTITY_SUITES
from identity_kit.files import sha256_file
from identity_kit.models.fingerprint import folder_fingerprint
from identity_kit.persona import Persona
from identity_kit.ui import console, say, tr

if TYPE_CHECKING:
    from identity_kit.evaluate import Card, Condition, Probe
    from identity_kit.evaluate.ask import Answerer
    from identity_kit.export.source import Source
    from identity_kit.models.server import LocalServer

REFERENCE = "hf"
WITH_SYSTEM = " + system"
SLOTS, CONTEXT = 8, 1024


@dataclass(frozen=True)
class Loss:
    """A suite in which an export's share fell below the merged model's 95 % interval: which export, and in words."""

    model: str
    words: str


@dataclass(frozen=True)
class Parity:
    """The figures of every export beside the merged model's, and what was lost.

    Attributes:
        card: the report card; its baseline is the merged model without a system message.
        losses: one for each condition and suite.
    """

    card: Card
    losses: tuple[Loss, ...]


def measure_parity(
    run: Path,
    export: Path,
    persona: Persona,
    *,
    suites: Sequence[str] = IDENTITY_SUITES,
    limit: int | None = None,
    base: Path | None = None,
) -> Parity:
    """Ask the merged model, base + adapter, and what lies in `export`, the same probes with a system message and without.

    The report is kept in `export`/parity; the answers beside those of the run's own report, so that an export asks
    nothing that was asked before, by the run's evaluation or by another export.

    Args:
        run: the run folder, or the merged model's folder.
        export: a folder that `export_run` made.
        limit: at most so many probes a suite, evenly spaced; None for all.
        base: the unquantised base, when the run does not know where it is any more.

    Raises:
        BadInput: there is no merged model to compare with, or `export` holds no model.
        Stopped: an engine stopped answering; the same call goes on from there.
    """
    from identity_kit.evaluate import evaluate, load_probes
    from identity_kit.export.source import find_source

    source = find_source(run, persona)
    probes = _some(load_probes(split="test", suites=tuple(suites)), limit)
    with _Engines() as engines:
        conditions = [
            condition
            for label, answer, fingerprint in _models(source, export, engines, base)
            for condition in _with_and_without_system(label, answer, fingerprint)
        ]
        card = evaluate(
            conditions,
            persona,
            probes=probes,
            out=export / "parity",
            cache=run / "report" / "answers.jsonl" if source.adapter else None,
            baseline=REFERENCE,
            subject=conditions[-2].label,
        )
    return Parity(card, tuple(find_losses(card)))


def _some(probes: Sequence[Probe], limit: int | None) -> list[Probe]:
    """At most `limit` probes of each suite, evenly spaced over its families and languages."""
    kept: list[Probe] = []
    for suite in dict.fromkeys(probe.suite for probe in probes):
        own = [probe for probe in probes if probe.suite == suite]
        count = min(limit or len(own), len(own))
        kept += [own[i * len(own) // count] for i in range(count)]
    return kept


def _models(source: Source, export: Path, engines: _Engines, base: Path | None) -> Iterator[tuple[str, Answerer, str]]:
    """(label, answerer, fingerprint) of the merged model, base + adapter, and every model in `export`."""
    from identity_kit.evaluate.answerers import folder_answerer
    from identity_kit.export.source import base_folder, ensure_merged

    merged = ensure_merged(source, base)
    yield REFERENCE, folder_answerer(merged), folder_fingerprint(merged)
    if source.adapter is not None:
        under = base or base_folder(source)
        answer = engines.adapter(under, source.adapter, merged)
        yield "adapter", answer, folder_fingerprint(under, adapter=source.adapter) + folder_fingerprint(merged)
    ggufs = sorted(export.glob("*.gguf"), key=lambda path: -path.stat().st_size)
    for path in ggufs:
        yield path.stem.rpartition("-")[2], engines.gguf(path), sha256_file(path)
    if not ggufs and (export / "config.json").is_file():
        if folder_fingerprint(export) != folder_fingerprint(merged):
            yield "exported hf", folder_answerer(export), folder_fingerprint(export)
    elif not ggufs and not (export / "adapter_config.json").is_file():
        raise BadInput(tr("这里没有可测的模型", "there is no model to measure here"), where=str(export))


def _with_and_without_system(label: str, answer: Answerer, fingerprint: str) -> list[Condition]:
    from identity_kit.evaluate import Condition
    from identity_kit.evaluate.conditions import NEUTRAL_SYSTEM

    return [
        Condition(label=label, answer=answer, fingerprint=fingerprint),
        Condition(label=label + WITH_SYSTEM, answer=answer, fingerprint=fingerprint, system=NEUTRAL_SYSTEM),
    ]


@dataclass
class _Engines:
    """The engine that is loaded now; opening another closes it, since two models may not fit into memory."""

    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    loaded: dict[Path, Any] = field(default_factory=dict)

    def __enter__(self) -> _Engines:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        from identity_kit.evaluate.answerers import release

        self.loaded.clear()
        self.stack.close()
        release()

    def gguf(self, path: Path) -> Answerer:
        """An answerer over llama.cpp, whose server starts with the first question that is not in the journal."""
        from identity_kit.evaluate.endpoint import endpoint_answerer
        from identity_kit.models.server import local_server

        def answer(conversations: Sequence[Any], **settings: Any) -> list[Any]:
            if path not in self.loaded:
                self._close()
                self.loaded[path] = self.stack.enter_context(local_server(path, slots=SLOTS, context=CONTEXT))
            server: LocalServer = self.loaded[path]
            return endpoint_answerer(server.base_url, path.stem, concurrency=SLOTS)(conversations, **settings)

        return answer

    def adapter(self, base: Path, adapter: Path, merged: Path) -> Answerer:
        """An answerer over base + adapter with the exported template, since the base's own carries the old identity."""
        from identity_kit.evaluate.answerers import loaded_answerer
        from identity_kit.models.decode import load_model

        def answer(conversations: Sequence[Any], **settings: Any) -> list[Any]:
            if adapter not in self.loaded:
                from transformers import AutoTokenizer

                self._close()
                model, _ = load_model(base, adapter=adapter)
                self.loaded[adapter] = loaded_answerer(model, AutoTokenizer.from_pretrained(merged))
            return self.loaded[adapter](conversations, **settings)

        return answer


def find_losses(card: Card) -> Iterator[Loss]:
    """A loss for each condition and suite whose share is below the merged model's interval in the same setting."""
    for label in card.labels:
        model = label.removesuffix(WITH_SYSTEM)
        reference = REFERENCE if label == model else REFERENCE + WITH_SYSTEM
        for suite in card.suites:
            own, whole = card.cell(label, suite), card.cell(reference, suite)
            if own is None or whole is None or label == reference or not own.total:
                continue
            if own.passed / own.total < whole.low:
                words = tr(
                    f"{label} 在 {suite} 上只有 {own.passed:g}/{own.total}，低于合并模型的区间 "
                    f"（{whole.passed:g}/{whole.total}，下限 {100 * whole.low:.0f}%）",
                    f"{label} keeps only {own.passed:g}/{own.total} of {suite}, below the merged model's interval "
                    f"({whole.passed:g}/{whole.total}, from {100 * whole.low:.0f} %)",
                )
                yield Loss(model, words)


def show_parity(parity: Parity) -> None:
    """The table, and what was lost with what to do about it, on stderr."""
    from identity_kit.evaluate.report import table

    console().print(table(parity.card))
    for loss in parity.losses:
        say(loss.words, style="red")
    if parity.losses:
        lost = list(dict.fromkeys(loss.model for loss in parity.losses))
        models = dict.fromkeys(label.removesuffix(WITH_SYSTEM) for label in parity.card.labels)
        kept = [model for model in models if model not in lost and model != REFERENCE]
        say(
            tr(
                f"{'、'.join(lost)} 丢了身份" + (f"，{'、'.join(kept)} 还在" if kept else ""),
                f"{', '.join(lost)} lost the identity" + (f", {', '.join(kept)} kept it" if kept else ""),
            )
            + tr(
                "：换更高的量化（Q8_0、F16），或多训练几步再导出",
                ": take a higher quantisation (Q8_0, F16), or train more steps and export again",
            ),
            style="red",
        )
        return
    whole = parity.card.cell(REFERENCE, "recall")
    if whole is not None and whole.passed < whole.total / 2:
        say(
            tr(
                f"合并好的模型自己也只有 {whole.passed:g}/{whole.total} 次说出身份：先多训练，再谈导出有没有丢",
                f"the merged model itself gives its identity only {whole.passed:g} times of {whole.total}: train it more "
                "before asking what an export loses",
            ),
            style="yellow",
        )
        return
    say(tr("导出后身份没有变", "the identity survived the export"), style="green")
