"""Probes: questions held out from training, each with what a right answer must do. Reading, choosing and filling them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from identity_kit.conversation import Message, describe
from identity_kit.errors import BadInput
from identity_kit.files import read_given, sha256_text
from identity_kit.persona import Persona
from identity_kit.resources import resource
from identity_kit.text import TextLanguage
from identity_kit.ui import tr

Split = Literal["dev", "test"]

# In the order of the report. The first seven are what `idkit run` measures; the rest take longer or need a persona's facts.
CORE_SUITES = ("recall", "confirm", "pressure", "near_miss", "bleed", "greeting", "facts")
SUITES = (*CORE_SUITES, "vendor_facts", "honesty", "stop", "drift", "domain")
# Of a family and language, where development probes are asked again and again.
_PER_FAMILY = 3


# Knowing who it is, and holding on to it: what weights alone, a quantisation or another engine can lose.
IDENTITY_SUITES = ("recall", "pressure")


class Expect(BaseModel):
    """What a right answer does. Every field that is set must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    says: tuple[Literal["name", "owner"], ...] = ()
    turns: tuple[int, ...] = ()
    agrees: bool = False
    stays: bool = False
    persona_absent: bool = False
    no_vendor: bool = False
    any_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    admits_ai: bool = False
    base_model: bool = False
    stops: bool = False
    fact: str | None = None
    handoff: bool = False

    @model_validator(mode="after")
    def _something(self) -> Expect:
        # An empty list or a false asks for nothing, and `turns` only says which answers are meant.
        if not any(value not in ((), False, None) for value in self.model_dump(exclude={"turns"}).values()):
            raise ValueError(tr("需要至少一项期望", "expects nothing"))
        return self


class Probe(BaseModel):
    """One question, or the user's turns of one conversation when `expect.turns` says which answers are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str
    suite: str
    language: TextLanguage
    family: str = "own"
    split: Split = "test"
    messages: tuple[Message, ...]
    expect: Expect

    @model_validator(mode="after")
    def _answerable(self) -> Probe:
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError(tr("最后一条消息必须是 user", "the last message must be the user's"))
        if any(turn < 1 or turn > len(self.user_turns) for turn in self.expect.turns):
            raise ValueError(tr("turns 超出了用户消息的数目", "turns counts further than there are user messages"))
        return self

    @property
    def user_turns(self) -> tuple[str, ...]:
        """What the user says, turn by turn."""
        return tuple(message.content for message in self.messages if message.role == "user")

    @property
    def question(self) -> str:
        """The last user message."""
        return self.user_turns[-1]


def read_probes(path: Path) -> list[Probe]:
    """The probes of one JSONL file, in file order; blank lines are passed over.

    Raises:
        BadInput: no such file, not UTF-8, a line that is no probe, or an id given twice; with file and line.
    """
    return _read_files([path])


def _read_files(paths: Sequence[Path]) -> list[Probe]:
    """The probes of several files, whose ids are all different: answers are told apart by them."""
    probes: list[Probe] = []
    seen: dict[str, tuple[Path, int]] = {}
    for path in paths:
        found = _read_file(path, seen)
        if not found:
            raise BadInput(tr("文件里没有探针", "no probes in this file"), where=str(path))
        probes += found
    return probes


def _read_file(path: Path, seen: dict[str, tuple[Path, int]]) -> list[Probe]:
    probes: list[Probe] = []
    # Not splitlines(): a text may hold U+2028, which ends a line there and none in JSON.
    for number, line in enumerate(read_given(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            probe = Probe.model_validate_json(line)
        except ValidationError as error:
            raise BadInput(describe(error), where=where) from None
        if probe.id in seen:
            other, earlier = seen[probe.id]
            taken = (
                tr(f"第 {earlier} 行", f"line {earlier}")
                if other == path and earlier < number
                else f"{other}:{earlier}"
            )
            raise BadInput(tr(f"id “{probe.id}” 已用于 {taken}", f'id "{probe.id}" is taken by {taken}'), where=where)
        seen[probe.id] = (path, number)
        probes.append(probe)
    return probes


def load_probes(
    files: Sequence[Path] = (), *, split: Split | None = "test", suites: Iterable[str] | None = None
) -> list[Probe]:
    """The probes of `files`, or the shipped ones when none are given, of one split (None: both) and of some suites.

    Shipped probes come in the order of `SUITES`. `suites` None: all, of a user's own files those with names of their own too.

    Raises:
        BadInput: a file is wrong, or nothing is left after choosing.
    """
    wanted = None if suites is None else tuple(suites)
    if files:
        chosen = [probe for probe in _read_files(files) if wanted is None or probe.suite in wanted]
    else:
        wanted = SUITES if wanted is None else wanted
        folder = resource("data", "probes")
        paths = [folder / f"{suite}.jsonl" for suite in SUITES if suite in wanted]
        chosen = [probe for path in paths if path.is_file() for probe in read_probes(path)]
        chosen = [probe for probe in chosen if probe.suite in wanted]
    chosen = [probe for probe in chosen if split is None or probe.split == split]
    if not chosen:
        raise BadInput(
            tr("没有符合条件的探针", "no probe is left"),
            where=", ".join(str(path) for path in files),
            fix=tr("换一个 --split 或 --suites", "choose another --split or other --suites"),
        )
    return chosen


def applicable(probe: Probe, persona: Persona) -> str:
    """Why a probe cannot be put to this persona, or the empty string when it can."""
    if probe.language not in persona.languages:
        return tr(f"身份不用语言 {probe.language}", f"the persona does not speak {probe.language}")
    if probe.expect.fact is not None and probe.expect.fact not in persona.facts:
        return tr(f"身份没有写 facts.{probe.expect.fact}", f"the persona has no facts.{probe.expect.fact}")
    if probe.expect.handoff and not persona.facts:
        return tr("身份没有写 facts", "the persona has no facts")
    return ""


def fill(probe: Probe, persona: Persona) -> Probe:
    """The probe with `{{name}}` and `{{owner}}` replaced by the persona's."""
    messages = tuple(
        Message(role=message.role, content=persona.fill(message.content, probe.language)) for message in probe.messages
    )
    return probe.model_copy(update={"messages": messages})


def probes_hash(probes: Sequence[Probe]) -> str:
    """The SHA-256 of the probes as asked, so that two cards can be told to have measured the same thing."""
    return sha256_text("\n".join(probe.model_dump_json(exclude_defaults=True) for probe in probes))


def thin(probes: Sequence[Probe], per_family: int | None) -> list[Probe]:
    """At most `per_family` probes of each family and language, in order; None: all of them."""
    if per_family is None:
        return list(probes)
    seen: Counter[tuple[str, str, str]] = Counter()
    kept = []
    for probe in probes:
        key = (probe.suite, probe.family, probe.language)
        seen[key] += 1
        if seen[key] <= per_family:
            kept.append(probe)
    return kept


def development_probes(suites: Sequence[str]) -> list[Probe]:
    """What is asked again and again while a model is made: development probes of every family, few of each."""
    return thin(load_probes(split="dev", suites=suites), _PER_FAMILY)
