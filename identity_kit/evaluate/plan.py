"""What more data a card calls for: pure, from figures alone. No wording of a probe ever reaches the plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from identity_kit.evaluate.card import Card
from identity_kit.ui import tr

Remedy = Literal["identity", "denial", "turns", "contrast", "rehearsal", "domain"]

# What each suite's failures call for.
REMEDIES: dict[str, tuple[Remedy, ...]] = {
    "recall": ("identity",),
    "confirm": ("identity",),
    "pressure": ("denial",),
    "drift": ("denial", "turns"),
    "honesty": ("identity",),
    "greeting": ("identity", "rehearsal"),
    "near_miss": ("contrast",),
    "vendor_facts": ("contrast",),
    "bleed": ("rehearsal", "contrast"),
    "facts": ("rehearsal",),
    "stop": ("rehearsal",),
    "domain": ("domain",),
}

# None for `confirm`: rows for it cost pressure (docs/evaluation.md).
DEFAULT_TARGETS = {"recall": 0.98, "pressure": 0.95, "near_miss": 0.98, "bleed": 0.99, "stop": 1.0}

# Suites that must not fall below the untuned model, when the card has it.
KEPT = ("facts", "vendor_facts")

ROWS_A_MISS = 24
FEWEST, MOST = 24, 160
# Of the new identity rows, at least this share holds the identity against a push: plain rows alone unlearn it.
LEAST_PRESSURE = 0.25


@dataclass(frozen=True)
class Need:
    """One weak spot: a suite and language under its target, and the rows planned for it."""

    suite: str
    language: str
    passed: float
    total: int
    target: float
    remedy: Remedy
    rows: int

    def __str__(self) -> str:
        share = self.passed / self.total
        words = {
            "identity": tr("身份行", "identity rows"),
            "denial": tr("否认行", "denial rows"),
            "turns": tr("多轮行", "rows of several turns"),
            "contrast": tr("对照行", "contrast rows"),
            "rehearsal": tr("回放行", "rehearsal rows"),
            "domain": tr("业务行", "domain rows"),
        }[self.remedy]
        return f"{self.suite} {self.language} {share:.0%} < {self.target:.0%}: +{self.rows} {words}"


@dataclass(frozen=True)
class More:
    """Rows to add: of each kind, how the identity ones lean, how much of them is Chinese, and what they are for.

    Args:
        replay: rows of the earlier data to train on again with them, so that what was learnt stays.
    """

    identity: int
    contrast: int
    rehearsal: int
    domain: int
    pressure_share: float
    many_turns: float
    zh_share: float
    replay: int
    needs: tuple[Need, ...]

    @property
    def rows(self) -> int:
        """New rows in all."""
        return self.identity + self.contrast + self.rehearsal + self.domain


def full_targets(card: Card, targets: Mapping[str, float]) -> dict[str, float]:
    """The targets, and for what must be kept the untuned model's own share, where the card has it and it is lower."""
    complete = dict(targets)
    for suite in KEPT:
        cell = card.cell(card.baseline, suite)
        if cell is not None and card.baseline != card.subject:
            complete[suite] = min(complete.get(suite, 1.0), cell.share)
    return complete


def plan_more(card: Card, targets: Mapping[str, float]) -> More | None:
    """The rows that the subject's weak spots call for, or None when every target holds.

    Every miss beyond the target gets `ROWS_A_MISS` rows of its suite's remedies, within bounds. Identity rows are
    guarded by contrast and rehearsal rows, half as many of each: identity alone teaches that every question is about it.
    """
    needs = _needs(card, full_targets(card, targets))
    if not needs:
        return None
    rows: dict[Remedy, int] = {}
    for need in needs:
        rows[need.remedy] = rows.get(need.remedy, 0) + need.rows
    denial, plain, turns = rows.get("denial", 0), rows.get("identity", 0), rows.get("turns", 0)
    identity = denial + plain + turns
    guard = (identity + 1) // 2
    contrast = max(rows.get("contrast", 0), guard)
    rehearsal = max(rows.get("rehearsal", 0), guard if identity else contrast // 2)
    domain = rows.get("domain", 0)
    chinese = sum(need.rows for need in needs if need.language == "zh")
    total = identity + contrast + rehearsal + domain
    return More(
        identity=identity,
        contrast=contrast,
        rehearsal=rehearsal,
        domain=domain,
        pressure_share=round(max(LEAST_PRESSURE, (denial + turns / 2) / identity), 3) if identity else 0.0,
        many_turns=round(turns / identity, 3) if identity else 0.0,
        # Never all one language: the other one would be forgotten.
        zh_share=round(min(0.8, max(0.2, chinese / sum(need.rows for need in needs))), 3),
        replay=total,
        needs=tuple(needs),
    )


def _needs(card: Card, targets: Mapping[str, float]) -> list[Need]:
    needs = []
    for suite, target in targets.items():
        whole = card.cell(card.subject, suite)
        if whole is None or whole.share >= target:
            continue
        for language in ("zh", "en"):
            cell = card.cell(card.subject, suite, language)  # type: ignore[arg-type]
            if cell is None or cell.share >= target:
                continue
            misses = math.ceil(round(target * cell.total - cell.passed, 6))
            remedies = REMEDIES.get(suite, ("identity",))
            rows = min(MOST, max(FEWEST, ROWS_A_MISS * misses))
            for remedy in remedies:
                share = -(-rows // len(remedies))
                needs.append(Need(suite, language, cell.passed, cell.total, target, remedy, share))
    return needs


def shortfall(card: Card, targets: Mapping[str, float]) -> float:
    """How far the subject is from its targets: the missing shares added up; 0 when all hold."""
    total = 0.0
    for suite, target in full_targets(card, targets).items():
        cell = card.cell(card.subject, suite)
        total += max(0.0, target - cell.share) if cell else 0.0
    return round(total, 6)


def mean_share(card: Card, suites: Sequence[str] = ()) -> float:
    """The mean share over the subject's suites; breaks ties between rounds that miss the targets by as much."""
    cells = [card.cell(card.subject, suite) for suite in suites or card.suites]
    shares = [cell.share for cell in cells if cell]
    return sum(shares) / len(shares) if shares else 0.0


def better(new: Card, old: Card, targets: Mapping[str, float]) -> bool:
    """Whether the new card is nearer to the targets, or as near and better on the whole."""
    gain = shortfall(old, targets) - shortfall(new, targets)
    if abs(gain) > 1e-9:
        return gain > 0
    return mean_share(new) > mean_share(old) + 1e-9
