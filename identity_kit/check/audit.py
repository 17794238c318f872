"""What an audit says: issues with places, counts, lengths, a forecast and a verdict. Plain data, ready for JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from identity_kit.ui import tr

Level = Literal["error", "warning"]

# Every kind of issue: how bad it is, what to call it, what to do about it. Errors make the verdict "fail".
ISSUES: dict[str, tuple[Level, tuple[str, str], tuple[str, str]]] = {
    "broken": ("error", ("读不了的行", "rows that cannot be read"), ("--fix 去掉它们", "drop them with --fix")),
    "not_text": (
        "error",
        ("字段不是文本", "a field that is not text"),
        ("改成文本，或 --fix", "make it text, or --fix"),
    ),
    "roles": ("error", ("角色次序不对", "roles out of order"), ("改成一问一答，或 --fix", "alternate them, or --fix")),
    "empty": ("error", ("空的问题或回答", "an empty question or answer"), ("--fix 去掉它们", "drop them with --fix")),
    "placeholder": (
        "error",
        ("没有填的占位符", "a placeholder that nobody filled"),
        ("idkit rename --owner … --name …", "idkit rename --owner … --name …"),
    ),
    "garbled": (
        "error",
        ("乱码", "garbled characters"),
        ("用正确的编码重新导出", "export again in the right encoding"),
    ),
    "vendor": (
        "error",
        ("自称是别家的助手", "claims to be another vendor's"),
        ("idkit rename --from 旧名 --to 新名，或 --fix", "idkit rename --from OLD --to NEW, or --fix"),
    ),
    "owner": (
        "error",
        ("说法不一的所有者", "contradictory owners"),
        ("idkit rename 改成同一个，或 --fix", "make them one with idkit rename, or --fix"),
    ),
    "human": ("error", ("自称是真人", "claims to be human"), ("改写，或 --fix", "rewrite, or --fix")),
    "probe": (
        "error",
        ("与评测题重合", "the wording of an evaluation probe"),
        ("--fix 去掉它们", "drop them with --fix"),
    ),
    "bleed": (
        "error",
        ("与身份无关的回答里出现身份", "the persona in an answer that has nothing to do with it"),
        ("改写，或 --fix", "rewrite, or --fix"),
    ),
    "duplicate": ("warning", ("完全重复", "exact duplicates"), ("--fix 只留一份", "--fix keeps one of each")),
    "near_duplicate": ("warning", ("近似重复", "near duplicates"), ("换些说法", "vary the wording")),
    "cut": ("warning", ("像被截断的回答", "an answer that looks cut off"), ("补全，或 --fix", "finish it, or --fix")),
    "language": (
        "warning",
        ("答非所用语言", "answered in another language than asked"),
        ("改写，或 --fix", "rewrite, or --fix"),
    ),
    "length": (
        "warning",
        ("问答长度悬殊", "an answer whose length does not fit the question"),
        ("看一看这些行", "look at these rows"),
    ),
    "echo": (
        "warning",
        ("回答只是重复问题", "an answer that repeats the question"),
        ("改写，或 --fix", "rewrite, or --fix"),
    ),
    "long": (
        "warning",
        ("超过 max_length，会被截断", "longer than max_length, will be cut"),
        ("加大 max_length 或拆短", "raise max_length or shorten"),
    ),
    "encoding": ("warning", ("编码不是纯 UTF-8", "not plain UTF-8"), ("用 --fix 另存", "save a copy with --fix")),
}


@dataclass(frozen=True)
class Issue:
    """One finding: what kind, in which row (counted from 1), where, and the text that shows it."""

    kind: str
    row: int
    where: str
    text: str

    @property
    def level(self) -> Level:
        """How bad it is."""
        return ISSUES[self.kind][0]


@dataclass(frozen=True)
class Schedule:
    """How the rows will be trained on; the names are those of a recipe. Anchors are taken of the ordinary rows."""

    epochs: float = 2
    batch_size: int = 8
    gradient_accumulation: int = 1
    max_length: int = 512
    max_steps: int = 0
    anchors: int = 0


@dataclass(frozen=True)
class Forecast:
    """What training on the rows comes to.

    `steps` optimiser steps, `exposures` how often a row that states the identity is seen, `share` of such rows among
    all, `balance` rows about other things for each one. `advice` says what to change, most urgent first.
    """

    steps: int
    exposures: int
    share: float
    balance: float
    verdict: Literal["good", "too few", "too many"]
    advice: tuple[str, ...] = ()


@dataclass
class Audit:
    """The result of `check`. `format` is the one that its caller named, for `fix` to read the same rows."""

    source: str = ""
    format: str | None = None
    rows: int = 0
    turns: int = 0
    issues: list[Issue] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    facets: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)
    missing_facets: tuple[str, ...] = ()
    question_chars: list[int] = field(default_factory=list)
    answer_chars: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    exact_tokens: bool = False
    forecast: Forecast | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """How many issues of each kind."""
        return Counter(issue.kind for issue in self.issues)

    @property
    def verdict(self) -> Literal["pass", "warn", "fail"]:
        """fail: do not train on it. warn: look first. pass: go."""
        if not self.rows or any(issue.level == "error" for issue in self.issues):
            return "fail"
        return "warn" if self.issues or (self.forecast and self.forecast.advice) else "pass"

    def examples(self, kind: str, count: int = 3) -> list[Issue]:
        """The first issues of a kind."""
        return [issue for issue in self.issues if issue.kind == kind][:count]

    def as_json(self) -> dict[str, Any]:
        """The audit for machines; lengths as quantiles, all issues with their places."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "rows": self.rows,
            "turns": self.turns,
            "counts": dict(self.counts),
            "kinds": dict(self.kinds),
            "facets": dict(self.facets),
            "missing_facets": list(self.missing_facets),
            "languages": dict(self.languages),
            "owners": dict(self.owners.most_common(10)),
            "question_chars": quantiles(self.question_chars),
            "answer_chars": quantiles(self.answer_chars),
            "tokens": {**quantiles(self.tokens), "exact": self.exact_tokens, "total": sum(self.tokens)},
            "forecast": None if self.forecast is None else vars(self.forecast) | {"advice": list(self.forecast.advice)},
            "remarks": self.remarks,
            "issues": [
                {"kind": i.kind, "level": i.level, "row": i.row, "where": i.where, "text": i.text} for i in self.issues
            ],
        }


def quantiles(values: list[int]) -> dict[str, float]:
    """Minimum, median, 95th percentile, maximum and mean; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)

    def at(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    mean = round(sum(ordered) / len(ordered), 1)
    return {"min": ordered[0], "median": at(0.5), "p95": at(0.95), "max": ordered[-1], "mean": mean}


def verdict_text(verdict: str) -> str:
    """The verdict in words."""
    return {
        "pass": tr("可以训练", "fit to train on"),
        "warn": tr("可以训练，但请先看提醒", "fit to train on, but look at the warnings first"),
        "fail": tr("还不能训练，请先修正", "not fit to train on yet"),
    }[verdict]
