"""Alpaca's format: `instruction`, `input`, `output`, and LLaMA-Factory's additions `system` and `history`."""

from __future__ import annotations

from identity_kit.conversation import Conversation
from identity_kit.formats.rows import Row, build, no_rejected, optional_text, pairs_field, rest, split_turns, text_field


def matches(row: Row) -> bool:
    """Whether a row is in this format."""
    return "instruction" in row or ("input" in row and "output" in row)


def read_question(row: Row, where: str) -> str:
    """Instruction and input joined by a line end, as LLaMA-Factory and ms-swift join them."""
    parts = (optional_text(row, "instruction", where), optional_text(row, "input", where))
    return "\n".join(part for part in parts if part)


def read_row(row: Row, where: str) -> Conversation:
    """One row to the record.

    Raises:
        BadInput: a field is missing or not text.
    """
    pairs = pairs_field(row, "history", where)
    pairs.append((read_question(row, where), text_field(row, "output", where)))
    extras = rest(row, "instruction", "input", "output", "system", "history")
    return build(optional_text(row, "system", where), pairs, where, extras=extras)


def write_row(conversation: Conversation) -> Row:
    """The record in alpaca's fields; earlier turns go to `history`, empty where there are none.

    Raises:
        Unheld: a tool message, a preference pair, or turns that do not alternate.
    """
    no_rejected(conversation)
    system, pairs = split_turns(conversation)
    question, answer = pairs[-1]
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        "system": system,
        "history": [list(pair) for pair in pairs[:-1]],
    }
