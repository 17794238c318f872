"""Preference data as `trl` reads it: DPO pairs (`prompt`, `chosen`, `rejected`) and KTO rows (`completion`, `label`).

Other projects' pairs are read too: prompt inside `chosen` and `rejected`, plain texts, alpaca's and ShareGPT's styles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from identity_kit.conversation import Conversation, Message
from identity_kit.errors import BadInput
from identity_kit.formats import alpaca, sharegpt
from identity_kit.formats.rows import Row, Unheld, build, finish, optional_text, pairs_field, rest, with_fields
from identity_kit.ui import tr


def matches_dpo(row: Row) -> bool:
    """Whether a row is a pair of answers."""
    return "chosen" in row and "rejected" in row


def matches_kto(row: Row) -> bool:
    """Whether a row is one answer and whether it is wanted."""
    return "completion" in row and "label" in row


def matches_completion(row: Row) -> bool:
    """Whether a row is a prompt and its completion, `trl`'s other format for fine-tuning."""
    return "prompt" in row and "completion" in row and "label" not in row


def _turns(value: Any, role: str, field: str, where: str, unknown: Row) -> list[Message]:
    """A text, one message or a list of messages, as messages; a bare text speaks in `role`."""
    if isinstance(value, str):
        return [Message(role=role, content=value)]  # type: ignore[arg-type]
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise BadInput(tr(f"字段 “{field}” 应为文本或消息", f'field "{field}" should be text or messages'), where=where)
    return sharegpt.read_messages(items, field, where, unknown) if items else []


def _answer(messages: list[Message], field: str, where: str) -> str:
    if not messages or messages[-1].role != "assistant":
        raise BadInput(
            tr(f"“{field}” 应以助手的回答结尾", f'"{field}" should end in an assistant message'), where=where
        )
    return messages[-1].content


def _prompt(row: Row, where: str, unknown: Row) -> tuple[list[Message], tuple[str, ...]]:
    """The turns before the answer, wherever the row keeps them, and the columns that they were read from."""
    system = optional_text(row, "system", where)
    key = next((name for name in _PROMPTS if name in row), None)
    if "instruction" in row:
        pairs = [*pairs_field(row, "history", where), (alpaca.read_question(row, where), "")]
        return list(build(system, pairs, where).messages[:-1]), ("instruction", "input", "history", "system")
    if key is None:
        return [Message(role="system", content=system)] if system else [], ("system",)
    if isinstance(row[key], str):
        pairs = [*pairs_field(row, "history", where), (row[key], "")]
        return list(build(system, pairs, where).messages[:-1]), (key, "history", "system")
    messages = _turns(row[key], "user", key, where, unknown)
    if system and not (messages and messages[0].role == "system"):
        messages.insert(0, Message(role="system", content=system))
    return messages, (key, "system")


# The columns that may hold the prompt; where a row has several, the others are columns like any.
_PROMPTS = ("prompt", "conversations", "messages", "question", "input")


def read_dpo(row: Row, where: str) -> Conversation:
    """One pair to the record.

    Raises:
        BadInput: a field of the wrong type, two different prompts, or no answer at the end.
    """
    unknown: Row = {}
    chosen = _turns(row.get("chosen"), "assistant", "chosen", where, unknown)
    rejected = _turns(row.get("rejected"), "assistant", "rejected", where, unknown)
    refused = _answer(rejected, "rejected", where)
    _answer(chosen, "chosen", where)
    prompt, used = _prompt(row, where, unknown)
    if len(chosen) > 1 or len(rejected) > 1:
        if chosen[:-1] != rejected[:-1]:
            raise BadInput(
                tr("chosen 与 rejected 的前文不同", "chosen and rejected go back to different prompts"), where=where
            )
        prompt = chosen[:-1] if not prompt or chosen[: len(prompt)] == prompt else prompt + chosen[:-1]
    messages = [*prompt, chosen[-1]]
    extras = with_fields(rest(row, "chosen", "rejected", *used), unknown)
    return finish(messages, where, extras=extras, rejected=refused)


def _split(conversation: Conversation) -> tuple[list[Row], str]:
    """The prompt as messages and the answer.

    Raises:
        Unheld: the conversation does not end in an answer to something.
    """
    messages = conversation.messages
    if not messages or messages[-1].role != "assistant" or len(messages) < 2:
        raise Unheld(tr("结尾没有回答", "no answer at the end"))
    return [{"role": m.role, "content": m.content} for m in messages[:-1]], messages[-1].content


def _reply(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def write_dpo(conversation: Conversation) -> Row:
    """The record as a pair.

    Raises:
        Unheld: there is no rejected answer, or it is the same as the chosen one.
    """
    prompt, answer = _split(conversation)
    if conversation.rejected is None:
        raise Unheld(tr("没有 rejected 回答", "no rejected answer"))
    if conversation.rejected == answer:
        raise Unheld(tr("rejected 与回答相同", "a rejected answer equal to the chosen one"))
    return {"prompt": prompt, "chosen": _reply(answer), "rejected": _reply(conversation.rejected)}


def write_kto(conversation: Conversation) -> list[Row]:
    """The record as one row for the answer and, in a pair, one for the answer not wanted.

    Raises:
        Unheld: there is no answer.
    """
    if conversation.messages and conversation.messages[-1].role == "user" and conversation.rejected is not None:
        prompt = [{"role": m.role, "content": m.content} for m in conversation.messages]
        return [{"prompt": prompt, "completion": _reply(conversation.rejected), "label": False}]
    prompt, answer = _split(conversation)
    rows: list[Row] = [{"prompt": prompt, "completion": _reply(answer), "label": True}]
    if conversation.rejected is not None:
        rows.append({"prompt": prompt, "completion": _reply(conversation.rejected), "label": False})
    return rows


def read_kto(rows: Iterable[tuple[str, Row]]) -> Iterator[Conversation]:
    """KTO rows to records: a wanted answer and the unwanted one to the same prompt right after it are one pair.

    An unwanted answer alone becomes a conversation that ends in the question, with `rejected`.

    Raises:
        BadInput: a field of the wrong type.
    """
    held: tuple[list[Message], str, Row] | None = None
    place = ""
    for where, row in rows:
        if not isinstance(row.get("label"), bool):
            raise BadInput(tr("字段 “label” 应为 true 或 false", 'field "label" should be true or false'), where=where)
        unknown: Row = {}
        prompt, used = _prompt(row, where, unknown)
        answer = _turns(row.get("completion"), "assistant", "completion", where, unknown)
        completion = _answer(answer, "completion", where)
        extras = with_fields(rest(row, "completion", "label", *used), unknown)
        if held and not row["label"] and held[0] == prompt and held[2] == extras:
            yield finish(
                [*prompt, Message(role="assistant", content=held[1])], place, extras=extras, rejected=completion
            )
            held = None
            continue
        if held:
            yield finish([*held[0], Message(role="assistant", content=held[1])], place, extras=held[2])
            held = None
        if row["label"]:
            held, place = (prompt, completion, extras), where
        else:
            yield finish(prompt, where, extras=extras, rejected=completion)
    if held:
        yield finish([*held[0], Message(role="assistant", content=held[1])], place, extras=held[2])


def read_completion(row: Row, where: str) -> Conversation:
    """`trl`'s prompt–completion row to the record.

    Raises:
        BadInput: a field of the wrong type.
    """
    unknown: Row = {}
    prompt, used = _prompt(row, where, unknown)
    completion = _turns(row["completion"], "assistant", "completion", where, unknown)
    extras = with_fields(rest(row, "completion", *used), unknown)
    return finish([*prompt, *completion], where, extras=extras)
