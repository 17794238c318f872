"""What all formats share: typed access to a row's fields, turns of a conversation, and what a format cannot hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from identity_kit.conversation import Conversation, Message, Meta, Role
from identity_kit.errors import BadInput
from identity_kit.ui import tr

Row = dict[str, Any]

ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "tool_response": "tool",
    "observation": "tool",
    "function_response": "tool",
}

# Where `meta` keeps what messages held beside role and text: {"messages[1].weight": 0}, by the place in the source.
MESSAGE_FIELDS = "message_fields"
_LEARNT = ("weight", "loss", "output_with_loss")  # those that say whether the message is learnt
_PLACE = re.compile(r"(\w+)\[(\d+)\]\.(.+)", re.DOTALL)

_KINDS = {dict: ("对象", "an object"), list: ("列表", "a list"), bool: ("真假值", "a truth value")}


class Unheld(Exception):
    """A format has no place for something in a conversation; `what` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def wrong_type(field: str, value: Any, where: str) -> BadInput:
    """The error for a field that is not text."""
    zh, en = _KINDS.get(type(value), ("空值", "empty") if value is None else ("数字", "a number"))
    return BadInput(
        tr(f"字段 “{field}” 是{zh}，应为文本", f'field "{field}" is {en}, expected text'),
        where=where,
        fix=tr("改成文本，或用 idkit check --fix 去掉这一行", "make it text, or drop the row with: idkit check --fix"),
    )


def text_field(row: Row, key: str, where: str) -> str:
    """A field that must be there and be text.

    Raises:
        BadInput: it is missing or of another type.
    """
    if key not in row:
        keys = ", ".join(map(str, row))
        raise BadInput(
            tr(f"缺少字段 “{key}”，这一行有：{keys}", f'field "{key}" is missing; the row has: {keys}'), where=where
        )
    if not isinstance(row[key], str):
        raise wrong_type(key, row[key], where)
    return str(row[key])


def optional_text(row: Row, key: str, where: str) -> str:
    """A field that may be missing or null, the empty string then; anything else must be text."""
    return "" if row.get(key) is None else text_field(row, key, where)


def list_field(row: Row, key: str, where: str) -> list[Any]:
    """A field that must be a list; missing or null gives an empty one."""
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInput(tr(f"字段 “{key}” 应为列表", f'field "{key}" should be a list'), where=where)
    return value


def pairs_field(row: Row, key: str, where: str) -> list[tuple[str, str]]:
    """A `history` field: a list of [question, answer]."""
    pairs = []
    for i, pair in enumerate(list_field(row, key, where)):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise BadInput(
                tr(f"字段 “{key}[{i}]” 应为 [问, 答]", f'field "{key}[{i}]" should be [question, answer]'), where=where
            )
        pairs.append((pair[0], pair[1]))
    return pairs


def build(
    system: str, pairs: Iterable[tuple[str, str]], where: str, *, extras: Row | None = None, rejected: str | None = None
) -> Conversation:
    """A conversation from a system text ("" for none) and question–answer pairs."""
    messages = [Message(role="system", content=system)] if system else []
    for question, answer in pairs:
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    return finish(messages, where, extras=extras, rejected=rejected)


def finish(
    messages: list[Message], where: str, *, extras: Row | None = None, rejected: str | None = None
) -> Conversation:
    """A conversation from messages; what else the row held goes to `meta`.

    Raises:
        BadInput: there are no messages.
    """
    if not messages:
        raise BadInput(tr("没有消息", "no messages"), where=where)
    return Conversation(messages=tuple(messages), meta=make_meta(extras or {}), rejected=rejected)


def make_meta(extras: Row) -> Meta:
    """Meta from a row's other columns; a column whose name we use for something else is kept under `columns`."""
    try:
        return Meta(**extras)
    except ValidationError as error:
        clash = {str(issue["loc"][0]) for issue in error.errors()}
        kept = {key: value for key, value in extras.items() if key not in clash}
        return Meta.model_validate({**kept, "columns": {key: extras[key] for key in clash if key in extras}})


def rest(row: Row, *used: str) -> Row:
    """The row without the columns that were read, and without empty ones."""
    return {str(key): value for key, value in row.items() if key not in used and value not in (None, "", [], {})}


def own_columns(conversation: Conversation) -> tuple[str, ...]:
    """The names in `meta` that came with the user's data and are not provenance of ours; those of messages apart."""
    kept = message_fields(conversation)
    return tuple(name for name in conversation.meta.model_extra or () if not (kept and name == MESSAGE_FIELDS))


def note_fields(unknown: Row, item: Row, used: Collection[str], place: str) -> None:
    """Add to `unknown` what a message holds beside the keys that were read, empty ones left out."""
    unknown.update({f"{place}.{key}": value for key, value in rest(item, *used).items()})


def with_fields(extras: Row, unknown: Row) -> Row:
    """A row's other columns together with what its messages held beside role and text."""
    kept = extras.get(MESSAGE_FIELDS)
    return {**extras, MESSAGE_FIELDS: {**(kept if isinstance(kept, dict) else {}), **unknown}} if unknown else extras


def message_fields(conversation: Conversation) -> dict[tuple[str, int, str], Any]:
    """What the messages held beside role and text, by list, place in it and key."""
    found = (conversation.meta.model_extra or {}).get(MESSAGE_FIELDS)
    if not isinstance(found, dict):
        return {}
    places = {_PLACE.fullmatch(str(place)): value for place, value in found.items()}
    return {(place[1], int(place[2]), place[3]): value for place, value in places.items() if place}


def muted_turns(conversation: Conversation) -> frozenset[int]:
    """Which messages are marked as not to be learnt, by index: `weight: 0` (OpenAI), `loss: false` (ms-swift),
    `output_with_loss: false` (XTuner, whose turns are pairs)."""
    first = 1 if conversation.messages[0].role == "system" else 0
    return frozenset(
        first + 2 * place + 1 if name == "conversation" else place
        for (name, place, key), value in message_fields(conversation).items()
        if key in _LEARNT and value in (0, False)
    )


def split_turns(conversation: Conversation, *, tools: bool = False) -> tuple[str, list[tuple[str, str]]]:
    """The system text ("" for none) and the question–answer pairs of a conversation that alternates.

    Raises:
        Unheld: a tool message, an empty or late system message, two turns of one role in a row, no answer at the end.
    """
    messages = list(conversation.messages)
    system = ""
    if messages and messages[0].role == "system":
        system = messages.pop(0).content
        if not system:
            raise Unheld(tr("空的 system 消息", "an empty system message"))
    check_alternates(messages)
    return system, [(q.content, a.content) for q, a in zip(messages[::2], messages[1::2], strict=True)]


def check_alternates(messages: list[Message], *, tools: bool = False) -> None:
    """Refuse turns that do not go user, assistant, user, assistant (a tool message may stand for a user's).

    Raises:
        Unheld: with the reason.
    """
    for i, message in enumerate(messages):
        if message.role == "tool" and not tools:
            raise Unheld(tr("tool 消息", "a tool message"))
        if message.role == "system":
            raise Unheld(tr("对话中间的 system 消息", "a system message after the first turn"))
        asks = message.role in ("user", "tool")
        if asks != (i % 2 == 0) or (i == 0 and message.role == "tool"):
            raise Unheld(tr("不是一问一答交替", "turns that do not alternate between user and assistant"))
    if len(messages) % 2 or not messages:
        raise Unheld(tr("结尾没有回答", "no answer at the end"))


def no_rejected(conversation: Conversation) -> None:
    """Refuse a preference pair.

    Raises:
        Unheld: the conversation has a rejected answer.
    """
    if conversation.rejected is not None:
        raise Unheld(tr("rejected 回答", "a rejected answer"))


def message_list(
    items: list[Any], role_key: str, content_key: str, field: str, where: str, unknown: Row
) -> list[Message]:
    """Messages from a list of objects with a role and a text each.

    Args:
        unknown: filled with what else they hold, by place.

    Raises:
        BadInput: an item is no object, a role is unknown, a text is not text, or it calls tools.
    """
    messages = []
    for i, item in enumerate(items):
        place = f"{field}[{i}]"
        if not isinstance(item, dict):
            raise BadInput(tr(f"字段 “{place}” 应为对象", f'field "{place}" should be an object'), where=where)
        name = item.get(role_key)
        role = ROLES.get(str(name).lower()) if isinstance(name, str) else None
        if role is None or item.get("tool_calls") or item.get("function_call"):
            known = ", ".join(ROLES)
            what = tr(f"“{place}” 的角色是 {name!r}", f'"{place}" has role {name!r}')
            if role is not None:
                what = tr(f"“{place}” 调用了工具，这里没有地方放", f'"{place}" calls a tool, which has no place here')
            raise BadInput(what, where=where, fix=tr(f"可用的角色：{known}", f"roles that can be read: {known}"))
        note_fields(unknown, item, (role_key, content_key), place)
        messages.append(
            Message(role=role, content=content_text(item.get(content_key), f"{place}.{content_key}", where))
        )
    return messages


def content_text(value: Any, field: str, where: str) -> str:
    """A message's text; a list of text parts is joined.

    Raises:
        BadInput: it is neither text nor a list of text parts (a picture, say).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        if all(part.get("type") == "text" and isinstance(part.get("text"), str) for part in value):
            return "".join(part["text"] for part in value)
        kinds = ", ".join(sorted({str(part.get("type")) for part in value} - {"text"}))
        raise BadInput(
            tr(f"字段 “{field}” 含有非文本内容：{kinds}", f'field "{field}" holds more than text: {kinds}'), where=where
        )
    raise wrong_type(field, value, where)
