"""One evaluation: every probe put to every condition, judged, counted and written down."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.evaluate.ask import DEFAULT_CAP, FILTERED, TOKEN_CAPS, Condition, Journal, ask, count_answers
from identity_kit.evaluate.card import Card, ConditionCard, Result, Retention, cells_of, compare, results_of
from identity_kit.evaluate.held_out import overlaps
from identity_kit.evaluate.judge import Answer, judge, judge_hash
from identity_kit.evaluate.labels import display
from identity_kit.evaluate.probes import SUITES, Probe, applicable, fill, probes_hash
from identity_kit.evaluate.retention import Costs, bits_per_byte, more_bits, texts_hash
from identity_kit.evaluate.second import SecondJudge, second_opinions
from identity_kit.files import folder_lock, sha256_text
from identity_kit.persona import Persona
from identity_kit.progress import progress
from identity_kit.ui import tr


def evaluate(
    conditions: Sequence[Condition],
    persona: Persona,
    *,
    probes: Sequence[Probe],
    out: Path | None = None,
    cache: Path | None = None,
    baseline: str = "",
    subject: str = "",
    max_new_tokens: int | None = None,
    seed: int = 0,
    fresh: bool = False,
    hashes: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    harness: Mapping[str, Mapping[str, float]] | None = None,
    second_judge: SecondJudge | None = None,
    trained_on: Iterable[str] = (),
) -> Card:
    """Measure every condition on the same probes and write the report.

    Args:
        conditions: in the order of the report, e.g. base, base with a system prompt, tuned.
        probes: as loaded; slots are filled from the persona, and probes that do not fit it are left out and named.
        out: the folder for report.md, report.json, before_after.png and answers.jsonl. None: nothing is written.
        cache: a JSON-lines file of answers to read and to add to, when it is not `out`/answers.jsonl.
        baseline, subject: labels of the condition compared with, and of the one judged; the first, and the last greedy one.
        max_new_tokens: the cap on every answer; None: that of its suite.
        seed: for conditions that sample.
        fresh: ask everything again, whatever the journal holds.
        hashes, settings: what else decides the figures: data, prompts, template; go into the card as they are.
        texts: held-out texts by language; every condition that can measure them does (see `retention`).
        harness: label → task → score, measured elsewhere, to be reported together.
        trained_on: the questions that the subject was trained on; probes worded like one are named in the card.
        second_judge: gives each of the subject's results a second opinion; never changes a verdict.

    Raises:
        BadInput: no condition, two with one label, a label that is none of them, or no probe that fits the persona.
        Stopped: a model stopped answering; what was answered is kept, and the same call goes on from there.
    """
    labels = [condition.label for condition in conditions]
    _check_labels(labels, baseline, subject)
    baseline = baseline or labels[0]
    subject = subject or next((one.label for one in reversed(conditions) if one.temperature == 0), labels[-1])
    unfit = Counter(reason for probe in probes if (reason := applicable(probe, persona)))
    chosen = [fill(probe, persona) for probe in probes if not applicable(probe, persona)]
    if not chosen:
        raise BadInput(tr("没有适用于这个身份的探针", "no probe fits this persona"), where=next(iter(unfit), ""))
    with folder_lock(out) if out else contextlib.nullcontext():
        started = time.monotonic()
        journal = Journal(cache or (out / "answers.jsonl" if out else None), fresh=fresh)
        results, cards = _ask_all(conditions, chosen, persona, journal, seed=seed, max_new_tokens=max_new_tokens)
        retention = _retention(conditions, baseline, journal, texts or {})
        agreement: dict[str, float] = {}
        if second_judge:
            results, agreement = second_opinions(results, subject, second_judge, journal)
        card = Card(
            owner=persona.owner.get("zh"),
            name=persona.name.get("zh"),
            split="+".join(sorted({probe.split for probe in chosen})),
            baseline=baseline,
            subject=subject,
            conditions=tuple(cards),
            comparisons=compare(results, labels),
            retention=retention,
            judge_agreement=agreement,
            harness={label: dict(scores) for label, scores in (harness or {}).items()},
            hashes=_hashes(chosen, persona, texts or {}, hashes or {}),
            settings={**_caps(max_new_tokens), "seed": seed, **(settings or {})},
            leaks=tuple(str(pair) for pair in overlaps(chosen, trained_on) if pair.leaks),
            notes=_notes(results),
            answers_kept=journal.taken,
            answers_asked=journal.asked,
            not_measured=_not_measured(chosen, unfit, conditions, retention, harness),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - started, 1),
            results=tuple(results),
        )
        if out:
            from identity_kit.evaluate.report import write_report

            write_report(card, out)
    return card


def _ask_all(
    conditions: Sequence[Condition],
    probes: Sequence[Probe],
    persona: Persona,
    journal: Journal,
    *,
    seed: int,
    max_new_tokens: int | None,
) -> tuple[list[Result], list[ConditionCard]]:
    results: list[Result] = []
    cards: list[ConditionCard] = []
    with progress("", sum(count_answers(condition, probes) for condition in conditions)) as bar:
        for condition in conditions:
            started = time.monotonic()
            bar.stage(tr(f"评测 {display(condition.label)}：", f"asking {display(condition.label)}:"))
            asked = ask(
                condition, probes, journal=journal, seed=seed, max_new_tokens=max_new_tokens, progress=bar.advance
            )
            verdicts = [judge(one.probe, one.answers, persona) for one in asked]
            own = results_of(condition.label, asked, verdicts)
            results.extend(own)
            cards.append(
                ConditionCard(
                    label=condition.label,
                    fingerprint=condition.fingerprint,
                    system=condition.system
                    if isinstance(condition.system, str)
                    else dict(condition.system or {}) or None,
                    samples=condition.samples,
                    temperature=condition.temperature,
                    seconds=round(time.monotonic() - started, 1),
                    cells=cells_of(own),
                )
            )
    return results, cards


def _retention(
    conditions: Sequence[Condition], baseline: str, journal: Journal, texts: Mapping[str, str]
) -> tuple[Retention, ...]:
    """Bits per byte of every model that can be measured; a condition that only adds a system message is the same model."""
    measured: dict[str, dict[str, Costs]] = {}
    for condition in conditions:
        if not texts or condition.paragraph_costs is None or condition.system or condition.samples > 1:
            continue
        key = f"paragraphs {condition.fingerprint or condition.label} {texts_hash(texts)}"
        known = journal.get(key)
        if known is None:
            known = Answer(json.dumps(condition.paragraph_costs(texts)))
            journal.add([(key, known)])
        measured[condition.label] = json.loads(known.text)
    base = measured.get(baseline)
    return tuple(
        Retention(
            label=label,
            bits_per_byte=bits_per_byte(costs),
            more=more_bits(costs, base) if base and label != baseline else {},
        )
        for label, costs in measured.items()
    )


def _hashes(
    probes: Sequence[Probe], persona: Persona, texts: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    own = {"probes": probes_hash(probes), "persona": sha256_text(persona.to_yaml())}
    own["judge"] = judge_hash()
    if texts:
        own["retention texts"] = texts_hash(texts)
    return {**own, **given}


def _caps(max_new_tokens: int | None) -> dict[str, Any]:
    if max_new_tokens is not None:
        return {"max_new_tokens": max_new_tokens}
    return {"max_new_tokens": DEFAULT_CAP, "token_caps": TOKEN_CAPS}


def _notes(results: Sequence[Result]) -> tuple[str, ...]:
    """What happened to answers before they were judged, in words."""
    lines = []
    answers = [
        (answer, reason, thought)
        for one in results
        for answer, reason, thought in zip(
            one.answers, one.finish_reasons, one.thoughts or ("",) * len(one.answers), strict=True
        )
    ]
    if filtered := sum(reason == FILTERED for _, reason, _ in answers):
        lines.append(
            tr(
                f"服务方的内容过滤拦下了 {filtered} 个回答，按空回答判",
                f"the provider's content filter withheld {filtered} answers; they are judged as empty",
            )
        )
    if thought := sum(bool(thought) for _, _, thought in answers):
        unfinished = sum(bool(thought) and not answer for answer, _, thought in answers)
        lines.append(
            tr(
                f"{thought} 个回答前有思考过程，去掉后才判；其中 {unfinished} 个想到词元上限也没有作答，"
                "按空回答判（可加大 --max-new-tokens）",
                f"thoughts were taken out of {thought} answers before they were judged; {unfinished} of them held nothing "
                "else and are judged as empty (a larger --max-new-tokens gives them room)",
            )
        )
    return tuple(lines)


def _not_measured(
    probes: Sequence[Probe],
    unfit: Counter[str],
    conditions: Sequence[Condition],
    retention: Sequence[Retention],
    harness: Mapping[str, Mapping[str, float]] | None,
) -> tuple[str, ...]:
    """What a reader might take for measured and was not, in words."""
    lines = [
        tr(f"{reason}：{count} 个探针未问", f"{reason}: {count} probes left out") for reason, count in unfit.items()
    ]
    asked = {probe.suite for probe in probes}
    absent = [suite for suite in SUITES if suite not in asked]
    if absent:
        lines.append(tr("未测的套件：", "suites not measured: ") + ", ".join(absent))
    if not any(condition.samples > 1 for condition in conditions):
        lines.append(tr("只有贪心解码，没有抽样", "greedy decoding only, no sampling"))
    if not any(condition.system for condition in conditions):
        lines.append(tr("没有测带系统提示的情况", "nothing was asked with a system prompt"))
    if not retention:
        lines.append(tr("没有测每字节比特数（是否忘了通用文本）", "bits per byte on general text"))
    if not harness:
        lines.append(tr("没有跑公开基准（--harness）", "public benchmarks (--harness)"))
    lines.append(
        tr(
            "长对话（8 轮以上）、工具调用、中英文以外的语言",
            "talks over 8 turns, tool calls, languages other than these two",
        )
    )
    lines.append(tr("答案的文风与质量，规则判不出", "style and quality of the answers, which no rule judges"))
    return tuple(lines)


def _check_labels(labels: Sequence[str], baseline: str, subject: str) -> None:
    if not labels:
        raise BadInput(tr("没有要测的模型", "nothing to evaluate"))
    if len(set(labels)) < len(labels):
        raise BadInput(tr("两个条件同名", "two conditions share a label"), where=", ".join(labels))
    for label in (baseline, subject):
        if label and label not in labels:
            raise BadInput(tr(f"没有条件 {label}", f"no condition {label}"), where=", ".join(labels))
