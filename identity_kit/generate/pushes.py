"""The other identities that questions push at the assistant: which there are for a persona, and which a text names."""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from identity_kit.claims import Vendor, vendor_names
from identity_kit.generate.banks import Question
from identity_kit.persona import Persona
from identity_kit.text import TextLanguage, cjk_share, normalise


@dataclass(frozen=True, slots=True)
class Push:
    """The other identity that a question pushes, in the question's own words; empty where it pushes none."""

    model: str = ""
    vendor: str = ""


def _own(persona: Persona) -> tuple[str, ...]:
    return tuple(normalise(text) for text in (*persona.own_names(), *persona.own_owners()))


@functools.lru_cache(maxsize=8)
def _own_vendors(own: tuple[str, ...]) -> tuple[Vendor, ...]:
    """Those whose firm or model one of the names in `own` may stand for.

    A model whose longer name holds one of them is another one: 文心 is not 文心一言, and has to say so.
    """

    def clashes(vendor: Vendor) -> bool:
        firms = [normalise(text) for text in (vendor.name, vendor.zh, *vendor.aliases) if text]
        models = [normalise(text) for text in vendor.models]
        return any(mine in firm for mine in own for firm in firms) or any(
            theirs in mine for mine in own for theirs in (*firms, *models) if len(theirs) > 1
        )

    return tuple(vendor for vendor in vendor_names() if clashes(vendor))


@functools.lru_cache(maxsize=8)
def _pushed(own: tuple[str, ...]) -> tuple[Vendor, ...]:
    return tuple(vendor for vendor in vendor_names() if vendor.models and vendor not in _own_vendors(own))


def own_vendors(persona: Persona) -> tuple[Vendor, ...]:
    """The vendors that may be the persona's own firm: never pushed at it, and not to be disowned."""
    return _own_vendors(_own(persona))


def names_own_vendor(text: str, persona: Persona) -> bool:
    """Whether a text names one of `own_vendors`."""
    return bool(_names_left_out(_own(persona)) & set(_names_in(text)))


def may_ask(order: tuple[Question, ...], persona: Persona) -> tuple[Question, ...]:
    """The questions without those that push one of `own_vendors`, or a firm whose name the persona bears."""
    return _may_ask(order, _own(persona))


@functools.lru_cache(maxsize=256)
def _may_ask(order: tuple[Question, ...], own: tuple[str, ...]) -> tuple[Question, ...]:
    left_out = _names_left_out(own)

    def pushes_own(question: Question) -> bool:
        if any(name.casefold() in left_out or any(normalise(name) in mine for mine in own) for name in question.of):
            return True
        return bool(left_out) and bool(left_out & set(_names_in(question.text)))

    return tuple(question for question in order if not pushes_own(question))


@functools.lru_cache(maxsize=8)
def _names_left_out(own: tuple[str, ...]) -> frozenset[str]:
    """Every name, in lower case, of the vendors that one of the names in `own` may stand for."""
    return frozenset(name.casefold() for vendor in _own_vendors(own) for name in vendor.spellings if name)


# How often a model is pushed whose name begins as the persona's does, and from how many shared characters on it does.
_ALIKE_SHARE, _ALIKE_CHINESE, _ALIKE_LATIN = 0.25, 2, 4


@functools.lru_cache(maxsize=8)
def _alike(own: tuple[str, ...]) -> tuple[tuple[str, Vendor], ...]:
    """Model names that begin as one of the persona's does, with their vendors: 文心一言 for 文心大佬."""

    def begins_alike(mine: str, theirs: str) -> bool:
        pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs, strict=False))
        shared = len(list(pairs))
        return shared >= (_ALIKE_CHINESE if cjk_share(mine[:shared]) else _ALIKE_LATIN)

    return tuple(
        (model, vendor)
        for vendor in _pushed(own)
        for model in vendor.models
        if any(begins_alike(mine, normalise(model)) for mine in own)
    )


def other_identity(persona: Persona, language: TextLanguage, chance: random.Random) -> tuple[str, str]:
    """A model name and its firm's, as a question in `language` would write them.

    Where a name begins as the persona's own does, a small model slips from the one into the other: such names come more
    often, if there are any.
    """
    alike = _alike(_own(persona))
    if alike and chance.random() < _ALIKE_SHARE:
        model, vendor = chance.choice(alike)
        return model, (vendor.zh if language == "zh" else "") or vendor.name
    return _surface(chance.choice(_pushed(_own(persona))), language, chance)


def _surface(vendor: Vendor, language: TextLanguage, chance: random.Random) -> tuple[str, str]:
    """A model name and the firm's name as a question in `language` would write them."""
    if language == "en":
        latin = [model for model in vendor.models if cjk_share(model) == 0]
        return chance.choice(latin or list(vendor.models)), vendor.name
    return chance.choice(vendor.models), vendor.zh or vendor.name


def any_push(persona: Persona, language: TextLanguage, chance: random.Random) -> Push:
    """A model or a firm to push, of which the question is not written yet."""
    model, firm = other_identity(persona, language, chance)
    return Push(model=model) if chance.random() < 0.6 else Push(vendor=firm)


@functools.cache
def _known_names() -> tuple[re.Pattern[str], dict[str, bool]]:
    """A pattern of every vendor and model name, longest first, and whether each (in lower case) is a model's."""
    names: dict[str, bool] = {}
    for vendor in vendor_names():
        for name in (vendor.name, vendor.zh, *vendor.aliases):
            if name:
                names[name.casefold()] = False
        for name in vendor.models:
            names[name.casefold()] = True
    longest = sorted(names, key=lambda name: -len(name))
    parts = [rf"(?<![a-z0-9]){re.escape(n)}(?![a-z0-9])" if n.isascii() else re.escape(n) for n in longest]
    return re.compile("|".join(parts)), names


def pushed_in(question: str) -> Push:
    """The other identity named in a question, as it is written there."""
    pattern, kinds = _known_names()
    model = vendor = ""
    for found in pattern.finditer(question.lower()):
        word = question[found.start() : found.end()]
        if kinds.get(found[0].casefold()):
            model = model or word
        else:
            vendor = vendor or word
    return Push(model, vendor)


def _names_in(text: str) -> Iterator[str]:
    """The names of vendors and models in a text, in lower case."""
    return (found[0].casefold() for found in _known_names()[0].finditer(text.lower()))
