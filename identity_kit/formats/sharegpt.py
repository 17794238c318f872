"""ShareGPT's format, `conversations`, with either of its tag styles: `from`/`value` or `role`/`content`."""

from __future__ import annotations

from typing import Any

from identity_kit.conversation import Conversation, Message
from identity_kit.errors import BadInput
from identity_kit.formats.rows import (
    Row,
    Unheld,
    check_alternates,
    finish,
    list_field,
    message_list,
    no_rejected,
    note_fields,
    optional_text,
    rest,
    text_field,
    with_fields,
)
from identity_kit.ui import tr

TAGS = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}


def matches(row: Row) -> bool:
    """Whether a row is in this format (a preference pair in its style is not)."""
    if isinstance(row.get("conversations"), list):
        return "chosen" not in row and "kto_tag" not in row
    turns = row.get("conversation")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "output" not in turns[0]


def read_messages(items: list[Any], field: str, where: str, unknown: Row) -> list[Message]:
    """Messages in either tag style, or in `human`/`assistant` pairs.

    Args:
        unknown: filled with what they hold beside role and text, by place.

    Raises:
        BadInput: an item fits neither style.
    """
    first = items[0] if items and isinstance(items[0], dict) else {}
    if "from" in first:
        return message_list(items, "from", "value", field, where, unknown)
    if "role" in first:
        return message_list(items, "role", "content", field, where, unknown)
    asked = next((key for key in ("human", "user") if key in first), None)
    if asked is None or "assistant" not in first:
        raise BadInput(
            tr(
                f"“{field}” 的每一项应有 from/value 或 role/content",
                f'items of "{field}" need from/value or role/content',
            ),
            where=where,
        )
    messages = []
    for i, item in enumerate(items):
        place = f"{where} {field}[{i}]"
        messages.append(Message(role="user", content=text_field(item, asked, place)))
        messages.append(Message(role="assistant", content=text_field(item, "assistant", place)))
        note_fields(unknown, item, (asked, "assistant"), f"{field}[{i}]")
    return messages


def read_row(row: Row, where: str) -> Conversation:
    """One row to the record.

    Raises:
        BadInput: a field of the wrong type, an unknown role, or no messages.
    """
    field = "conversations" if "conversations" in row else "conversation"
    unknown: Row = {}
    messages = read_messages(list_field(row, field, where), field, where, unknown)
    system = optional_text(row, "system", where)
    if system and messages and messages[0].role != "system":
        messages.insert(0, Message(role="system", content=system))
    return finish(messages, where, extras=with_fields(rest(row, field, "system"), unknown))


def tagged(message: Message, style: str) -> Row:
    """One message in a tag style, `from` or `role`."""
    if style == "role":
        return {"role": message.role, "content": message.content}
    return {"from": TAGS[message.role], "value": message.content}


def write_turns(messages: tuple[Message, ...], style: str) -> list[Row]:
    """The messages, the system text as the first turn.

    Raises:
        Unheld: turns that LLaMA-Factory would skip, for they do not alternate.
    """
    body = [m for i, m in enumerate(messages) if not (i == 0 and m.role == "system")]
    if messages and messages[0].role == "system" and not messages[0].content:
        raise Unheld(tr("空的 system 消息", "an empty system message"))
    check_alternates(body, tools=True)
    return [tagged(message, style) for message in messages]


def write_row(conversation: Conversation, style: str = "from") -> Row:
    """The record in ShareGPT's fields; `style` is the tag style, `from` or `role`.

    Raises:
        Unheld: a preference pair, or turns that do not alternate.
    """
    no_rejected(conversation)
    return {"conversations": write_turns(conversation.messages, style)}
