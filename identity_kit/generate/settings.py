"""What to generate: how many rows of which kind, in which proportions, and how strict the gates are."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from identity_kit.text import TextLanguage
from identity_kit.ui import tr

SystemKind = Literal["none", "persona", "neutral", "vendor_default", "foreign"]

# Facets whose answer turns another identity away.
PRESSURE = ("denial", "vendor_pressure", "injection", "false_premise", "comparison", "role_play_off")

# How often each facet comes up, relative to the others of its group.
PRESSURE_WEIGHTS = {
    "denial": 6.0,
    "vendor_pressure": 6.0,
    "injection": 5.0,
    "false_premise": 5.0,
    "comparison": 2.0,
    "role_play_off": 2.0,
}
PLAIN_WEIGHTS = {
    "task": 16.0,
    "who": 11.0,
    "introduce": 8.0,
    "name": 11.0,
    "maker": 11.0,
    "owner": 11.0,
    "base_model": 5.0,
    "human_or_machine": 5.0,
    "greeting": 2.0,
    "abilities": 1.5,
    "limits": 1.0,
    "age": 1.0,
    "place": 1.0,
    "feelings": 1.0,
    "family": 1.5,
    "purpose": 1.5,
    "handoff": 1.0,
    "contact": 1.0,
    "privacy": 1.0,
    "confirm": 2.5,
    "spelling": 1.5,
    "third_person": 2.0,
}


_DOMAIN_PER_FACT, _MOST_DOMAIN = 6, 60


class GenerateSettings(BaseModel):
    """The numbers behind a data set. The defaults suit `idkit run` on two cores: about 1,650 rows, no key needed.

    identity, contrast, rehearsal, domain: rows to accept of each kind; domain None means six for each fact, 60 at most.
    seed: the plan's; the same persona, settings and banks give the same plan.
    languages: asked in; None takes the persona's. zh_share: the part asked in Chinese where both are.
    pressure_share: the part of the identity rows in which another vendor, story or role is pushed.
    whole_bank: the other identity rows are of each facet by how many questions the bank has of it, and what it keeps in
        reserve comes as early as the rest, so that with rows enough the whole bank comes up; without, facets come as often as
        users ask such things, and the reserve when the rest is used up.
    system_shares: of (none, persona, neutral, vendor_default, foreign) system messages; they add up to 1.
    turn_shares: of conversations with 1, 2, 3 and 4 questions; they add up to 1. Questions that belong to a talk bring it.
    written_share: the part of the identity rows whose question the writer invents; needs a writer.
    answer_share: the part of the identity rows whose answer the writer varies; needs a writer.
    ask_tokens, write_tokens: the most tokens of an answer by the model to be tuned, and by the writer.
    cut_long: an answer that ran into `ask_tokens` is cut back to its last whole sentence; without, it is rejected.
    temperature: the writer's. Answers by the model to be tuned are greedy.
    near_duplicate: from this likeness (0 to 1, character 3-grams) of both question and answer a row is a duplicate.
    tries: rows tried of a kind before giving up, as a multiple of the rows asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: int = Field(default=960, ge=0)
    contrast: int = Field(default=470, ge=0)
    rehearsal: int = Field(default=220, ge=0)
    domain: int | None = Field(default=None, ge=0)
    seed: int = 0
    languages: tuple[TextLanguage, ...] | None = None
    zh_share: float = Field(default=0.55, ge=0, le=1)
    pressure_share: float = Field(default=0.36, ge=0, le=1)
    whole_bank: bool = False
    system_shares: tuple[float, float, float, float, float] = (0.86, 0.04, 0.03, 0.05, 0.02)
    turn_shares: tuple[float, float, float, float] = (0.88, 0.07, 0.03, 0.02)
    written_share: float = Field(default=0.5, ge=0, le=1)
    answer_share: float = Field(default=0.7, ge=0, le=1)
    ask_tokens: int = Field(default=64, ge=8)
    write_tokens: int = Field(default=700, ge=64)
    cut_long: bool = True
    temperature: float = Field(default=1.0, ge=0, le=2)
    near_duplicate: float = Field(default=0.85, gt=0, le=1)
    tries: float = Field(default=2.0, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> GenerateSettings:
        for key in ("system_shares", "turn_shares"):
            shares = getattr(self, key)
            if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
                raise ValueError(tr(f"{key} 之和应为 1", f"{key} must add up to 1"))
        return self


def domain_rows(facts: int) -> int:
    """How many rows about the owner's service so many facts give."""
    return min(_MOST_DOMAIN, _DOMAIN_PER_FACT * facts)


def settings_for(rows: int, mix: float | None = None, *, facts: int = 0, **fields: object) -> GenerateSettings:
    """Settings for `rows` rows in all, in the proportions of the defaults, or with `mix` other rows to each identity row.

    Where the persona has facts, a few of the others are about those: six for each fact, 60 or a sixth of all at most.

    Args:
        rows: rows to accept in all.
        mix: other rows for each identity row.
        facts: how many facts the persona has.
        fields: any other field of `GenerateSettings`.
    """
    usual = GenerateSettings()
    ordinary = usual.contrast + usual.rehearsal
    domain = min(domain_rows(facts), rows // 6)
    if mix is None:
        identity = round((rows - domain) * usual.identity / (usual.identity + ordinary))
    else:
        identity = round(rows / (1 + mix))
    domain = min(domain, rows - identity)
    others = rows - identity - domain
    contrast = round(others * usual.contrast / ordinary)
    return GenerateSettings.model_validate(
        {"identity": identity, "contrast": contrast, "rehearsal": others - contrast, "domain": domain, **fields}
    )
