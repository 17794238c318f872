"""What is looked at in each row by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from identity_kit.check.owners import asks_who, owners_in
from identity_kit.claims import Claims, mentions_persona, read_claims
from identity_kit.conversation import Conversation
from identity_kit.persona import Persona
from identity_kit.text import cjk_share, ends_properly, language_of, normalise, placeholders, shorten

# Bytes of one encoding read as another: UTF-8 as Latin-1 or GBK, GBK as UTF-8 and back.
_GARBLED = re.compile(
    "\ufffd|锟斤拷|烫烫烫|屯屯屯|(?:[ÃÂäåæçèé][\u0080-\u00bf\u2018-\u203a]){2,}|鈥[渓滄]|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)
_TRANSLATES = re.compile(
    r"翻译|译成|译为|英文|英语|中文|汉语|日语|法语|拼音|translat|in english|in chinese|into |say .{1,30} in |单词|word",
    re.IGNORECASE,
)
# A question that is put to the assistant as somebody, not about a thing.
_TO_SPEAKER = re.compile(
    r"[你您妳]|自己|自我|\bni (?:shi|jiao)\b|我是|真人|人工|客服|助手|\b(?:you|your|yourself|human|person|assistant|agent)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_SHOWN = 60


@dataclass(frozen=True)
class RowFacts:
    """What the other checks need to know about a row."""

    identity: bool
    language: str
    owners: tuple[str, ...]
    claims: Claims


def row_facts(row: Conversation, persona: Persona) -> RowFacts:
    """Whether a row states the identity, its language, and what it claims."""
    question, answer = row.question, row.answer
    claims = read_claims(answer, persona, question=question)
    kind = row.meta.kind
    if kind is not None:
        identity = kind == "identity"
    else:
        identity = claims.own or bool(claims.vendors) or (asks_who(question) and bool(owners_in(answer)))
    return RowFacts(identity, language_of(question + " " + answer), owners_in(answer) if identity else (), claims)


def row_issues(row: Conversation, facts: RowFacts, persona: Persona | None) -> Iterator[tuple[str, str]]:
    """(kind, text that shows it) for each issue of one row."""
    if problem := _order(row):
        yield "roles", problem
    for message in row.messages:
        if not message.content.strip() and message.role != "system":
            yield "empty", message.role
        if slots := placeholders(message.content):
            yield "placeholder", ", ".join(dict.fromkeys(slots))
        if found := _GARBLED.search(message.content):
            yield "garbled", shorten(message.content[max(0, found.start() - 10) :], _SHOWN)
    question, answer = row.question, row.answer
    if not answer.strip():
        return
    if not ends_properly(answer) or len(_FENCE.findall(answer)) % 2:
        yield "cut", "…" + shorten(answer[-40:], _SHOWN)
    if normalise(answer) and normalise(answer) == normalise(question):
        yield "echo", shorten(answer, _SHOWN)
    yield from _length(question, answer, facts)
    # A record may say that its question is Chinese in Latin letters ("ni hao ya"), or the like.
    if _other_language(question, answer) and language_of(answer) != row.meta.language:
        yield "language", f"{shorten(question, 30)} → {shorten(answer, 30)}"
    if facts.claims.vendors:
        yield "vendor", f"{', '.join(sorted(facts.claims.vendors))}: {shorten(answer, _SHOWN)}"
    if facts.claims.human:
        yield "human", shorten(answer, _SHOWN)
    if persona is not None and _bleeds(row, facts, persona):
        yield "bleed", f"{shorten(question, 30)} → {shorten(answer, 30)}"


def _order(row: Conversation) -> str:
    roles = [message.role for message in row.messages]
    if "assistant" not in roles and row.rejected is None:
        return "→".join(roles)
    if any(role == "system" for role in roles[1:]):
        return "→".join(roles)
    body = roles[1:] if roles[0] == "system" else roles
    if not body or body[0] != "user" or (body[-1] != "assistant" and row.rejected is None):
        return "→".join(roles)
    doubled = any(a == b and a in ("user", "assistant") for a, b in pairwise(body))
    return "→".join(roles) if doubled else ""


def _length(question: str, answer: str, facts: RowFacts) -> Iterator[tuple[str, str]]:
    asked, said = len(question), len(answer)
    if facts.identity and said > 600:
        yield "length", f"{asked} → {said}: {shorten(question, 40)}"
    elif (asked >= 4000 and said <= 2) or (facts.identity and said < 2):
        yield "length", f"{asked} → {said}: {shorten(answer, 40)}"
    elif asked <= 6 and said > 3000:
        yield "length", f"{asked} → {said}: {shorten(question, 40)}"


def _other_language(question: str, answer: str) -> bool:
    """Asked in one language, answered wholly in the other, and nobody asked for that."""
    if _TRANSLATES.search(question) or "```" in answer or len(normalise(answer)) < 8 or len(normalise(question)) < 6:
        return False
    asked, said = cjk_share(question), cjk_share(answer)
    return (asked >= 0.6 and said <= 0.1) or (asked <= 0.1 and said >= 0.6)


def _bleeds(row: Conversation, facts: RowFacts, persona: Persona) -> bool:
    """The persona's name in an answer to a question that does not ask for it."""
    if row.meta.kind in ("identity", "domain") or asks_who(row.question):
        return False
    if row.meta.kind is None and (len(row.question) < 6 or _TO_SPEAKER.search(row.question)):
        return False
    asked = " ".join(message.content for message in row.messages if message.role == "user")
    return facts.claims.mentions and not mentions_persona(asked, persona)
