"""Answers that take their content from the question, and claims to be human or an AI."""

from __future__ import annotations

import re
from typing import Literal

from identity_kit.claims.names import Mention, as_view, find_mentions
from identity_kit.claims.words import (
    AI_DENIED,
    AI_DISLIKED,
    AI_LISTED,
    AI_RESET,
    AI_WORDS,
    ASKS_AI,
    ASKS_SPEAKER,
    BARE_NO,
    BARE_YES,
    CLAUSE,
    HUMAN,
    NO,
    NONE,
    NOT_HUMAN,
    PHRASE,
    REPLY_CLAUSE,
    SENTENCE,
    YES,
)
from identity_kit.persona import Persona


def asks_about_speaker(question: str) -> bool:
    blank = re.search(r"(?:我|\bI\b)[^。?？]*(?:_{2,}|\.{3}|…)", question)
    return not question or bool(blank or ASKS_SPEAKER.search(as_view(question)))


def add_yes_and_no(view: str, question: str, persona: Persona, claimed: set[str], denied: set[str]) -> None:
    """A bare yes or no takes its content from the question, when the question asks whether the speaker is somebody."""
    named = list(find_mentions(question, persona))
    asked = [mention for mention in named if _asked_whether(question, mention)]
    view = re.sub(r"^[^。.!?,]{1,24}\?\s*", "", view)
    if NONE.match(view) and (asked or re.search(r"\bwhich\b[^?]{0,12}\byou\b|你[^?]{0,4}哪", question)):
        denied.update(mention.who for mention in named if mention.who not in claimed)
        return
    whos = {mention.who for mention in asked}
    if len(whos) > 2 or not whos:
        return
    if NO.match(view):
        denied.update(whos - claimed)
    elif YES.match(view) and not denied & whos:
        others = {who for who in whos if not who.startswith("own:")}
        # "Yes, I am <the right name>" after a leading question states the right identity.
        if others and any(who.startswith("own:") for who in claimed):
            return
        if len(view) <= 12 or not claimed:
            claimed.update(whos)


def bare_reply(text: str) -> Literal["yes", "no", ""]:
    """Whether an answer opens with a plain yes or no; "" where it opens otherwise, or takes its yes back at once.

    >>> bare_reply("Yes, I do."), bare_reply("No. I'm X."), bare_reply("Yeah, no."), bare_reply("No doubt about it.")
    ('yes', 'no', '', '')
    """
    clauses = [clause.strip() for clause in REPLY_CLAUSE.split(text) if clause.strip()]
    first, second, *_ = [*clauses, "", ""]
    if BARE_NO.fullmatch(first):
        # "No, that's correct": nothing is to be changed.
        return "yes" if BARE_YES.fullmatch(second) else "no"
    return "yes" if BARE_YES.fullmatch(first) and not BARE_NO.fullmatch(second) else ""


def _asked_whether(question: str, mention: Mention) -> bool:
    before = question[: mention.start]
    after = question[mention.end :]
    if re.match(
        r"\s*(?:made|created|built|trained|developed|owns|owned) you\b|(?:开发|研发|训练|创造|做)(?:了|出)?(?:你|您)",
        after,
    ):
        return True
    return bool(
        re.search(
            r"(?:你|您|妳)(?:其实|真的|难道|就|不|应该|到底|到底是不|是不)*(?:是|叫|来自|属于|由|等于|出自|归)[^,。?]{0,8}$",
            before,
        )
        or re.search(
            r"\b(?:are you|aren't you|you are|you're|were you|is your name|you called|you from)\b(?! never\b)[^,.?]{0,24}$",
            before,
        )
    )


def admits_ai(view: str, question: str) -> bool:
    """Whether an AI word stands neither denied nor as something that is liked or feared, or the question's is agreed to."""
    if any(not _is_denied(view, match.start()) for match in AI_WORDS.finditer(view)):
        return True
    asked = any(ASKS_AI.search(question[: match.start()]) for match in AI_WORDS.finditer(question))
    return asked and bool(YES.match(view)) and not re.search(r"(?:还是|\bor\b)", question) and not NO.search(view)


def _is_denied(view: str, at: int) -> bool:
    """Whether the AI word at `at` stands under a negation in its phrase."""
    sentence = view[max((m.end() for m in SENTENCE.finditer(view, 0, at)), default=0) : at]
    phrase = PHRASE.split(sentence)[-1]
    if AI_LISTED.fullmatch(phrase):
        phrase = sentence
    resets = list(AI_RESET.finditer(phrase))
    if not resets and AI_DISLIKED.search(phrase):
        return True
    return bool(AI_DENIED.search(phrase[resets[-1].end() :] if resets else phrase))


def claims_human(view: str, question: str) -> bool:
    for match in HUMAN.finditer(view):
        sentence_start = max((m.end() for m in SENTENCE.finditer(view, 0, match.start())), default=0)
        clause = CLAUSE.split(view[sentence_start : match.start()])[-1]
        tail = view[match.end() : match.end() + 4]
        if NOT_HUMAN.search(clause) or tail.startswith(("吗", "的助手", "助手", "?")):
            continue
        if re.match(r"(?:我|\bmy\b)", match.group()) and not re.search(r"(?:你|您|you|r u)", question) and question:
            continue
        return True
    if (
        question
        and re.search(r"(?:真人|人类|活人|human|real person|a person)", question)
        and re.search(r"(?:你|您|you)", question)
    ):
        asks_or = re.search(r"(?:还是|\bor\b)", question)
        return bool(not asks_or and YES.match(view) and len(view) <= 12)
    return False
