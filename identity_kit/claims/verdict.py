"""What a mention of a name means, from the words around it: a claim, a denial, a disclosure, or somebody else's affair."""

from __future__ import annotations

import re

from identity_kit.claims.names import Mention
from identity_kit.claims.words import (
    ATTRIBUTION,
    BARE_TAIL,
    CLAUSE,
    COMPARED,
    COMPARED_TO,
    DENIES_SAYING,
    DISCLOSE,
    DISCLOSE_AFTER,
    DOES_NOT_KNOW,
    DOUBLE_NEGATION,
    DOUBT,
    FIELD,
    HELLO,
    HYPOTHESIS,
    IDENTITY,
    LACKS,
    MEETS,
    MY_MAKER,
    NEGATION,
    NEVER_SAID,
    NO_NEGATION,
    NO_TIE,
    ONLY_A_PART,
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
    UNKNOWN,
)


def verdict_on(view: str, mention: Mention, mentions: list[Mention], asked_self: bool) -> str:
    """What the mention is: "claim", "deny", "disclose" or "" (about something else)."""
    begin, before, after, ending = _around(view, mention)
    clause_after = CLAUSE.split(after, maxsplit=1)[0]
    own = mention.who.startswith("own:")
    if _is_question(view, ending, clause_after, after):
        return ""
    if own and (_in_title(view, mention) or _called_out_to(view, before, after, mention, asked_self)):
        return ""
    if own and _unknown(before, after):
        return ""
    clause = CLAUSE.split(before)[-1]
    if not own and ONLY_A_PART.match(after) and not SELF.search(clause) and not DISCLOSE.search(clause):
        return "deny"
    if _told_by_others(view, mention):
        return "deny" if REFUTED.search(after) and not mention.who.startswith("own:") else ""
    subject = max(SELF.finditer(before), key=lambda found: found.start(), default=None)
    if subject is None:
        return _without_subject(view, before, after, clause_after, mention, mentions, asked_self, begin)
    gap = before[subject.start() :]
    lead = before[: subject.start()]
    return _with_subject(gap, lead, clause_after, after, mention)


def is_given(view: str, mention: Mention, asked_self: bool) -> bool:
    """Whether the own name stands there as an answer may give it, in a form, a title or a phrase without a first person."""
    _, before, after, ending = _around(view, mention)
    clause_after, clause = CLAUSE.split(after, maxsplit=1)[0], CLAUSE.split(before)[-1]
    return not (
        _is_question(view, ending, clause_after, after)
        or _called_out_to(view, before, after, mention, asked_self)
        or _unknown(before, after)
        or (mention.who == "own:owner" and _in_title(view, mention))
        or NEGATION.search(NO_NEGATION.sub("", clause)[-_NEGATED_REACH:])
        or DOUBT.search(clause)
    )


# How many characters before a name, in its clause, a negation is taken to reach.
_NEGATED_REACH = 14


def _around(view: str, mention: Mention) -> tuple[int, str, str, re.Match[str] | None]:
    """Where the mention's sentence begins, what stands in it before and after the mention, and its end mark."""
    begin = max((m.end() for m in SENTENCE.finditer(view, 0, mention.start)), default=0)
    ending = SENTENCE.search(view, mention.end)
    finish = ending.start() if ending else len(view)
    return begin, _plain(view[begin : mention.start]), view[mention.end : finish], ending


def _plain(text: str) -> str:
    """The text with what only looks like a negation blanked out; every place in it stays where it was."""
    return NO_NEGATION.sub(lambda found: " " * len(found[0]), text)


def _in_title(view: str, mention: Mention) -> bool:
    return view.rfind("《", 0, mention.start) > view.rfind("》", 0, mention.start) and "》" in view[mention.end :]


def _unknown(before: str, after: str) -> bool:
    """Whether the one of that name is said to be a stranger: 我没听说过 X, "X has no idea who I am"."""
    clause = CLAUSE.split(before)[-1]
    found = max((m.end() for m in UNKNOWN.finditer(clause)), default=-1)
    return (found >= 0 and not SELF.search(clause, found)) or bool(DOES_NOT_KNOW.match(after))


def _called_out_to(view: str, before: str, after: str, mention: Mention, asked_self: bool) -> bool:
    """Whether the name is called out to: 晚安，X。 A bare "Hello, X." may be how X picks up the phone."""
    rest = view[mention.end :]
    if re.fullmatch(rf"\W*(?:{PARTING})\W*", before):
        return not after.strip(" ,~\"'") or (mention.who == "own:owner" and after.lstrip().startswith(","))
    greeted = re.fullmatch(rf"\W*(?:{HELLO})\W*", before)
    if greeted and not after.strip(" ,~\"'") and not asked_self:
        return True
    greets = not before.strip() and re.match(rf"\s*,\s*(?:{HELLO}|{PARTING})", after)
    return bool((greeted or greets) and re.match(r"\s*(?:[,.。!~]|$)", rest) and MEETS.search(rest))


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
    # 我没说自己是 X: what is said begins at 自己.
    inner = re.search(r"(?<=[说认知道定为得楚称晓肯白过])自己[^,;。]*$", gap)
    if inner:
        lead, gap = lead + gap[: inner.start()], gap[inner.start() :]
    clause_lead = CLAUSE.split(lead)[-1]
    within, *further = reversed(CLAUSE.split(gap))
    if DOUBT.search(within if further else clause_lead + within):
        return ""
    if HYPOTHESIS.search(clause_lead) or HYPOTHESIS.search(gap):
        return ""
    resets = list(RESET.finditer(gap))
    scope = gap[resets[-1].start() :] if resets else gap
    last_clause = CLAUSE.split(scope)[-1]
    own = mention.who.startswith("own:")
    negated = _negates(scope)
    said = NEVER_SAID.search(clause_lead)
    if not resets and (said or DENIES_SAYING.search(clause_lead)) and not DOUBLE_NEGATION.search(clause_lead):
        # "It is wrong to say that I am X" denies; "it is wrong to say that I am not X" does not.
        negated = not negated
        if not negated:
            return "" if said else "claim"
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
    if not own and (COMPARED.match(clause_after) or COMPARED_TO.search(last_clause)):
        return ""
    if TOPIC.search(last_clause) or re.search(r"(?:\byour|你的|您的)\s*$", last_clause):
        return ""
    if OTHER_PRONOUN.search(last_clause) and not SELF.match(last_clause):
        return ""
    return "claim" if IDENTITY.search(gap) or IDENTITY.match(clause_after) else ""


def _negates(scope: str) -> bool:
    """Whether the words up to a mention deny it."""
    return bool(NEGATION.search(LACKS.sub(" ", scope))) and not DOUBLE_NEGATION.search(scope)


def _called(lead: str, after: str) -> str:
    """The speaker is called something: an offer ("you can call me X"), a refusal, or what others do."""
    if NEGATION.search(lead) or re.search(r"(?:不用|不必|无需|用不着|没必要|\bno need to\b)", lead):
        return "deny"
    if re.search(r"(?:可以|就|请|直接|能|\bcan\b|\bmay\b|\bplease\b)", lead):
        # "You may call me X if you like, but …" takes it back.
        return "" if re.search(r"(?:\bbut\b|但|不过)", after) else "claim"
    return "" if re.search(r"(?:你|您|他|她|人|大家|用户|\byou\b|\bthey\b|\bpeople\b)", lead) else "claim"


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
    if own and DOUBT.search(last_clause):
        return ""
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
        r"\s*(?:就是我|是我(?!的)|(?:开发|研发|训练|创造|创建)了?我|(?:made|created|built|trained|developed|owns|runs|fine-?tuned) me|that's me|\w* is (?:me|my|who))",
        clause_after,
    ):
        return "claim"
    if re.match(r"\s*(?:不是我|和我无关|与我无关|isn't me|is not me|没有)", clause_after):
        return "deny"
    resets = list(RESET.finditer(before))
    scope = before[resets[-1].start() :] if resets else before
    negated = _negates(scope)
    if negated:
        return "deny"
    if not own and (DISCLOSE.search(last_clause) or DISCLOSE_AFTER.search(clause_after)):
        return "disclose"
    if OTHER_PRONOUN.search(before):
        return ""
    others = [m for m in mentions if begin <= m.start < mention.start]
    if own:
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
