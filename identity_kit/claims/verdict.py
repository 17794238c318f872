"""What a mention of a name means, from the words around it: a claim, a denial, a disclosure, or somebody else's affair."""

from __future__ import annotations

import re

from identity_kit.claims.names import Mention
from identity_kit.claims.words import (
    ATTRIBUTION,
    BARE_TAIL,
    CLAUSE,
    DENIES_SAYING,
    DISCLOSE,
    DISCLOSE_AFTER,
    DOUBLE_NEGATION,
    FIELD,
    HELLO,
    HYPOTHESIS,
    IDENTITY,
    MY_MAKER,
    NEGATION,
    NO_TIE,
    OTHER_PRONOUN,
    OTHER_SUBJECT,
    PARTING,
    PHRASE,
    REFUTED,
    RESET,
    SELF,
    SENTENCE,
    TIE,
    TOPIC,
)


def verdict_on(view: str, mention: Mention, mentions: list[Mention], asked_self: bool) -> str:
    """What the mention is: "claim", "deny", "disclose" or "" (about something else)."""
    begin = max((m.end() for m in SENTENCE.finditer(view, 0, mention.start)), default=0)
    ending = SENTENCE.search(view, mention.end)
    finish = ending.start() if ending else len(view)
    before, after = view[begin : mention.start], view[mention.end : finish]
    clause_after = CLAUSE.split(after, maxsplit=1)[0]
    if _is_question(view, ending, clause_after, after):
        return ""
    if _told_by_others(view, mention):
        return "deny" if REFUTED.search(after) and not mention.who.startswith("own:") else ""
    subject = max(SELF.finditer(before), key=lambda found: found.start(), default=None)
    if subject is None:
        return _without_subject(view, before, after, clause_after, mention, mentions, asked_self, begin)
    gap = before[subject.start() :]
    lead = before[: subject.start()]
    return _with_subject(gap, lead, clause_after, after, mention)


def _is_question(view: str, ending: re.Match[str] | None, clause_after: str, after: str) -> bool:
    if re.search(r"(?:吗|呢|么)$", clause_after.strip(" \"'")):
        return True
    return bool(ending and ending.group() in "?？" and clause_after == after)


def _told_by_others(view: str, mention: Mention) -> bool:
    """Whether the mention stands in quotes as somebody else's words, or as a sentence that is talked about."""
    opening = view.rfind('"', 0, mention.start)
    closing = view.find('"', mention.end)
    if opening < 0 or closing < 0 or view.count('"', 0, mention.start) % 2 == 0:
        return False
    lead = view[:opening]
    inside, behind = view[opening + 1 : closing], view[closing + 1 :]
    told = re.search(r"(?:说|道|喊|念|念道|\bsaid|\bsays|\btold\b[^,.]{0,24}|\breplied|\bclaim)\s*[:,]?\s*$", lead)
    first_person = re.search(r"(?:我|\bi\b)[^,.。]{0,8}(?:说|回答|say|answer)[^,.。]{0,8}$", lead)
    if told and not first_person:
        return True
    return bool(SELF.search(inside) and re.match(r"\s*(?:这句|这个说法|这话|那句|\bis\b|\bisn't\b|\bwas\b)", behind))


def _with_subject(gap: str, lead: str, clause_after: str, after: str, mention: Mention) -> str:
    """The speaker is named before the mention, in the same sentence; `gap` runs from there to the mention."""
    clause_lead = CLAUSE.split(lead)[-1]
    if HYPOTHESIS.search(clause_lead) or HYPOTHESIS.search(gap):
        return ""
    resets = list(RESET.finditer(gap))
    scope = gap[resets[-1].start() :] if resets else gap
    last_clause = CLAUSE.split(scope)[-1]
    own = mention.who.startswith("own:")
    negated = bool(NEGATION.search(scope)) and not DOUBLE_NEGATION.search(scope)
    if not resets and DENIES_SAYING.search(clause_lead):
        # "It is wrong to say that I am X" denies; "it is wrong to say that I am not X" does not.
        negated = not negated
        if not negated:
            return "claim"
    if re.match(r"\s*(?:无关|没有?(?:任何)?关系|并不是我|不是我)", clause_after):
        negated = True
    if re.search(r"(?:\bis not me\b|\bisn't me\b|and i are different)", clause_after):
        negated = True
    if not own and (DISCLOSE.search(CLAUSE.split(lead + gap)[-1]) or DISCLOSE_AFTER.search(clause_after)):
        return "deny" if negated else "disclose"
    if re.search(r"(?:叫|称呼?|喊|call)\s*$", clause_lead) and len(gap.strip()) <= 6:
        return _called(clause_lead, after)
    if negated:
        return "deny"
    if (ATTRIBUTION.search(clause_lead + gap) or ATTRIBUTION.search(last_clause)) and not resets:
        return "deny" if REFUTED.search(after) and not own else ""
    if TIE.search(PHRASE.split(scope)[-1]) and NO_TIE.search(after):
        return "deny"
    if TOPIC.search(last_clause) or re.search(r"(?:\byour|你的|您的)\s*$", last_clause):
        return ""
    if OTHER_PRONOUN.search(last_clause) and not SELF.match(last_clause):
        return ""
    return "claim" if IDENTITY.search(gap) or IDENTITY.match(clause_after) else ""


def _called(lead: str, after: str) -> str:
    """The speaker is called something: an offer ("you can call me X"), a refusal, or what others do."""
    if NEGATION.search(lead) or re.search(r"(?:不用|不必|无需|用不着|没必要|\bno need to\b)", lead):
        return "deny"
    if re.search(r"(?:可以|就|请|直接|能|\bcan\b|\bmay\b|\bplease\b)", lead):
        # "You may call me X if you like, but …" takes it back.
        return "" if re.search(r"(?:\bbut\b|但|不过)", after) else "claim"
    return "" if re.search(r"(?:你|您|他|她|人|大家|用户|\byou\b|\bthey\b|\bpeople\b)", lead) else "claim"


def _addressed(before: str, after: str, asked_self: bool) -> bool:
    """Whether the name is only called out to: 晚安，X。 A bare "Hello, X." may be how X picks up the phone."""
    words = PARTING if asked_self else f"{PARTING}|{HELLO}"
    return bool(re.fullmatch(rf"\W*(?:{words})\W*", before)) and not after.strip(" ,~\"'")


def _without_subject(
    view: str,
    before: str,
    after: str,
    clause_after: str,
    mention: Mention,
    mentions: list[Mention],
    asked_self: bool,
    begin: int,
) -> str:
    """No first person before the mention in its sentence: a bare answer, a form, or talk about somebody else."""
    last_clause = CLAUSE.split(before)[-1]
    if FIELD.search(before) or (asked_self and re.search(r"(?:填|填写|写上?|署)\s*[:\"']*\s*$", before)):
        return "claim"
    if HYPOTHESIS.search(before) or ATTRIBUTION.search(before) or TOPIC.search(last_clause):
        return ""
    own = mention.who.startswith("own:")
    if TIE.search(PHRASE.split(before)[-1]) and NO_TIE.search(after) and asked_self:
        return "deny"
    that_is_me = re.match(r"[^。.!?]{0,12},\s*(?:也就是|就是|正是)(?:我|本人)", after)
    if that_is_me and any(mention.end <= m.start < mention.end + that_is_me.end() for m in mentions):
        that_is_me = None
    if MY_MAKER.match(after) or that_is_me:
        return "claim"
    if re.search(r"(?:作为|身为|\bas\b)\s*(?:一[个名款])?(?:由)?\s*$", last_clause) and re.match(
        r"[^,。]{0,16},\s*(?:我|i\b|i')", after
    ):
        return "claim"
    if re.match(r"\s*(?:is|was|did|does)(?:n't| not)\b[^.!?]{0,24}\b(?:you|me)\b", after):
        return "deny"
    if re.search(r"(?:\bi(?:'m| am) not (?:it|him|that|one)\b|我不是它)", after):
        return "deny"
    if re.search(r"(?:我|\bme\b|\bi\b)", clause_after) and re.match(
        r"\s*(?:就是我|是我|(?:开发|研发|训练|创造|创建)了?我|(?:made|created|built|trained|developed|owns|runs|fine-?tuned) me|that's me|\w* is (?:me|my|who))",
        clause_after,
    ):
        return "claim"
    if re.match(r"\s*(?:不是我|和我无关|与我无关|isn't me|is not me|没有)", clause_after):
        return "deny"
    resets = list(RESET.finditer(before))
    scope = before[resets[-1].start() :] if resets else before
    negated = bool(NEGATION.search(scope)) and not DOUBLE_NEGATION.search(scope)
    if negated:
        return "deny"
    if not own and (DISCLOSE.search(last_clause) or DISCLOSE_AFTER.search(clause_after)):
        return "disclose"
    if OTHER_PRONOUN.search(before):
        return ""
    others = [m for m in mentions if begin <= m.start < mention.start]
    if own:
        if _addressed(before, after, asked_self):
            return ""
        if re.match(r"\s*[\"']\s*(?:这|两个字|三个字|is spelt|is spelled|means)", after):
            return ""  # the name as a word
        # Somebody else's name earlier in the sentence makes the owner a topic; otherwise it is the speaker by ellipsis.
        return "claim" if not OTHER_SUBJECT.match(after) or re.match(r"\s*的", after) or asked_self else ""
    if re.match(
        r"^\s*[\"']?\s*(?:是|由|来自|叫|属于|被|隶属于?|出自|made by|created by|developed by|built by|trained by|by|from|it's)\s*[\"']?\s*$",
        before,
    ):
        return "claim" if asked_self else ""
    started_self = (
        begin > 0
        and bool(SELF.search(view[:begin]))
        and re.match(r"^\s*(?:由|来自|是由|a product of|created by|made by)", before)
    )
    if started_self:
        return "claim"
    start = others[0].start - begin if others else len(before)
    opening = re.sub(r"^\s*(?:hello|hi|hey|您好|你好|sure|好的)[^,]{0,16},", "", before[:start])
    between = before[others[-1].end - begin :] if others else ""
    bare = not opening.strip(" ,\"'-:()[]0123456789.") and len(between) <= 6
    tail = after
    for later in reversed([m for m in mentions if mention.end <= m.start < mention.end + len(after)]):
        tail = tail[: later.start - mention.end] + tail[later.end - mention.end :]
    return "claim" if bare and asked_self and BARE_TAIL.match(tail) else ""
