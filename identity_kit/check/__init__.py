"""Is a data set fit to train on? An audit with a verdict, a forecast and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from identity_kit.check.audit import Audit, Forecast, Issue, Schedule
from identity_kit.check.duplicates import exact_duplicates, near_duplicates, overlaps
from identity_kit.check.forecast import forecast
from identity_kit.check.owners import count_owners
from identity_kit.check.rules import RowFacts, row_facts, row_issues
from identity_kit.claims import vendor_names
from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.formats import read_tolerant
from identity_kit.persona import Persona, make_persona
from identity_kit.text import shorten

# What a complete identity answers; the names are those of the question banks.
FACETS = ("name", "maker", "owner", "who", "abilities", "limits", "human_or_machine", "base_model")
_SHOWN = 60


def check(
    rows_or_path: Iterable[Conversation] | Path | str,
    persona: Persona | None = None,
    *,
    schedule: Schedule | None = None,
    count_tokens: Callable[[Conversation], int] | None = None,
    probes: Iterable[str] = (),
    format: str | None = None,
    near: float = 0.9,
) -> Audit:
    """Audit records, or a file or folder in any known format.

    Args:
        persona: who the assistant is to be; without it the owner that most answers name is taken for the right one.
        schedule: how the rows will be trained on, for the forecast and for `max_length`.
        count_tokens: tokens of one conversation; estimated from characters when not given.
        probes: evaluation questions that no training question may repeat.
        near: the similarity from which two rows are near duplicates, 0 to 1.

    Raises:
        BadInput: there is nothing to read at all; rows that cannot be read are issues of the audit.
    """
    audit = Audit()
    if isinstance(rows_or_path, str | Path):
        audit.source, audit.format = str(rows_or_path), format
        placed: Iterator[tuple[str, Conversation | BadInput]] = read_tolerant(rows_or_path, format, audit.remarks)
    else:
        placed = ((f"#{i}", row) for i, row in enumerate(rows_or_path, start=1))
    kept: list[tuple[int, str, Conversation]] = []
    for number, (where, row) in enumerate(placed, start=1):
        audit.rows += 1
        if isinstance(row, BadInput):
            kind = "not_text" if "“" in row.what or '"' in row.what else "broken"
            audit.issues.append(Issue(kind, number, row.where or where, row.what))
        else:
            kept.append((number, where, row))
    schedule = schedule or Schedule()
    facts = _look_at_rows(audit, kept, persona)
    _look_at_owners(audit, kept, facts, persona)
    _look_at_lengths(audit, kept, schedule, count_tokens)
    _look_at_repeats(audit, kept, list(probes), near)
    identity = sum(fact.identity for fact in facts)
    audit.forecast = forecast(len(kept), identity, schedule)
    audit.issues.sort(key=lambda issue: (issue.row, issue.kind))
    return audit


def _look_at_rows(audit: Audit, kept: list[tuple[int, str, Conversation]], persona: Persona | None) -> list[RowFacts]:
    judge = persona or _likely_persona([row for _, _, row in kept])
    facts = []
    for number, where, row in kept:
        fact = row_facts(row, judge)
        facts.append(fact)
        audit.turns += sum(message.role == "assistant" for message in row.messages)
        audit.kinds[row.meta.kind or ("identity" if fact.identity else "other")] += 1
        audit.languages[row.meta.language or fact.language] += 1
        if row.meta.facet:
            audit.facets[row.meta.facet] += 1
        audit.issues += [Issue(kind, number, where, text) for kind, text in row_issues(row, fact, judge)]
    if audit.facets:
        audit.missing_facets = tuple(facet for facet in FACETS if not audit.facets[facet])
    return facts


def _likely_persona(rows: list[Conversation]) -> Persona:
    """The persona that the rows themselves speak of: the owner that most of them name."""
    owners = count_owners(row.answer for row in rows)
    name = owners.most_common(1)[0][0] if owners else "\u2603"
    known = next((vendor for vendor in vendor_names() if name in vendor.spellings), None)
    return make_persona(owner={"zh": name, "en": known.name} if known else name)


def _look_at_owners(
    audit: Audit, kept: list[tuple[int, str, Conversation]], facts: list[RowFacts], persona: Persona | None
) -> None:
    """Answers that name another owner than the right one, or than most do."""
    audit.owners = Counter(owner for fact in facts for owner in fact.owners)
    if not audit.owners:
        return
    if persona is not None:
        right = {text.casefold() for text in (*persona.own_owners(), *persona.own_names())}
    else:
        likely = _likely_persona([row for _, _, row in kept])
        right = {text.casefold() for text in likely.own_owners()}
    flagged = {(issue.row, issue.kind) for issue in audit.issues}
    for (number, where, row), fact in zip(kept, facts, strict=True):
        wrong = [o for o in fact.owners if not any(r in o.casefold() or o.casefold() in r for r in right)]
        if wrong and (number, "vendor") not in flagged and not fact.claims.own:
            text = f"{', '.join(wrong)}: {shorten(row.answer, _SHOWN)}"
            audit.issues.append(Issue("owner", number, where, text))


def _look_at_lengths(
    audit: Audit,
    kept: list[tuple[int, str, Conversation]],
    schedule: Schedule,
    count_tokens: Callable[[Conversation], int] | None,
) -> None:
    audit.exact_tokens = count_tokens is not None
    counter = count_tokens or estimate_tokens
    for number, where, row in kept:
        audit.question_chars.append(len(row.question))
        audit.answer_chars.append(len(row.answer))
        tokens = counter(row)
        audit.tokens.append(tokens)
        if tokens > schedule.max_length:
            audit.issues.append(Issue("long", number, where, f"{tokens} > {schedule.max_length}"))


def estimate_tokens(row: Conversation) -> int:
    """About how many tokens a conversation takes: 0.7 a Chinese character, 1.4 a Latin word, 5 a message."""
    total = 0.0
    for text in chain((m.content for m in row.messages), [row.rejected or ""]):
        chinese = sum("\u2e80" <= c <= "\uffef" for c in text)
        words = len(text.encode("ascii", "ignore").split())
        total += 0.7 * chinese + 1.4 * words + 5 * bool(text)
    return round(total)


def _look_at_repeats(audit: Audit, kept: list[tuple[int, str, Conversation]], probes: list[str], near: float) -> None:
    texts = ["\n".join(m.content for m in row.messages) + (row.rejected or "") for _, _, row in kept]
    repeated = set()
    for i, first in exact_duplicates(texts):
        repeated.add(i)
        number, where, row = kept[i]
        text = f"= {kept[first][1]}  {shorten(row.question, _SHOWN)}"
        audit.issues.append(Issue("duplicate", number, where, text))
    for i, other, score in near_duplicates(texts, near):
        if i not in repeated:
            number, where, row = kept[i]
            text = f"{score:.2f} ≈ {kept[other][1]}  {shorten(row.question, _SHOWN)}"
            audit.issues.append(Issue("near_duplicate", number, where, text))
    if probes:
        for i, j in overlaps([row.question for _, _, row in kept], probes):
            number, where, row = kept[i]
            audit.issues.append(
                Issue("probe", number, where, f"{shorten(row.question, 40)} ≈ {shorten(probes[j], 40)}")
            )


__all__ = ["Audit", "Forecast", "Issue", "Schedule", "check", "estimate_tokens", "forecast"]
