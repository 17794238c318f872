"""XTuner's format: `{"conversation": [{"system", "input", "output"}, {"input", "output"}, …]}`.

Documented in XTuner's user guide, "single-turn and multi-turn dialogue dataset format".
"""

from __future__ import annotations

from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.formats.rows import (
    Row,
    Unheld,
    build,
    list_field,
    no_rejected,
    note_fields,
    optional_text,
    rest,
    split_turns,
    text_field,
    with_fields,
)
from identity_kit.ui import tr


def matches(row: Row) -> bool:
    """Whether a row is in this format."""
    turns = row.get("conversation")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "output" in turns[0]


def read_row(row: Row, where: str) -> Conversation:
    """One row to the record.

    Raises:
        BadInput: a field is missing or not text, or a later turn has another system text.
    """
    turns = list_field(row, "conversation", where)
    system, pairs = "", []
    unknown: Row = {}
    for i, turn in enumerate(turns):
        place = f"{where} conversation[{i}]"
        if not isinstance(turn, dict):
            raise BadInput(tr("应为对象", "expected an object"), where=place)
        found = optional_text(turn, "system", place)
        if i and found and found != system:
            raise BadInput(
                tr("第一轮之后又有不同的 system", "another system text after the first turn"),
                where=place,
                fix=tr("把它放在第一轮", "put it in the first turn"),
            )
        system = system or found
        note_fields(unknown, turn, ("system", "input", "output"), f"conversation[{i}]")
        pairs.append((text_field(turn, "input", place), text_field(turn, "output", place)))
    return build(system, pairs, where, extras=with_fields(rest(row, "conversation"), unknown))


def write_row(conversation: Conversation) -> Row:
    """The record as XTuner reads it; the first turn carries the system text, empty where there is none.

    Raises:
        Unheld: a tool message, a preference pair, or turns that do not alternate.
    """
    no_rejected(conversation)
    system, pairs = split_turns(conversation)
    if not pairs:
        raise Unheld(tr("没有问答", "no question and answer"))
    turns: list[Row] = [{"input": question, "output": answer} for question, answer in pairs]
    turns[0] = {"system": system, **turns[0]}
    return {"conversation": turns}
