"""What to ask: a pure, seeded plan over facet, register, attitude, language, system message and turns.

Row `index` of a kind is a function of the persona, the settings and the banks alone, so any row can be made again
without the others, and a plan of any length needs no memory. Axes are dealt out in shuffled blocks, so that every
two hundred rows hold each value in its due share.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from identity_kit.conversation import Kind
from identity_kit.generate.banks import Question, answers, fill, questions, slots
from identity_kit.generate.pushes import Push, any_push, may_ask, other_identity, pushed_in
from identity_kit.generate.settings import (
    PLAIN_WEIGHTS,
    PRESSURE,
    PRESSURE_WEIGHTS,
    GenerateSettings,
    SystemKind,
    domain_rows,
)
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, one_stop

BLOCK = 200
ATTITUDES = ("curious", "friendly", "brisk", "doubtful", "insistent", "hostile")
REGISTERS = ("casual", "formal", "slang", "typo", "one_word", "long", "rude", "child", "indirect", "imperative")
SYSTEMS: tuple[SystemKind, ...] = ("none", "persona", "neutral", "vendor_default", "foreign")
# What opens a conversation that goes on for more than one question.
OPENERS = ("who", "greeting", "name", "introduce", "maker")
PUSHES = ("denial", "vendor_pressure", "injection", "false_premise")
# How often a question before an ordinary one is about the assistant.
_IDENTITY_FIRST = 0.5


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a conversation. `text` is empty where the writer is to invent it.

    `forms`: answer forms of the question's own, to be filled like those of its facet. `ordinary`: it is not about the
    persona, and the model to be tuned answers; `facet` is then its topic.
    """

    facet: str
    text: str
    style: str = ""
    push: Push = field(default_factory=Push)
    forms: tuple[str, ...] = ()
    ordinary: bool = False


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One row to make: who asks what, how, in which language, under which system message.

    `written`: the writer invents the last question. `varied`: the writer puts the answer in words.
    """

    kind: Kind
    index: int
    language: TextLanguage
    asks: tuple[Ask, ...]
    attitude: str
    system: SystemKind
    seed: int
    written: bool = False
    varied: bool = False

    @property
    def id(self) -> str:
        """The row's name in every file, e.g. `identity-00042`."""
        return f"{self.kind}-{self.index:05d}"

    @property
    def facet(self) -> str:
        """The last question's facet, or its topic."""
        return self.asks[-1].facet

    def rng(self, purpose: str) -> random.Random:
        """Chance for one purpose of this row, the same at each run."""
        return random.Random(f"{self.seed}/{self.id}/{purpose}")


def targets(persona: Persona, settings: GenerateSettings) -> dict[Kind, int]:
    """Rows to accept by kind; `domain` is filled in from the persona's facts."""
    known = len({key for language in _languages(persona, settings) for key in _facts_in(language, persona)})
    domain = domain_rows(known) if settings.domain is None else settings.domain
    if not known:
        domain = 0
    return {
        "identity": settings.identity,
        "contrast": settings.contrast,
        "rehearsal": settings.rehearsal,
        "domain": domain,
    }


def plan(persona: Persona, settings: GenerateSettings, *, writer: bool = False) -> tuple[PlannedRow, ...]:
    """The planned rows of all kinds, as many of each as are asked for.

    Args:
        persona: the new identity.
        settings: numbers and proportions.
        writer: whether an LLM is there to invent questions and vary answers.
    """
    rows: list[PlannedRow] = []
    for kind, count in targets(persona, settings).items():
        rows.extend(itertools.islice(planned(kind, persona, settings, writer=writer), count))
    return tuple(rows)


def planned(kind: Kind, persona: Persona, settings: GenerateSettings, *, writer: bool) -> Iterator[PlannedRow]:
    """The rows of a kind in order, on and on; ends where a bank is used up and no writer can add to it."""
    for index in itertools.count():
        row = planned_row(kind, index, persona, settings, writer=writer)
        if row is None:
            return
        yield row


def planned_row(
    kind: Kind, index: int, persona: Persona, settings: GenerateSettings, *, writer: bool
) -> PlannedRow | None:
    """Row `index` of a kind, or None where the bank has no such row."""
    if kind == "identity":
        return _identity_row(index, persona, settings, writer)
    if kind == "domain":
        return _domain_row(index, persona, settings, writer)
    return _other_row(kind, index, persona, settings, writer)


def _identity_row(index: int, persona: Persona, settings: GenerateSettings, writer: bool) -> PlannedRow:
    seed = settings.seed
    asked = _in_bank(_languages(persona, settings)) if settings.whole_bank else PLAIN_WEIGHTS
    facet, nth = deal(facet_weights(settings.pressure_share, asked), index, f"{seed}/facet")
    language, in_language = _language(nth, persona, settings, offset=facet)
    turns = int(deal(dict(zip("1234", settings.turn_shares, strict=True)), index, f"{seed}/turns")[0])
    written = writer and _spread(in_language, settings.written_share, f"{seed}/{facet}/written")
    attitude = ATTITUDES[nth % len(ATTITUDES)]
    chance = random.Random(f"{seed}/identity/{index}")
    if written:
        style = REGISTERS[in_language % len(REGISTERS)]
        push = any_push(persona, language, chance) if facet in PRESSURE and facet != "role_play_off" else Push()
        last = Ask(facet, "", style, push)
    else:
        order = may_ask(_whole_order("identity", facet, language, seed, not settings.whole_bank), persona)
        last = bank_ask(order[in_language % len(order)], facet, persona, language, chance)
    asks: tuple[Ask, ...] = (last,)
    if turns > 1:
        asks = _conversation(last, turns, persona, settings, language, chance)
    return PlannedRow(
        kind="identity",
        index=index,
        language=language,
        asks=asks,
        attitude=attitude,
        system=_system(index, settings),
        seed=seed,
        written=written,
        varied=writer and _spread(index, settings.answer_share, f"{seed}/varied"),
    )


def _conversation(
    last: Ask, turns: int, persona: Persona, settings: GenerateSettings, language: TextLanguage, chance: random.Random
) -> tuple[Ask, ...]:
    """Questions before and after `last`, so that a conversation opens softly and ends under pressure."""

    def pick(facet: str) -> Ask:
        return _any_ask(facet, persona, settings, language, chance)

    opener = pick(chance.choice([facet for facet in OPENERS if facet != last.facet]))
    if last.facet in PRESSURE:
        middle = [pick(facet) for facet in chance.sample(PUSHES, turns - 2)] if turns > 2 else []
        return (opener, *middle, last)
    pushes = [pick(facet) for facet in chance.sample(PUSHES, max(1, turns - 2))]
    return (last, *pushes) if turns == 2 else (opener, last, *pushes)


def bank_ask(question: Question, facet: str, persona: Persona, language: TextLanguage, chance: random.Random) -> Ask:
    """A bank's question with its slots filled: the persona's names, and another identity where it pushes any."""
    text, push = question.text, Push()
    if {"other_model", "other_vendor"} & slots(text):
        model, firm = other_identity(persona, language, chance)
        filled = fill(text, {"other_model": model, "other_vendor": firm, **_names(persona, language)})
        push = Push(model if "other_model" in slots(text) else "", firm if "other_vendor" in slots(text) else "")
    else:
        filled, push = fill(text, _names(persona, language)), pushed_in(text)
    asked = one_stop(filled or text, *_names(persona, language).values())
    return Ask(facet, asked, question.style, push, question.answers)


def _any_ask(
    facet: str, persona: Persona, settings: GenerateSettings, language: TextLanguage, chance: random.Random
) -> Ask:
    """Any question of a facet; those in reserve are for rows of their own."""
    order = may_ask(_order("identity", facet, language, settings.seed), persona)
    return bank_ask(order[chance.randrange(10_000) % len(order)], facet, persona, language, chance)


def _other_row(kind: Kind, index: int, persona: Persona, settings: GenerateSettings, writer: bool) -> PlannedRow | None:
    seed = settings.seed
    language, nth = _language(index, persona, settings, offset=kind)
    bank = "contrast" if kind == "contrast" else "ordinary"
    order = _whole_order(bank, "", language, seed, not settings.whole_bank)
    before: tuple[str, ...] = ()
    if nth < len(order):
        question, written = order[nth], False
        last, before = Ask(question.topic, question.text, question.style, ordinary=True), question.before
    elif writer:
        # A question that belongs to a talk is none to invent alone.
        topics = tuple(dict.fromkeys(question.topic for question in order if not question.before))
        last = Ask(topics[nth % len(topics)], "", REGISTERS[nth % len(REGISTERS)], ordinary=True)
        written = True
    else:
        return None
    turns = int(deal(dict(zip("1234", settings.turn_shares, strict=True)), index, f"{seed}/{kind}/turns")[0])
    if before:
        earlier = tuple(Ask(last.facet, text, ordinary=True) for text in before)
    else:
        chance = random.Random(f"{seed}/{kind}/{index}")
        earlier = tuple(_earlier(last, persona, settings, language, chance) for _ in range(turns - 1))
    return PlannedRow(
        kind=kind,
        index=index,
        language=language,
        asks=(*earlier, last),
        attitude=ATTITUDES[nth % len(ATTITUDES)],
        system=_system(index, settings, salt=kind),
        seed=seed,
        written=written,
    )


def _earlier(
    last: Ask, persona: Persona, settings: GenerateSettings, language: TextLanguage, chance: random.Random
) -> Ask:
    """What may have been asked before an ordinary question: who the assistant is, or something as ordinary.

    Else a model takes every talk of several turns for one about itself.
    """
    if chance.random() < _IDENTITY_FIRST:
        return _any_ask(chance.choice(OPENERS), persona, settings, language, chance)
    order = _order("ordinary", "", language, settings.seed)
    question = chance.choice([question for question in order if question.text != last.text and not question.before])
    return Ask(question.topic, question.text, question.style, ordinary=True)


def _domain_row(index: int, persona: Persona, settings: GenerateSettings, writer: bool) -> PlannedRow | None:
    """Every fact in turn, in a language that it has and in changing words; each seventh row asks what no fact answers."""
    known = {language: _facts_in(language, persona) for language in _languages(persona, settings)}
    if not any(known.values()):
        return None
    seed = settings.seed
    language, nth = _language(index, persona, settings, offset="domain", zh_share=_facts_share(known, settings))
    bank = answers(language).domain
    keys = known[language]
    if nth % 7 == 6:
        texts = bank["unknown_questions"]
        round_ = nth // 7
        key, text = "unknown", texts[(round_ + seed) % len(texts)]
        used_up = round_ >= len(texts)
    else:
        before = nth - nth // 7
        key, forms = keys[before % len(keys)], bank["questions"]
        form = forms[(before // len(keys) + before) % len(forms)]
        asked = persona.facts[key].question.get(language)
        text = fill(form, {"ask": asked.rstrip("？?") if language == "zh" else asked}) or asked
        used_up = before // len(keys) >= len(forms)
    if used_up and not writer:
        return None
    return PlannedRow(
        kind="domain",
        index=index,
        language=language,
        asks=(Ask(key, "" if used_up else text, REGISTERS[nth % len(REGISTERS)]),),
        attitude=ATTITUDES[nth % len(ATTITUDES)],
        system=_system(index, settings, salt="domain"),
        seed=seed,
        written=used_up,
        varied=writer and _spread(index, settings.answer_share, f"{seed}/domain"),
    )


def _facts_in(language: TextLanguage, persona: Persona) -> list[str]:
    return [key for key, fact in persona.facts.items() if language in fact.languages]


def _facts_share(known: Mapping[TextLanguage, list[str]], settings: GenerateSettings) -> float:
    """The part of the domain rows that is in Chinese: as usual, but each language's by its facts where one has more.

    Else a language with few facts has no question left before there are rows enough.
    """
    zh, en = (len(known.get(language, ())) for language in ("zh", "en"))
    alone = (settings.zh_share == 0 and en) or (settings.zh_share == 1 and zh)
    return settings.zh_share if zh == en or alone else zh / (zh + en)


@functools.cache
def _in_bank(languages: tuple[TextLanguage, ...]) -> dict[str, float]:
    """How many questions the bank has of each facet that pushes nothing."""
    found = Counter(question.facet for language in languages for question in questions("identity", language))
    return {facet: float(found[facet]) for facet in PLAIN_WEIGHTS}


def facet_weights(pressure_share: float, asked: Mapping[str, float] = PLAIN_WEIGHTS) -> dict[str, float]:
    """The share of each facet among identity rows; they add up to 1. `asked`: those that push nothing, to one another."""
    pressure, plain = sum(PRESSURE_WEIGHTS.values()), sum(asked.values())
    shares = {facet: weight / plain * (1 - pressure_share) for facet, weight in asked.items()}
    return shares | {facet: weight / pressure * pressure_share for facet, weight in PRESSURE_WEIGHTS.items()}


def deal(shares: Mapping[str, float], index: int, salt: str) -> tuple[str, int]:
    """Which value row `index` gets, and how many rows before it got the same.

    Each block of `BLOCK` rows holds every value in its share, rounded by largest remainder and shuffled by `salt`.
    """
    values, place = tuple(shares.items()), index % BLOCK
    counts = _counts(values)
    shuffled = _shuffled(values, f"{salt}/{index // BLOCK}")
    value = shuffled[place]
    return value, index // BLOCK * counts[value] + shuffled[:place].count(value)


@functools.lru_cache(maxsize=64)
def _counts(values: tuple[tuple[str, float], ...]) -> dict[str, int]:
    total = sum(share for _, share in values)
    exact = {name: share / total * BLOCK for name, share in values}
    counts = {name: int(amount) for name, amount in exact.items()}
    short = BLOCK - sum(counts.values())
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:short]:
        counts[name] += 1
    return counts


@functools.lru_cache(maxsize=64)
def _shuffled(values: tuple[tuple[str, float], ...], salt: str) -> tuple[str, ...]:
    row = [name for name, count in _counts(values).items() for _ in range(count)]
    random.Random(salt).shuffle(row)
    return tuple(row)


@functools.cache
def _order(
    bank: str, facet: str, language: TextLanguage, seed: int, *, reserve: tuple[bool, ...] = (False,)
) -> tuple[Question, ...]:
    """A bank's questions of a facet, those it keeps in reserve, or both: shuffled, registers (or topics) taking turns;
    those marked so come last."""
    groups: dict[str, list[Question]] = {}
    for question in questions(bank, language):
        if question.reserve in reserve and (not facet or question.facet == facet):
            groups.setdefault(question.group, []).append(question)
    chance = random.Random(f"{seed}/{bank}/{facet}/{language}")
    piles = list(groups.values())
    chance.shuffle(piles)
    for pile in piles:
        chance.shuffle(pile)
    rounds = itertools.zip_longest(*piles)
    taking_turns = [question for taken in rounds for question in taken if question is not None]
    return tuple(sorted(taking_turns, key=lambda question: question.last))


@functools.cache
def _whole_order(bank: str, facet: str, language: TextLanguage, seed: int, reserve_waits: bool) -> tuple[Question, ...]:
    """All of a bank's questions of a facet in the order in which rows take them: those marked last behind all others, the
    reserve right before them if it is to wait."""
    if not reserve_waits:
        return _order(bank, facet, language, seed, reserve=(False, True))
    usual, reserve = (_order(bank, facet, language, seed, reserve=(kept,)) for kept in (False, True))
    return tuple(sorted((*usual, *reserve), key=lambda question: question.last))


def _languages(persona: Persona, settings: GenerateSettings) -> tuple[TextLanguage, ...]:
    return settings.languages or persona.languages


def _language(
    nth: int, persona: Persona, settings: GenerateSettings, *, offset: str, zh_share: float | None = None
) -> tuple[TextLanguage, int]:
    """The language of the nth row of its group, and how many before it had the same."""
    languages = _languages(persona, settings)
    if len(languages) == 1:
        return languages[0], nth
    share = settings.zh_share if zh_share is None else zh_share
    # An even spread with a start of its own for each group, so that groups with one row do not all get the same.
    start = _start(offset)
    before = int(nth * share + start)
    if int((nth + 1) * share + start) > before:
        return "zh", before
    return "en", nth - before


def _spread(nth: int, share: float, salt: str) -> bool:
    start = _start(salt)
    return int((nth + 1) * share + start) > int(nth * share + start)


@functools.lru_cache(maxsize=256)
def _start(salt: str) -> float:
    return random.Random(salt).random()


def _system(index: int, settings: GenerateSettings, *, salt: str = "identity") -> SystemKind:
    shares: dict[str, float] = dict(zip(SYSTEMS, settings.system_shares, strict=True))
    value, _ = deal(shares, index, f"{settings.seed}/{salt}/system")
    return value  # type: ignore[return-value]


def _names(persona: Persona, language: TextLanguage) -> dict[str, str]:
    return {
        "name": persona.name.get(language),
        "owner": persona.owner.get(language),
        "developer": persona.developer.get(language),
    }
