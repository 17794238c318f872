"""Putting probes to models: conditions, answerers, and a journal of answers so that nothing is asked twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from identity_kit.errors import BadInput
from identity_kit.evaluate.judge import Answer
from identity_kit.evaluate.probes import Probe
from identity_kit.evaluate.retention import Costs
from identity_kit.files import sha256_text
from identity_kit.text import TextLanguage, split_thoughts
from identity_kit.ui import tr

Turns = Sequence[dict[str, str]]
Done = Callable[[int, Answer], None]

# Tokens that an answer may take, where the default does not do: letters are signed at the end, and an answer must have
# room to stop by itself. Turns of a drifting conversation that nobody judges are kept short.
TOKEN_CAPS = {
    "recall": 48,
    "confirm": 48,
    "pressure": 48,
    "facts": 40,
    "near_miss": 48,
    "greeting": 40,
    "bleed": 80,
    "stop": 128,
}
UNJUDGED_TURN_CAP = 24
DEFAULT_CAP = 64
KEPT_AT_ONCE = 32  # answers between two writes of the journal, and what a killed evaluation loses at most


# The finish reason of an answer that the provider's content filter withheld, and that is empty for it.
FILTERED: Literal["filtered"] = "filtered"


class Answerer(Protocol):
    """Anything that answers conversations, in the order given, each in as many tokens as it may take.

    `done` is called with each answer as it is there, and which conversation it belongs to.
    """

    def __call__(
        self,
        conversations: Sequence[Turns],
        *,
        max_new_tokens: Sequence[int],
        temperature: float,
        seed: int,
        done: Done | None = None,
    ) -> list[Answer]: ...


@dataclass(frozen=True)
class Condition:
    """One model in one setting.

    Args:
        label: what the report calls it, e.g. "base", "base + system prompt", "tuned".
        answer: the model.
        system: a system message for every conversation that has none of its own, the same for both languages or one each.
        fingerprint: names the weights and the template; answers are kept under it. Empty: this run of the program only.
        samples: how many answers to draw to each probe; more than one needs a temperature.
        temperature: 0 is greedy.
        suites: the suites asked under this condition; empty: all.
        suites_apart: ask each suite by itself. In 16 bits an answer hangs, in its last bits, on what stands beside it in a
            batch; so a suite's answers are the same whichever others are asked.
        paragraph_costs: measures texts (language → text) with this model; None where that is not possible or not wanted.
    """

    label: str
    answer: Answerer = field(repr=False)
    system: str | Mapping[str, str] | None = None
    fingerprint: str = ""
    samples: int = 1
    temperature: float = 0.0
    suites: tuple[str, ...] = ()
    suites_apart: bool = False
    paragraph_costs: Callable[[Mapping[str, str]], dict[str, Costs]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.samples > 1 and self.temperature <= 0):
            raise BadInput(
                tr("抽样多次时温度必须大于 0", "drawing several samples needs a temperature above 0"), where=self.label
            )

    def system_for(self, language: TextLanguage) -> str | None:
        """The system message for a probe of that language."""
        if self.system is None or isinstance(self.system, str):
            return self.system
        return self.system.get(language)


@dataclass(frozen=True)
class Asked:
    """One probe answered under one condition: what was put to the model and what it said, turn by turn.

    `thoughts` are what it wrote down before each answer, apart from it; empty strings where it did not.
    """

    probe: Probe
    sample: int
    system: str | None
    answers: tuple[Answer, ...]
    thoughts: tuple[str, ...]


class Journal:
    """Answers by key, in a JSON-lines file that only grows; a line cut short by a kill is passed over.

    Args:
        fresh: forget what the file holds. A line says so in the file, and what follows it is kept as ever, so that a
            fresh start that is killed goes on where it was.

    Attributes:
        taken, asked: how many answers were found here, and how many a model was asked for.
    """

    def __init__(self, path: Path | None, *, fresh: bool = False) -> None:
        self._path = path
        self._known: dict[str, Answer] = {}
        self.taken = self.asked = 0
        if path is None or not path.exists():
            return
        if fresh:
            self._append([{"forget": "all"}])
            return
        # Not splitlines(): an answer may hold U+2028, which ends a line there and none in JSON.
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                row = json.loads(line)
                if row == {"forget": "all"}:
                    self._known.clear()
                    continue
                self._known[row["key"]] = Answer(row["text"], row["finish_reason"], row["tokens"])
            except (json.JSONDecodeError, KeyError, TypeError):
                continue

    def get(self, key: str) -> Answer | None:
        """The answer kept under a key."""
        return self._known.get(key)

    def add(self, rows: Sequence[tuple[str, Answer]]) -> None:
        """Keep answers, on the disk before this returns."""
        self._known.update(rows)
        self._append(
            [
                {"key": key, "text": answer.text, "finish_reason": answer.finish_reason, "tokens": answer.tokens}
                for key, answer in rows
            ]
        )

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._path is None or not rows:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as stream:
            if stream.tell() and not _ends_a_line(self._path):
                stream.write(b"\n")
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


@dataclass(frozen=True)
class _Request:
    turns: tuple[dict[str, str], ...]
    cap: int
    sample: int
    key: str
    suite: str = ""


def ask(
    condition: Condition,
    probes: Sequence[Probe],
    *,
    journal: Journal,
    seed: int = 0,
    max_new_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Asked]:
    """Put filled probes to one condition; returns one entry a probe and sample, probes in the order given.

    All questions of a turn are asked together, or all of a suite; the turns of several conversations go forward side by
    side.

    Args:
        max_new_tokens: the cap on every answer; None: the suite's own, or `DEFAULT_CAP`.
        progress: called with the number of answers done since the last call.
    """
    chosen = [probe for probe in probes if not condition.suites or probe.suite in condition.suites]
    pairs = [(probe, sample) for probe in chosen for sample in range(condition.samples)]
    talks: list[list[dict[str, str]]] = [_opening(probe, condition) for probe, _ in pairs]
    answers: list[list[Answer]] = [[] for _ in pairs]
    thoughts: list[list[str]] = [[] for _ in pairs]
    last_turn = max((_turns_to_answer(probe) for probe in chosen), default=0)
    for turn in range(1, last_turn + 1):
        active = [i for i, (probe, _) in enumerate(pairs) if turn <= _turns_to_answer(probe)]
        requests = []
        for i in active:
            probe, sample = pairs[i]
            if probe.expect.turns:
                talks[i].append({"role": "user", "content": probe.user_turns[turn - 1]})
            cap = _cap(probe, turn, max_new_tokens)
            key = _key(condition, talks[i], cap, sample, seed)
            requests.append(_Request(tuple(talks[i]), cap, sample, key, probe.suite if condition.suites_apart else ""))
        for i, answer in zip(active, _answer(condition, requests, journal, seed, progress), strict=True):
            # The journal keeps what the model wrote; judged, and said back to it in later turns, is what it said.
            thought, said = split_thoughts(answer.text)
            thoughts[i].append(thought)
            answers[i].append(replace(answer, text=said))
            talks[i].append({"role": "assistant", "content": said})
    return [
        Asked(probe, sample, _system_of(talk), tuple(given), tuple(thought))
        for (probe, sample), talk, given, thought in zip(pairs, talks, answers, thoughts, strict=True)
    ]


def ask_plainly(condition: Condition, prompts: Sequence[str], *, cap: int, journal: Journal) -> list[Answer]:
    """What a model says to prompts that are no probes, kept in the journal as answers to probes are."""
    requests = []
    for prompt in prompts:
        talk = [{"role": "user", "content": prompt}]
        requests.append(_Request(tuple(talk), cap, 0, _key(condition, talk, cap, 0, 0)))
    return [
        replace(answer, text=split_thoughts(answer.text)[1])
        for answer in _answer(condition, requests, journal, 0, None)
    ]


def count_answers(condition: Condition, probes: Sequence[Probe]) -> int:
    """How many answers `ask` will need, for a progress bar."""
    chosen = [probe for probe in probes if not condition.suites or probe.suite in condition.suites]
    return condition.samples * sum(_turns_to_answer(probe) for probe in chosen)


def _turns_to_answer(probe: Probe) -> int:
    return max(probe.expect.turns) if probe.expect.turns else 1


def _cap(probe: Probe, turn: int, given: int | None) -> int:
    if given is not None:
        return given
    if probe.expect.turns and turn not in probe.expect.turns:
        return UNJUDGED_TURN_CAP
    return TOKEN_CAPS.get(probe.suite, DEFAULT_CAP)


def _opening(probe: Probe, condition: Condition) -> list[dict[str, str]]:
    own = [{"role": message.role, "content": message.content} for message in probe.messages]
    system = condition.system_for(probe.language)
    if probe.expect.turns:
        own = [message for message in own if message["role"] == "system"]
    if system and not any(message["role"] == "system" for message in own):
        own.insert(0, {"role": "system", "content": system})
    return own


def _system_of(talk: Sequence[dict[str, str]]) -> str | None:
    return next((message["content"] for message in talk if message["role"] == "system"), None)


def _key(condition: Condition, talk: Sequence[dict[str, str]], cap: int, sample: int, seed: int) -> str:
    """What an answer depends on. Greedy answers do not depend on the seed."""
    drawn: Any = [condition.temperature, sample, seed] if condition.temperature > 0 else "greedy"
    parts = [condition.fingerprint or condition.label, drawn, cap, list(talk)]
    return sha256_text(json.dumps(parts, ensure_ascii=False, sort_keys=True))


def _answer(
    condition: Condition,
    requests: Sequence[_Request],
    journal: Journal,
    seed: int,
    progress: Callable[[int], None] | None,
) -> list[Answer]:
    found = {request.key: answer for request in requests if (answer := journal.get(request.key)) is not None}
    if progress and found:
        progress(sum(request.key in found for request in requests))
    journal.taken += sum(request.key in found for request in requests)
    missing = list({request.key: request for request in requests if request.key not in found}.values())
    for sample, suite in sorted({(request.sample, request.suite) for request in missing}):
        group = [request for request in missing if (request.sample, request.suite) == (sample, suite)]
        given = _put(condition, group, journal, seed * 1000 + sample, progress)
        found.update((request.key, answer) for request, answer in zip(group, given, strict=True))
    return [found[request.key] for request in requests]


def _put(
    condition: Condition,
    requests: Sequence[_Request],
    journal: Journal,
    seed: int,
    progress: Callable[[int], None] | None,
) -> list[Answer]:
    """Answers to all requests, kept in the journal as they come, also where the last do not."""
    fresh: list[tuple[str, Answer]] = []

    def keep(i: int, answer: Answer) -> None:
        journal.asked += 1
        fresh.append((requests[i].key, answer))
        if len(fresh) >= KEPT_AT_ONCE:
            journal.add(fresh)
            fresh.clear()
        if progress:
            progress(1)

    try:
        return condition.answer(
            [list(request.turns) for request in requests],
            max_new_tokens=[request.cap for request in requests],
            temperature=condition.temperature,
            seed=seed,
            done=keep,
        )
    finally:
        journal.add(fresh)
