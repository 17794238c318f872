"""The question and answer banks that ship with the package, read once and checked."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from identity_kit.conversation import describe
from identity_kit.errors import BadInput
from identity_kit.resources import resource
from identity_kit.text import TextLanguage
from identity_kit.ui import tr


class Question(BaseModel):
    """A question of a bank: its text with slots, its facet (identity) or topic (contrast, ordinary), its register.

    `answers`: forms that fit this question alone, where it wraps the identity in a task of its own or wants it in its
    own words. `of`: whose identity the question pushes, where it says so in words that data/vendors.yaml does not know (a
    founder, a logo, a smaller firm). `before`: what the user says earlier in the talk, in order (contrast, ordinary). `reserve`: for
    data of several thousand rows, asked when those before it are used up. `last`: asked when the others are used up,
    since small models refuse it or answer with a page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    facet: str = ""
    style: str = Field(default="", alias="register")
    topic: str = ""
    answers: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    reserve: bool = False
    last: bool = False

    @property
    def group(self) -> str:
        """What the plan spreads questions over: the register, or the topic."""
        return self.style or self.topic


@functools.cache
def questions(bank: str, language: TextLanguage) -> tuple[Question, ...]:
    """The questions of a bank: "identity", "contrast" or "ordinary".

    Raises:
        BadInput: the bank is missing or a line is wrong, with file and line.
    """
    path = resource("data", "questions", f"{bank}.{language}.jsonl")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(Question.model_validate_json(line))
        except ValidationError as error:
            raise BadInput(describe(error), where=f"{path}:{number}") from None
    return tuple(found)


@dataclass(frozen=True)
class Answers:
    """The answer forms of one language: statements of identity, closing offers, forms by facet and shape, those of them
    that most answers take (`lead`), and the forms of questions and answers about the owner's service."""

    identity: tuple[str, ...]
    identity_named: tuple[str, ...]
    offer: tuple[str, ...]
    facets: Mapping[str, Mapping[str, tuple[str, ...]]]
    lead: Mapping[str, Mapping[str, tuple[str, ...]]]
    domain: Mapping[str, tuple[str, ...]]


@functools.cache
def answers(language: TextLanguage) -> Answers:
    """The answer bank of a language.

    Raises:
        BadInput: the bank is missing or has not the expected form, with the file.
    """
    path = resource("data", "answers", f"{language}.yaml")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        facets, lead = (_by_shape(value[key]) for key in ("facets", "lead"))
        domain = {key: tuple(map(str, forms)) for key, forms in value["domain"].items()}
        pools = {key: tuple(map(str, value[key])) for key in ("identity", "identity_named", "offer")}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(tr(f"答案库格式不对：{error}", f"not a bank of answers: {error}"), where=str(path)) from None
    return Answers(**pools, facets=facets, lead=lead, domain=domain)


def _by_shape(facets: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        facet: {shape: tuple(map(str, forms)) for shape, forms in shapes.items()} for facet, shapes in facets.items()
    }


_SLOT = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def fill(text: str, values: Mapping[str, str]) -> str | None:
    """The text with its `{{slots}}` replaced, or None where one of them has no value."""
    if any(not values.get(name) for name in _SLOT.findall(text)):
        return None
    return _SLOT.sub(lambda found: values[found[1]], text)


def slots(text: str) -> frozenset[str]:
    """The names of the `{{slots}}` in a text."""
    return frozenset(_SLOT.findall(text))


def bank_files() -> tuple[Path, ...]:
    """Every file that the plan reads, for its fingerprint."""
    names = [
        ("questions", f"{bank}.{lang}.jsonl") for bank in ("identity", "contrast", "ordinary") for lang in ("zh", "en")
    ]
    return tuple(resource("data", *name) for name in [*names, ("answers", "zh.yaml"), ("answers", "en.yaml")])
