"""The one record that every stage reads and writes: a conversation, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from identity_kit.errors import BadInput
from identity_kit.files import atomic_open
from identity_kit.ui import tr

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["identity", "contrast", "rehearsal", "domain"]


class Message(BaseModel):
    """One turn: who speaks and what is said."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    role: Role
    content: str


class Meta(BaseModel):
    """Where a row comes from. All fields are optional, and unknown ones are kept as they came.

    `axes` is where the row stands in the plan: register, attitude, kind of system message, turns.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str | None = None
    facet: str | None = None
    language: str | None = None
    kind: Kind | None = None
    source: str | None = None
    prompt_hash: str | None = None
    seed: int | None = None
    model: str | None = None
    gates: dict[str, Any] | None = None
    axes: dict[str, Any] | None = None


class Conversation(BaseModel):
    """Messages and their provenance. `rejected` is the answer not wanted at the last turn, in a preference pair."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    messages: tuple[Message, ...]
    meta: Meta = Meta()
    rejected: str | None = None

    @property
    def answer(self) -> str:
        """The last assistant message, or the empty string."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def question(self) -> str:
        """The last user message, or the empty string."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        return next((m.content for m in self.messages if m.role == "system"), None)

    def to_line(self) -> str:
        """One JSON line without its line end; empty fields are left out."""
        return self.model_dump_json(exclude_none=True, exclude_defaults=True)


def conversation(*turns: tuple[Role, str], meta: Meta | None = None, rejected: str | None = None) -> Conversation:
    """A conversation from (role, text) pairs."""
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    return Conversation(messages=messages, meta=meta or Meta(), rejected=rejected)


def parse_line(line: str | bytes, where: str) -> Conversation:
    """One record from one JSON line.

    Raises:
        BadInput: not JSON, a field of the wrong type (a dict where a string belongs), or no messages; says which.
    """
    try:
        row = Conversation.model_validate_json(line)
    except ValidationError as error:
        raise BadInput(describe(error), where=where, fix=_other_format(error)) from None
    if not row.messages:
        raise BadInput(tr("messages 为空", "messages is empty"), where=where)
    return row


def _other_format(error: ValidationError) -> str:
    """What helps where the line is sound JSON, but in the form of another program."""
    if error.errors(include_url=False)[0]["type"] not in ("missing", "extra_forbidden"):
        return ""
    return tr(
        "如果是别的程序的格式，先转换：idkit convert 文件 -o rows.jsonl --to messages",
        "if it is in another program's format, convert it first: idkit convert FILE -o rows.jsonl --to messages",
    )


def describe(error: ValidationError) -> str:
    """The first failure of a pydantic check, in words: field, what was found, what was expected."""
    first = error.errors(include_url=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    found = first.get("input")
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return tr(f"不是有效的 JSON（{reason}）", f"not valid JSON ({reason})")
    if first["type"] == "missing":
        return tr(f"缺少字段 “{field}”", f'field "{field}" is missing')
    if first["type"] == "extra_forbidden":
        return tr(f"未知字段 “{field}”", f'unknown field "{field}"')
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", bool: "a truth value"}
    kind = names.get(type(found), "empty" if found is None else type(found).__name__)
    if first["type"] == "string_type":
        return tr(f"字段 “{field}” 是 {kind}，应为文本", f'field "{field}" is {kind}, expected text')
    return tr(f"字段 “{field}” 是 {kind}：{first['msg']}", f'field "{field}" is {kind}: {first["msg"]}')


def read_conversations(path: Path) -> Iterator[Conversation]:
    """The records of a JSONL file of ours, one at a time; a byte order mark and blank lines are passed over.

    A folder stands for its `conversations.jsonl`.

    Raises:
        BadInput: no such file, not UTF-8, or a line that is no record, with file and line.
    """
    if path.is_dir():
        path = path / "conversations.jsonl"
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path)) from None
    with stream:
        for number, raw in enumerate(stream, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if line.strip():
                yield parse_line(line, f"{path}:{number}")


def write_conversations(path: Path, rows: Iterable[Conversation]) -> int:
    """Write records as JSONL, atomically; returns how many."""
    count = 0
    with atomic_open(path) as stream:
        for row in rows:
            stream.write(row.to_line() + "\n")
            count += 1
    return count
