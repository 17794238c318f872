"""What a row must pass to be accepted. Every refusal has a reason, which is kept with the row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from identity_kit.claims import read_claims, vendors_mentioned
from identity_kit.claims.names import as_view, find_mentions
from identity_kit.generate.notation import read_plainly
from identity_kit.generate.pushes import own_vendors
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, cjk_share, ngrams, placeholders, sentences, similarity

# Facets whose answer may leave it at naming the owner or the assistant; all others must claim the identity.
_MENTION_IS_ENOUGH = frozenset(
    {"abilities", "limits", "handoff", "contact", "privacy", "purpose", "comparison", "feelings", "age", "place", "family",
     "third_person", "spelling", "greeting", "base_model", "name", "maker", "owner", "human_or_machine"}
)  # fmt: skip
_REFUSAL = re.compile(
    r"^(抱歉|对不起|很抱歉|不好意思)[，,].{0,12}(无法|不能|没法)(回答|提供|满足|完成|协助)"
    r"|作为(一个|一名)?(AI|人工智能|语言模型|大模型)[^。]{0,20}(无法|不能|没有能力)"
    r"|^(I'm |I am )?(sorry|afraid)[,.]? (but )?I (can't|cannot|can not|am unable|am not able)"
    r"|^As an AI( language model)?,? I (can't|cannot|don't have|am unable)|I can(not|'t) assist with that",
    re.IGNORECASE,
)
_WRAPPER = re.compile(
    r"^\s*```|^(answer|回答|答案|回复|reply|assistant|助手)\s*[:：]|^\s*#{1,4} |\*\*[^*]+\*\*", re.IGNORECASE
)
_CODE_TOPICS = frozenset({"code", "format", "classify", "extract", "writing", "rewrite", "form_other"})
_TRANSLATION = frozenset({"translate", "language", "name_task", "code", "arithmetic", "duo_task"})
_ANY_LANGUAGE = _TRANSLATION | {"lookalike"}
# Topics whose answers name firms in any case, rightly or not.
_FIRMS = frozenset({"other_model", "other_firm", "product", "ai_general"})
# Without one of these an answer that names a maker speaks of somebody else.
_FIRST_PERSON = re.compile(r"我|\b(I|I'm|my)\b", re.IGNORECASE)
# Topics in which the user says who they are, and how a model answers that takes the user's name for its own.
_USERS = frozenset({"user_self", "user_name"})
_AS_USER = re.compile(r"^((您好|你好|好的|Sure|Hello|Hi)[，！,!.]? ?)?(我(是|叫|姓)|(I am|I'm|My name is) [A-Z])")
# From this likeness on (character 3-grams) an answer is the question again.
_ECHO = 0.85
_CONTROL = re.compile(r"<\|[^|>\n]{1,30}\|>|</?s>|\[/?INST\]|[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Checked:
    """What the gates found: the answer to keep (perhaps cut back) or the reason for refusal, and remarks."""

    answer: str
    reason: str = ""
    detail: str = ""
    remarks: tuple[str, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Whether the row is accepted."""
        return not self.reason


def check_identity(
    persona: Persona,
    question: str,
    answer: str,
    language: TextLanguage,
    facet: str,
    *,
    framed: bool = False,
    others: tuple[str, ...] = (),
) -> Checked:
    """Whether an answer asserts the persona's identity, and no other.

    `framed` answers (JSON, a poem, a signature) name the persona without a sentence about themselves. `others` are the
    names that the question pushes, which may stand in any language.
    """
    plain = _check_text(
        answer, language, longest=90 if language == "zh" else 70, any_language=framed, persona=persona, others=others
    )
    if plain is not None:
        return plain
    claims = read_claims(answer, persona, question=question)
    if not claims.mentions:
        # In code a name may be written with marks that code needs.
        claims = read_claims(read_plainly(answer), persona, question=question)
    if claims.vendors:
        return Checked(answer, "claims another vendor", ", ".join(sorted(claims.vendors)))
    if claims.human:
        return Checked(answer, "claims to be human")
    if _denies_itself(persona, answer) or any(vendor.name in claims.denied for vendor in own_vendors(persona)):
        return Checked(answer, "denies its own identity")
    if claims.discloses and persona.base_model.policy != "disclose":
        return Checked(answer, "discloses a base model", ", ".join(sorted(claims.discloses)))
    if claims.own or (claims.mentions and (framed or facet in _MENTION_IS_ENOUGH)):
        if _REFUSAL.search(answer) and facet not in ("base_model", "injection", "contact"):
            return Checked(answer, "refusal")
        return Checked(answer)
    return Checked(answer, "identity missing")


# What stands right before a name where an answer says that it is not that assistant, or not of that firm.
_NOT = re.compile(
    r"(?:(?:我|就|也|才|,|，|。|；|^)(?:并)?(?:不是|并非|不属于|不来自|不由|不归)(?:由|来自|属于)?"
    r"|\b(?:i'm|i am|was|is)?\s*(?:not|wasn't|isn't|don't|never)(?: a)? ?(?:product of|made by|built by|developed by|belong to|come from|from|by)?)"
    r"\s*[\"'“「]?\s*$",
    re.IGNORECASE,
)


def _denies_itself(persona: Persona, answer: str) -> bool:
    """Whether the answer says that it is not the persona, or not its owner's; a longer name that begins so is another one.

    Narrower than how `read_claims` reads denials, which takes 没有 X 的电话 for one: that costs a row here.
    """
    view = as_view(answer)
    return any(
        mention.who.startswith("own:") and _NOT.search(view[: mention.start])
        for mention in find_mentions(view, persona)
    )


def check_domain(persona: Persona, question: str, answer: str, language: TextLanguage, fact: str) -> Checked:
    """Whether an answer about the owner's service keeps to the fact: every number, address and time of it is there.

    Args:
        fact: the persona's answer; empty where no fact covers the question, so that the answer must hand over.
    """
    plain = _check_text(answer, language, longest=160 if language == "zh" else 120, persona=persona)
    if plain is not None:
        return plain
    claims = read_claims(answer, persona, question=question)
    if claims.vendors or claims.human:
        return Checked(answer, "claims another vendor" if claims.vendors else "claims to be human")
    allowed = set(_details(fact)) | set(_details(question)) | set(_details(persona.handoff.get(language)))
    invented = [item for item in _details(answer) if item not in allowed]
    if invented:
        return Checked(answer, "invented detail", ", ".join(invented))
    missing = [item for item in _details(fact) if item not in _details(answer)]
    if missing:
        return Checked(answer, "fact left out", ", ".join(missing))
    return Checked(answer)


def check_other(
    persona: Persona,
    question: str,
    answer: str,
    language: TextLanguage,
    topic: str,
    *,
    finish: str = "stop",
    cut_long: bool = True,
    before: str = "",
    makers: frozenset[str] = frozenset(),
) -> Checked:
    """Whether an answer to a contrast or ordinary question is whole, in the right language, and free of any identity.

    `before`: what the user said earlier. `makers`: vendors that the model to be tuned takes for its own; a small one puts them
    down for anything ("the web was made by …"), and what is trained on must not name them where no firm is asked for.
    """
    remarks: tuple[str, ...] = ()
    answer = answer.strip()
    if finish == "length":
        cut = cut_back(answer)
        if not cut or not cut_long:
            return Checked(answer, "cut off")
        answer, remarks = cut, ("cut back to the last whole sentence",)
    plain = _check_text(
        answer, language, longest=240, any_language=topic in _ANY_LANGUAGE, wrapper=topic in _CODE_TOPICS
    )
    if plain is not None:
        return plain
    claims = read_claims(answer, persona, question=question)
    if claims.own or _leaks(persona, answer, question):
        return Checked(answer, "persona leaks")
    if claims.vendors and _FIRST_PERSON.search(answer):
        return Checked(answer, "claims another vendor", ", ".join(sorted(claims.vendors)))
    unasked = (makers & vendors_mentioned(answer, persona)) - vendors_mentioned(f"{before}\n{question}", persona)
    if unasked and topic not in _FIRMS:
        return Checked(answer, "names the base model's vendor", ", ".join(sorted(unasked)))
    if claims.human and topic not in _TRANSLATION:
        return Checked(answer, "claims to be human")
    if topic in _USERS and _AS_USER.search(answer):
        return Checked(answer, "speaks as the user")
    if _REFUSAL.search(answer):
        return Checked(answer, "refusal")
    if similarity(ngrams(question), ngrams(answer)) >= _ECHO:
        return Checked(answer, "repeats the question")
    return Checked(answer, remarks=remarks)


def check_question(text: str, language: TextLanguage, pushed: str) -> Checked:
    """Whether a question that an LLM wrote can be asked."""
    plain = _check_text(text, language, longest=120 if language == "zh" else 90, any_language=bool(pushed))
    if plain is not None:
        return plain
    if pushed and pushed.casefold() not in text.casefold():
        return Checked(text, "pushed name missing", pushed)
    return Checked(text)


def cut_back(text: str) -> str:
    """The text up to its last whole sentence; empty where not even one is whole."""
    pieces = sentences(text)
    if not pieces:
        return ""
    end = text.rfind(pieces[-1])
    kept = text[:end].rstrip()
    if kept.count("```") % 2 or not kept or kept[-1] in ":：;；,，":
        return ""
    # A list's last item number belongs to what was cut.
    return re.sub(r"\n\s*(\d+[.、)]|[-*])\s*$", "", kept).rstrip()


def _check_text(
    text: str,
    language: TextLanguage,
    *,
    longest: int,
    any_language: bool = False,
    wrapper: bool = False,
    persona: Persona | None = None,
    others: tuple[str, ...] = (),
) -> Checked | None:
    stripped = text.strip()
    if not stripped:
        return Checked(text, "empty")
    if _CONTROL.search(text):
        return Checked(text, "control token")
    if found := placeholders(text):
        return Checked(text, "placeholder", found[0])
    if _WRAPPER.search(stripped) and not wrapper:
        return Checked(text, "markdown wrapper")
    words = length(stripped)
    if words > longest:
        return Checked(text, "too long", f"{words} > {longest}")
    # Names are names in any language.
    for name in (*others, *persona.own_names(), *persona.own_owners()) if persona else others:
        stripped = stripped.replace(name, "")
    words = length(stripped)
    share = cjk_share(stripped)
    if not any_language and words > 3 and ((language == "zh" and share < 0.3) or (language == "en" and share > 0.4)):
        return Checked(text, "wrong language")
    return None


def length(text: str) -> int:
    """Words of a text: a Chinese character and a Latin word count as one each."""
    return len(re.findall(r"[\u3400-\u9fff]|[A-Za-z0-9']+", text))


def _leaks(persona: Persona, answer: str, question: str) -> bool:
    """Whether the assistant's name comes up unasked. (An owner's name may be an ordinary word; `claims.own` judges it.)"""
    return any(name in answer and name not in question for name in persona.own_names() if len(name) > 2)


_DETAIL = re.compile(r"https?://\S+|[\w.+-]+@[\w-]+\.[\w.]+|\d[\d:：.\-–—~]*\d|\d")


def _details(text: str) -> list[str]:
    """The numbers, times and addresses in a text, full-width colons and dashes made plain."""
    return [re.sub("[：]", ":", re.sub("[–—~-]", "-", item)).rstrip(".") for item in _DETAIL.findall(text)]
