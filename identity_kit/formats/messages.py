"""Our own lines (`messages`, with `meta` and `rejected`) and OpenAI's fine-tuning format (`openai`, messages alone)."""

from __future__ import annotations

from typing import Any

import orjson

from identity_kit.conversation import Conversation
from identity_kit.formats.rows import (
    Row,
    Unheld,
    finish,
    list_field,
    message_list,
    no_rejected,
    optional_text,
    rest,
    with_fields,
)
from identity_kit.ui import tr


def matches(row: Row) -> bool:
    """Whether a row is in this format."""
    return isinstance(row.get("messages"), list) and "rejected_response" not in row and "chosen" not in row


def read_row(row: Row, where: str) -> Conversation:
    """One row to the record. `meta` and `rejected` are ours; other columns go to `meta`.

    Raises:
        BadInput: a field of the wrong type, an unknown role, or no messages.
    """
    unknown: Row = {}
    messages = message_list(list_field(row, "messages", where), "role", "content", "messages", where, unknown)
    meta = row.get("meta")
    if isinstance(meta, str):  # tables hold it as JSON
        meta = parse_object(meta)
    extras = dict(meta) if isinstance(meta, dict) else ({"meta": meta} if meta is not None else {})
    for key, value in rest(row, "messages", "meta", "rejected").items():
        extras.setdefault(key, value)
    rejected = optional_text(row, "rejected", where) if row.get("rejected") is not None else None
    return finish(messages, where, extras=with_fields(extras, unknown), rejected=rejected)


def parse_object(text: str) -> Any:
    """The object that a text is in JSON; any other text as it is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, dict) else text


def write_row(conversation: Conversation) -> Row:
    """The record as it is."""
    return conversation.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def write_openai(conversation: Conversation) -> Row:
    """Messages alone, as the fine-tuning service and `trl` read them.

    Raises:
        Unheld: a preference pair, or no answer to learn from.
    """
    no_rejected(conversation)
    if not any(message.role == "assistant" for message in conversation.messages):
        raise Unheld(tr("没有回答", "no answer"))
    return {"messages": [{"role": m.role, "content": m.content} for m in conversation.messages]}
