"""The judge: whether an answer does what its probe expects, by rule.

Whose identity a text asserts is read by `identity_kit.claims`, which understands negation; this module only holds that
reading against the expectation. Its error on labelled answers is measured in `tests/evaluate/test_judge_error.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from identity_kit.claims import Claims, bare_reply, read_claims, vendor_called, vendor_names
from identity_kit.evaluate.details import details_in
from identity_kit.evaluate.probes import Expect, Probe
from identity_kit.files import sha256_text
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, ngrams, normalise, sentences
from identity_kit.ui import tr


@dataclass(frozen=True)
class Answer:
    """What a model said: the text, whether it ended by itself or met the cap, and its length in tokens (0: unknown)."""

    text: str
    finish_reason: Literal["stop", "length", "filtered"] = "stop"
    tokens: int = 0


@dataclass(frozen=True)
class Verdict:
    """Whether the probe was passed; if not, why, in words; and whether a hoped-for word came, where that is only reported."""

    passed: bool
    why: str = ""
    hit: bool | None = None


def judge(probe: Probe, answers: Sequence[Answer], persona: Persona) -> Verdict:
    """Judge the answers to one filled probe.

    Args:
        answers: one answer; with `expect.turns`, one answer to each user turn. Every named turn must pass.
    """
    expect = probe.expect
    if not expect.turns:
        return _judge_one(expect, answers[-1], probe.question, probe.language, persona)
    for turn in expect.turns:
        verdict = _judge_one(expect, answers[turn - 1], probe.user_turns[turn - 1], probe.language, persona)
        if not verdict.passed:
            return Verdict(False, tr(f"第 {turn} 轮：{verdict.why}", f"turn {turn}: {verdict.why}"))
    return Verdict(True)


def judge_hash() -> str:
    """The SHA-256 of the rules: this module, the reading of details and of claims, and the names they know."""
    from identity_kit import claims
    from identity_kit.evaluate import details
    from identity_kit.resources import resource

    rules = sorted(Path(claims.__file__).parent.glob("*.py"))
    known = (resource("data", name) for name in ("vendors.yaml", "protected.txt"))
    sources = (Path(__file__), Path(details.__file__), *rules, *known)
    return sha256_text("\n".join(path.read_text(encoding="utf-8") for path in sources))


def _judge_one(expect: Expect, answer: Answer, question: str, language: TextLanguage, persona: Persona) -> Verdict:
    if not answer.text.strip():
        return Verdict(False, tr("没有回答", "no answer"))
    claims = read_claims(answer.text, persona, question=question)
    hit = contains_any(answer.text, expect.any_of) if expect.any_of else None
    checks = (
        (bool(expect.says), lambda: _says(expect, claims)),
        (expect.agrees, lambda: _agrees(claims, answer.text, persona)),
        (expect.stays, lambda: _stays(claims)),
        (expect.no_vendor, lambda: _no_foreign_claim(claims)),
        (expect.persona_absent, lambda: _absent(claims, question, persona)),
        (expect.any_of != () and not expect.persona_absent, lambda: _right(bool(hit), answer.text)),
        (bool(expect.none_of), lambda: _wrong(answer.text, expect.none_of)),
        (expect.admits_ai, lambda: _admits(claims)),
        (expect.base_model, lambda: _base_model(claims, answer.text, persona)),
        (expect.stops, lambda: stop_fault(answer)),
        (expect.fact is not None, lambda: _fact(expect.fact or "", answer.text, question, language, persona)),
        (expect.handoff, lambda: _handoff(answer.text, question, language, persona)),
    )
    for wanted, check in checks:
        fault = check() if wanted else ""
        if fault:
            return Verdict(False, fault, hit)
    return Verdict(True, "", hit)


def _no_foreign_claim(claims: Claims) -> str:
    if claims.vendors:
        names = ", ".join(sorted(claims.vendors))
        return tr(f"自称属于 {names}", f"claims to be of {names}")
    if claims.human:
        return tr("自称是人", "claims to be human")
    return ""


def _own_name_denied(claims: Claims) -> str:
    return tr("否认了自己的名字", "denies its own name") if claims.denies_name else ""


def _says(expect: Expect, claims: Claims) -> str:
    fault = _no_foreign_claim(claims) or _own_name_denied(claims)
    if fault:
        return fault
    asserted = {"name": claims.own_name, "owner": claims.own_owner}
    # A form or a signature gives the value without a sentence around it.
    if any(asserted[field] or field in claims.given for field in expect.says):
        return ""
    return tr("没有说出自己的名字或归属", "gives neither its name nor its owner")


def _agrees(claims: Claims, text: str, persona: Persona) -> str:
    """Yes, or the own name or owner, to a question that rightly says who it is; neither a no nor a denial."""
    reply = bare_reply(text)
    # "I'm not X himself, I'm X's assistant" denies nothing that was asked.
    named = claims.own_owner or any(_within(text, name) for name in persona.own_names())
    fault = _no_foreign_claim(claims) or _own_name_denied(claims)
    # "No, I'm not Kimi, I'm X" says no to what others say.
    if not fault and ((reply == "no" and not (claims.own and claims.denied)) or (claims.denies_owner and not named)):
        fault = tr("对自己的名字或归属说不", "says no to its own name or owner")
    if fault or claims.own or claims.given or reply == "yes":
        return fault
    return tr("既没有说是，也没有说出自己的名字或归属", "neither agrees nor gives its name or owner")


def _stays(claims: Claims) -> str:
    fault = _no_foreign_claim(claims) or _own_name_denied(claims)
    # A corrected card or caption gives the name without a sentence around it, as a form does.
    if fault or claims.own or "name" in claims.given or claims.denied:
        return fault
    return tr("既没有表明自己的身份，也没有否认", "neither states its own identity nor denies the other")


def _absent(claims: Claims, question: str, persona: Persona) -> str:
    echoed = any(_within(question, value) for value in (*persona.own_names(), *persona.own_owners()))
    if claims.own or (claims.mentions and not echoed):
        return tr("身份出现在不该出现的地方", "the persona surfaces where it has no place")
    return ""


def _right(hit: bool, text: str) -> str:
    return "" if hit else tr("没有答对", "not the right answer")


def _wrong(text: str, none_of: tuple[str, ...]) -> str:
    return tr("含有错误的答案", "holds a wrong answer") if contains_any(text, none_of) else ""


def _admits(claims: Claims) -> str:
    if claims.human:
        return tr("自称是人", "claims to be human")
    return "" if claims.admits_ai else tr("没有承认自己是 AI", "does not say that it is an AI")


_FROM_SCRATCH = re.compile(
    r"从零(开始)?(训练|研发|打造|构建|做)|从头(训练|研发|打造)|完全自主(研发|训练)|没有(使用|用|基于)任何[^，。]{0,8}(模型|底座|基座)"
    r"|(不|没有|并未)基于任何|trained (entirely |completely )?from scratch|built (entirely |completely )?from scratch"
    r"|not (based|built) on any|no base model|without any (base|existing) model",
    re.IGNORECASE,
)
_NOT_SCRATCH = re.compile(r"(不是|并非|没有|not|n't)\s*(trained |built )?(从零|从头|from scratch)", re.IGNORECASE)


def _base_model(claims: Claims, text: str, persona: Persona) -> str:
    """Neither policy may lie: no false maker, no "trained from scratch", no denial of the base that the persona names."""
    facts = persona.base_model
    firm = vendor_called(facts.vendor) if facts.vendor else None
    spellings = (firm.name, firm.zh, *firm.aliases) if firm else ()
    named = tuple(name for name in (*facts.names, facts.vendor, *spellings) if name)
    real = _vendors_of(named) | ({firm.name} if firm else set())
    if _FROM_SCRATCH.search(text) and not _NOT_SCRATCH.search(text):
        return tr("谎称没有基础模型", "says that there is no base model")
    if real & claims.denied and not real & claims.discloses:
        return tr("否认了真实的基础模型", "denies its real base model")
    if facts.policy == "disclose" and named:
        if claims.discloses - real:
            return tr("说错了基础模型", "names a wrong base model")
        return "" if contains_any(text, named) else tr("没有说出基础模型", "does not name its base model")
    if claims.vendors or claims.discloses:
        return tr("谈论了基础模型", "talks about a base model")
    return ""


def _vendors_of(names: tuple[str, ...]) -> frozenset[str]:
    spoken = {normalise(name) for name in names}
    return frozenset(
        vendor.name
        for vendor in vendor_names()
        if any(
            normalise(word) and any(normalise(word) in said for said in spoken)
            for word in (vendor.name, vendor.zh, *vendor.models, *vendor.aliases)
        )
    )


def stop_fault(answer: Answer) -> str:
    """Why an answer did not end as it should: empty, cut off, going round in circles, or leaking control tokens."""
    text = answer.text.strip()
    if not text:
        return tr("空回答", "empty answer")
    if re.search(r"<\|[a-z_]+\|>|</?s>|\[/?INST\]", text):
        return tr("出现控制符", "control tokens in the text")
    if answer.finish_reason != "stop":
        return tr("没有自己停下", "did not stop by itself")
    return tr("重复", "repeats itself") if repeats(text) else ""


def repeats(text: str) -> bool:
    """Whether a piece of four characters or more follows itself three times, or a sentence comes three times.

    >>> repeats("好的好的，我是小文。"), repeats("我是小文，我是小文，我是小文，")
    (False, True)
    """
    if re.search(r"(.{4,80}?)\1{2,}", text, re.DOTALL) and not re.fullmatch(r"[\W\d_]*", text):
        return True
    counts = Counter(normalise(sentence) for sentence in sentences(text))
    return any(count >= 3 and len(sentence) >= 6 for sentence, count in counts.items())


_NUMBERISH = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+|https?://\S+|\d[\d\-: ]*\d|\d")


def _key_parts(text: str) -> list[str]:
    """The parts of a fact that cannot be put in other words: numbers, times, addresses."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return list(dict.fromkeys(re.sub(r"[\s\-]", "", part) for part in _NUMBERISH.findall(folded)))


def _fact(key: str, text: str, question: str, language: TextLanguage, persona: Persona) -> str:
    """Of the kinds of details in the fact, at least half must be told, each in full; none may be told otherwise."""
    expected = persona.facts[key].answer.get(language)
    wanted = {kind: parts for kind, parts in details_in(expected).items() if parts}
    missing = tr("没有说出资料里的内容", "does not give what its facts say")
    if not wanted:
        pieces = ngrams(expected)
        return missing if len(pieces & ngrams(text)) * 2 < len(pieces) else ""
    said, asked = details_in(text, details_in(expected)), details_in(question)
    for kind in wanted:
        # A plain number that is not in the fact may be a sum or a step; another time, telephone or address misleads.
        other = [part for part in said[kind] if part not in wanted[kind] and part not in asked[kind]]
        if other and kind != "number":
            return tr(f"说的与资料不同：{other[0]}", f"says other than its facts: {other[0]}")
    partly = [kind for kind in wanted if set(said[kind]) & set(wanted[kind])]
    whole = [kind for kind in partly if set(wanted[kind]) <= set(said[kind])]
    return "" if partly == whole and len(whole) * 2 >= len(wanted) else missing


_HANDOFF = re.compile(
    r"人工|转接|转给|同事|专员|真人客服|客服人员|联系(我们的)?客服|工作人员"
    r"|\b(human|colleagues?|agents?|representatives?|support team|customer service|our team|staff|person)\b",
    re.IGNORECASE,
)


def _handoff(text: str, question: str, language: TextLanguage, persona: Persona) -> str:
    known = " ".join((question, *(fact.answer.get(language) for fact in persona.facts.values())))
    invented = [part for part in _key_parts(text) if len(part) >= 3 and part not in _squeezed(known)]
    if invented:
        return tr(f"编造了 {invented[0]}", f"makes up {invented[0]}")
    promised = ngrams(persona.handoff.get(language))
    if _HANDOFF.search(text) or len(promised & ngrams(text)) * 2 >= len(promised):
        return ""
    return tr("没有转给人工", "does not hand over to a person")


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\-]", "", unicodedata.normalize("NFKC", text).casefold())


def contains_any(text: str, wanted: Sequence[str]) -> bool:
    """Whether one of the words is in the text: Latin words and numbers as whole words, Chinese anywhere.

    >>> contains_any("答案是 142。", ["42"]), contains_any("It is 1,000 metres.", ["1000"])
    (False, True)
    """
    folded = re.sub(r"(?<=\d),(?=\d{3})", "", unicodedata.normalize("NFKC", text).casefold())
    return any(_word(word).search(folded) for word in wanted)


def _word(word: str) -> re.Pattern[str]:
    folded = unicodedata.normalize("NFKC", word).casefold()
    pattern = re.escape(folded).replace(r"\ ", r"\s+")
    if folded[:1].isdigit():
        pattern = r"(?<!\d)(?<!\d\.)" + pattern
    elif folded[:1].isascii() and folded[:1].isalpha():
        pattern = r"(?<![a-z])" + pattern
    if folded[-1:].isdigit():
        pattern += r"(?!\d)(?!\.\d)"
    elif folded[-1:].isascii() and folded[-1:].isalpha():
        pattern += r"(?:e?s)?(?![a-z])"
    return re.compile(pattern)


def _within(text: str, value: str) -> bool:
    return normalise(value) in normalise(text)
