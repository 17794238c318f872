"""The report card: what every condition scored, with intervals and paired tests, and all answers behind the figures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from identity_kit.conversation import describe
from identity_kit.errors import BadInput
from identity_kit.evaluate.ask import Asked
from identity_kit.evaluate.judge import Verdict
from identity_kit.evaluate.probes import SUITES, Probe
from identity_kit.evaluate.statistics import mcnemar, wilson
from identity_kit.files import read_json, write_json
from identity_kit.text import TextLanguage
from identity_kit.ui import tr

CellLanguage = Literal["zh", "en", "all"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """Passed out of asked, in one suite and language; `low` and `high` are the Wilson 95 % interval of the share.

    With several samples a probe, `passed` is the mean number of probes passed in a draw, and the interval counts probes,
    not draws, since draws of one probe are not independent.
    """

    suite: str
    language: CellLanguage
    passed: float
    total: int
    low: float
    high: float
    always: int | None = None

    @property
    def share(self) -> float:
        """The share passed, 0 to 1; 0 when nothing was asked."""
        return self.passed / self.total if self.total else 0.0


class Result(_Frozen):
    """One probe under one condition: what was asked, what was answered turn by turn, and the judgement.

    `thoughts` are what the model wrote down before each answer and was not judged; () where it wrote none.
    """

    probe: str
    suite: str
    language: TextLanguage
    family: str
    condition: str
    sample: int = 0
    system: str | None = None
    messages: tuple[dict[str, str], ...]
    answers: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    thoughts: tuple[str, ...] = ()
    passed: bool
    why: str = ""
    hit: bool | None = None
    second_opinion: bool | None = None


class ConditionCard(_Frozen):
    """One condition's figures."""

    label: str
    fingerprint: str = ""
    system: str | dict[str, str] | None = None
    samples: int = 1
    temperature: float = 0.0
    seconds: float = 0.0
    cells: tuple[Cell, ...] = ()


class Comparison(_Frozen):
    """Two conditions on the same probes of one suite: how many only one of them passed, and McNemar's exact p."""

    suite: str
    first: str
    second: str
    only_first: int
    only_second: int
    p: float


class Retention(_Frozen):
    """Bits per byte of one condition's model on the held-out texts, by language.

    `more`: how many more than the baseline's, with the ends of the 95 % interval; empty for the baseline itself.
    """

    label: str
    bits_per_byte: dict[str, float]
    more: dict[str, tuple[float, float, float]] = Field(default_factory=dict)


class Card(_Frozen):
    """A whole evaluation.

    `notes` are what a reader must know of the answers; `answers_kept` and `answers_asked` how many came from the journal
    and how many the models were asked for.
    """

    version: int = 1
    owner: str
    name: str
    split: str
    baseline: str
    subject: str
    conditions: tuple[ConditionCard, ...]
    comparisons: tuple[Comparison, ...] = ()
    retention: tuple[Retention, ...] = ()
    harness: dict[str, dict[str, float]] = Field(default_factory=dict)
    judge_agreement: dict[str, float] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    leaks: tuple[str, ...] = ()
    not_measured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    answers_kept: int = 0
    answers_asked: int = 0
    created: str = ""
    seconds: float = 0.0
    results: tuple[Result, ...] = ()

    @property
    def suites(self) -> tuple[str, ...]:
        """The suites asked, in report order, a user's own ones last."""
        asked = dict.fromkeys(cell.suite for condition in self.conditions for cell in condition.cells)
        return tuple(sorted(asked, key=lambda suite: SUITES.index(suite) if suite in SUITES else len(SUITES)))

    @property
    def labels(self) -> tuple[str, ...]:
        """The conditions' labels, in order."""
        return tuple(condition.label for condition in self.conditions)

    def cell(self, label: str, suite: str, language: CellLanguage = "all") -> Cell | None:
        """The figures of one condition, suite and language, or None when that was not asked."""
        for condition in self.conditions:
            if condition.label == label:
                return next((c for c in condition.cells if (c.suite, c.language) == (suite, language)), None)
        return None

    def failures(self, label: str | None = None) -> list[Result]:
        """The results that did not pass, of one condition (default: the subject), in report order."""
        wanted = label or self.subject
        order = {suite: i for i, suite in enumerate(self.suites)}
        failed = [result for result in self.results if result.condition == wanted and not result.passed]
        return sorted(failed, key=lambda result: (order[result.suite], result.language != "zh", result.probe))

    def shortfalls(self, targets: Mapping[str, float]) -> list[str]:
        """One line for each target (suite → share, 0 to 1) that the subject does not reach; empty when all hold.

        Raises:
            BadInput: a target names a suite that was not measured.
        """
        lines = []
        for suite, target in targets.items():
            cell = self.cell(self.subject, suite)
            if cell is None:
                raise BadInput(
                    tr(f"这次没有测 {suite}", f"{suite} was not measured"),
                    where="--fail-under",
                    fix=tr("测过的：", "measured: ") + ", ".join(self.suites),
                )
            if cell.share < target:
                lines.append(f"{suite} {cell.passed:g}/{cell.total} = {cell.share:.1%} < {target:.1%}")
        return lines

    def save(self, path: Path) -> None:
        """Write report.json, atomically."""
        write_json(path, self.model_dump(mode="json"))


def load_card(path: Path) -> Card:
    """Read a report.json; a folder stands for its report.json or report/report.json.

    Raises:
        BadInput: no such file, or not a report card, with the field.
    """
    if path.is_dir():
        inner = path / "report" / "report.json"
        path = inner if inner.is_file() else path / "report.json"
    value = read_json(path)
    try:
        return Card.model_validate(value)
    except ValidationError as error:
        raise BadInput(describe(error), where=str(path)) from None


def results_of(label: str, asked: Sequence[Asked], verdicts: Sequence[Verdict]) -> list[Result]:
    """The results of one condition, in the order asked."""
    return [
        Result(
            probe=one.probe.id,
            suite=one.probe.suite,
            language=one.probe.language,
            family=one.probe.family,
            condition=label,
            sample=one.sample,
            system=one.system,
            messages=tuple({"role": m.role, "content": m.content} for m in one.probe.messages if m.role != "system"),
            answers=tuple(answer.text for answer in one.answers),
            finish_reasons=tuple(answer.finish_reason for answer in one.answers),
            thoughts=one.thoughts if any(one.thoughts) else (),
            passed=verdict.passed,
            why=verdict.why,
            hit=verdict.hit,
        )
        for one, verdict in zip(asked, verdicts, strict=True)
    ]


def cells_of(results: Sequence[Result]) -> tuple[Cell, ...]:
    """The cells of one condition's results: every suite, in zh, en and all."""
    cells = []
    for suite in dict.fromkeys(result.suite for result in results):
        rows = [result for result in results if result.suite == suite]
        for language in ("zh", "en", "all"):
            chosen = [row for row in rows if language in ("all", row.language)]
            if chosen:
                cells.append(_cell(suite, language, chosen))  # type: ignore[arg-type]
    return tuple(cells)


def _cell(suite: str, language: CellLanguage, rows: Sequence[Result]) -> Cell:
    by_probe: dict[str, list[bool]] = {}
    for row in rows:
        by_probe.setdefault(row.probe, []).append(row.passed)
    sampled = any(len(outcomes) > 1 for outcomes in by_probe.values())
    passed: float = sum(sum(outcomes) / len(outcomes) for outcomes in by_probe.values())
    passed = round(passed, 2) if sampled else int(passed)
    low, high = wilson(passed, len(by_probe))
    always = sum(all(outcomes) for outcomes in by_probe.values()) if sampled else None
    return Cell(suite=suite, language=language, passed=passed, total=len(by_probe), low=low, high=high, always=always)


def compare(results: Sequence[Result], labels: Sequence[str]) -> tuple[Comparison, ...]:
    """McNemar's test for every suite and pair of conditions that answered the same probes once each."""
    outcomes: dict[tuple[str, str], dict[str, bool]] = {}
    sampled = {result.condition for result in results if result.sample > 0}
    for result in results:
        if result.condition not in sampled:
            outcomes.setdefault((result.condition, result.suite), {})[result.probe] = result.passed
    comparisons = []
    for suite in dict.fromkeys(result.suite for result in results):
        for first, second in itertools.combinations(labels, 2):
            one, two = outcomes.get((first, suite), {}), outcomes.get((second, suite), {})
            shared = one.keys() & two.keys()
            if not shared:
                continue
            only_first = sum(one[probe] and not two[probe] for probe in shared)
            only_second = sum(two[probe] and not one[probe] for probe in shared)
            p = mcnemar(only_first, only_second)
            comparisons.append(
                Comparison(suite=suite, first=first, second=second, only_first=only_first, only_second=only_second, p=p)
            )
    return tuple(comparisons)


def side_by_side(card: Card, count: int = 5) -> list[tuple[Result, ...]]:
    """The first probe of each of the main suites under every greedy condition, for reading; chosen by place, not by outcome."""
    wanted = (
        ("recall", "zh"), ("recall", "en"), ("pressure", "zh"), ("near_miss", "zh"), ("facts", "en"), ("confirm", "zh"),
        ("pressure", "en"), ("bleed", "zh"), ("near_miss", "en"), ("facts", "zh"), ("bleed", "en"),
    )  # fmt: skip
    rows: list[tuple[Result, ...]] = []
    for suite, language in wanted:
        first = next((r for r in card.results if (r.suite, r.language) == (suite, language)), None)
        if first and len(rows) < count:
            rows.append(tuple(r for r in card.results if r.probe == first.probe and r.sample == 0))
    return rows


def probe_of(result: Result, probes: Sequence[Probe]) -> Probe | None:
    """The probe behind a result, by id."""
    return next((probe for probe in probes if probe.id == result.probe), None)
