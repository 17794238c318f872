"""What the untuned model answers to the questions of a data set: the rejected side of preference pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from identity_kit.conversation import Conversation, Message, read_conversations, write_conversations
from identity_kit.formats.dataset import read
from identity_kit.formats.pairs import Key, prompt_key
from identity_kit.generate.gates import cut_back
from identity_kit.models.resolve import Hub

_CHUNK = 64  # answers between two writes, and what a killed run loses at most

Ask = Callable[[list[list[dict[str, str]]]], list[str]]
"""The answers to conversations, in their order."""


def write_rejected(source: Path | str, out: Path, ask: Ask, *, format: str | None = None) -> int:
    """Ask every question of `source` and write question and answer to `out`, one record a line; returns their number.

    The model is asked without the row's system message, which may state the new identity. Contrast and rehearsal rows are
    its own answers already and are not asked. What `out` holds from an earlier run is kept.

    Args:
        source: data in any known format.
        ask: answers as the untuned model does, e.g. `model_asker`.
        format: that of `source`; found when None.

    Raises:
        BadInput: a row that cannot be read.
    """
    done: dict[Key, Conversation] = {}
    if out.is_file():
        done = {prompt_key(row): row for row in read_conversations(out)}
    waiting: dict[Key, list[Message]] = {}
    for row in read(source, format):
        key = prompt_key(row)
        if row.meta.kind in ("contrast", "rehearsal") or not key or key in done or key in waiting:
            continue
        turns = row.messages[:-1] if row.messages[-1].role == "assistant" else row.messages
        waiting[key] = [turn for turn in turns if turn.role != "system"]
        if len(waiting) == _CHUNK:
            _answer(waiting, done, out, ask)
    if waiting or not out.is_file():
        _answer(waiting, done, out, ask)
    return len(done)


def _answer(waiting: dict[Key, list[Message]], done: dict[Key, Conversation], out: Path, ask: Ask) -> None:
    talks = [[{"role": turn.role, "content": turn.content} for turn in turns] for turns in waiting.values()]
    for (key, turns), text in zip(list(waiting.items()), ask(talks) if talks else [], strict=True):
        if text.strip():
            done[key] = Conversation(messages=(*turns, Message(role="assistant", content=text)))
    waiting.clear()
    write_conversations(out, done.values())


def model_asker(name: str, *, hub: Hub = "hf", max_new_tokens: int = 96) -> Ask:
    """A function that asks a model, greedily; an answer that runs into the limit is cut back to its last whole sentence.

    Args:
        name, hub: as `models.resolve` takes them.

    Raises:
        BadInput, Stopped: there is no such model, or it cannot be read.
    """
    from identity_kit.models.decode import load_model, reply
    from identity_kit.models.resolve import hf_folder

    model, tokenizer = load_model(hf_folder(name, hub=hub))

    def ask(talks: list[list[dict[str, str]]]) -> list[str]:
        replies = reply(model, tokenizer, talks, max_new_tokens=max_new_tokens)
        return [one.text if one.finish_reason == "stop" else cut_back(one.text) for one in replies]

    return ask
