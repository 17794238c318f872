"""ms-swift's formats: the old `query`/`response`/`history`/`system`, and the new `messages` + `rejected_response`."""

from __future__ import annotations

from identity_kit.conversation import Conversation
from identity_kit.formats.rows import (
    Row,
    Unheld,
    build,
    finish,
    list_field,
    message_list,
    no_rejected,
    optional_text,
    pairs_field,
    rest,
    split_turns,
    text_field,
    with_fields,
)
from identity_kit.ui import tr

# The column names that its preprocessor accepts for a question and for an answer, in its order.
_QUESTIONS = ("query", "prompt", "question", "problem")
_ANSWERS = ("response", "answer", "output", "target", "solution", "completion")


def _column(row: Row, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row), None)


def matches(row: Row) -> bool:
    """Whether a row is in one of these formats."""
    if "messages" in row:
        return "rejected_response" in row
    return _column(row, _QUESTIONS) is not None and _column(row, _ANSWERS) is not None and "label" not in row


def read_row(row: Row, where: str) -> Conversation:
    """One row of either format to the record.

    Raises:
        BadInput: a field is missing or not text.
    """
    if "messages" in row:
        unknown: Row = {}
        messages = message_list(list_field(row, "messages", where), "role", "content", "messages", where, unknown)
        rejected = text_field(row, "rejected_response", where) if row.get("rejected_response") is not None else None
        extras = with_fields(rest(row, "messages", "rejected_response"), unknown)
        return finish(messages, where, extras=extras, rejected=rejected)
    question = _column(row, _QUESTIONS) or "query"
    answer = _column(row, _ANSWERS) or "response"
    pairs = pairs_field(row, "history", where)
    pairs.append((text_field(row, question, where), text_field(row, answer, where)))
    rejected = text_field(row, "rejected_response", where) if row.get("rejected_response") is not None else None
    extras = rest(row, question, answer, "system", "history", "rejected_response")
    return build(optional_text(row, "system", where), pairs, where, extras=extras, rejected=rejected)


def write_row(conversation: Conversation, style: str = "old") -> Row:
    """The record for ms-swift; `style` is `old` (query, response) or `new` (messages).

    Raises:
        Unheld: with `old` a preference pair; a tool message, or turns that do not alternate.
    """
    if style == "new":
        if not any(message.role == "assistant" for message in conversation.messages):
            raise Unheld(tr("没有回答", "no answer"))
        row: Row = {"messages": [{"role": m.role, "content": m.content} for m in conversation.messages]}
        if conversation.rejected is not None:
            if conversation.rejected == conversation.messages[-1].content:
                raise Unheld(tr("rejected 与回答相同", "a rejected answer equal to the chosen one"))
            row["rejected_response"] = conversation.rejected
        return row
    no_rejected(conversation)
    system, pairs = split_turns(conversation)
    question, answer = pairs[-1]
    return {"system": system, "query": question, "response": answer, "history": [list(pair) for pair in pairs[:-1]]}
