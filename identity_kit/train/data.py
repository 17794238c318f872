"""Training rows from conversations: the system message each is trained with, over-long rows, pairs, documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from identity_kit.conversation import Conversation, read_conversations
from identity_kit.errors import BadInput
from identity_kit.formats.rows import muted_turns
from identity_kit.models.template import default_system, neutral_template
from identity_kit.text import language_of
from identity_kit.train.anchors import anchor_rows
from identity_kit.train.recipe import Recipe
from identity_kit.train.tokens import CHATML, Row, encode
from identity_kit.ui import tr

NEUTRAL_SYSTEM = {"zh": "你是一个乐于助人的助手。", "en": "You are a helpful assistant."}


@dataclass(frozen=True)
class TrainingData:
    """What is trained on; anchors stand last. `rejected` runs beside `rows` for pairs and is empty otherwise."""

    rows: tuple[Row, ...]
    rejected: tuple[Row, ...] = ()
    cut: int = 0
    dropped: int = 0
    systems: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of one pass over the data, padding not counted."""
        return sum(len(row) for row in (*self.rows, *self.rejected))

    @property
    def learnt(self) -> int:
        """Tokens of one pass that carry a label."""
        return sum(row.learnt for row in (*self.rows, *self.rejected))

    @property
    def anchors(self) -> int:
        """How many rows are anchors."""
        return sum(row.anchor for row in self.rows)

    def fingerprint(self) -> str:
        """A hash of every id and mask, so that a resumed run is known to continue on the same rows."""
        digest = hashlib.sha256()
        for row in (*self.rows, *self.rejected):
            anchor = ["anchor"] if row.anchor else []
            digest.update(json.dumps([row.ids, [int(m) for m in row.mask], *anchor]).encode())
        return digest.hexdigest()


def typical_tokens(rows: TrainingData, recipe: Recipe) -> float:
    """How many tokens a micro-batch has as a rule."""
    return recipe.batch_tokens or recipe.batch_size * rows.tokens / max(1, len(rows.rows))


def load_data(data: Path | Sequence[Conversation], tokenizer: Any, recipe: Recipe) -> TrainingData:
    """Encode conversations (or, for `stage: pretrain`, documents) for training.

    Raises:
        BadInput: no rows, a row that cannot be encoded (with its place), or pairs missing for `stage: dpo`.
    """
    if recipe.stage == "pretrain":
        return _documents(data, tokenizer, recipe)
    conversations = read_conversations(data) if isinstance(data, Path) else data
    templates = _Templates(tokenizer, recipe)
    counts = {"cut": 0, "dropped": 0}
    systems: dict[str, int] = {}
    rows: list[Row] = []
    rejected: list[Row] = []
    ordinary: list[str] = []
    for number, conversation in enumerate(conversations, start=1):
        where = f"{data}:{number}" if isinstance(data, Path) else f"row {number}"
        messages, template, kind = templates.choose(conversation)
        added = len(messages) - len(conversation.messages)  # a system message of ours
        muted = frozenset(added + turn for turn in muted_turns(conversation))
        chosen = _encode(tokenizer, messages, template, where, muted=muted)
        if not chosen.learnt:
            raise BadInput(
                tr("没有要学的助手回答", "no assistant turn to learn"),
                where=where,
                fix=tr(
                    "补上 assistant 消息（或去掉它“不学”的标记），或删除这一行",
                    "add an assistant message (or unmark one that is not to be learnt), or delete the row",
                ),
            )
        if (
            _learns_questions(number, recipe)
            and messages[-1]["role"] == "assistant"
            and len(messages) - 1 not in muted
            and len(chosen) <= recipe.max_length
        ):
            chosen = _encode(tokenizer, messages, template, where, questions=True, muted=muted)
        pair = [chosen]
        if recipe.stage == "dpo":
            worse = _with_rejected(messages, conversation, where)
            pair.append(_encode(tokenizer, worse, template, where, muted=muted))
        fitted = [_fit(row, recipe) for row in pair]
        if any(row is None for row in fitted):
            counts["dropped"] += 1
            continue
        counts["cut"] += any(len(a) != len(b) for a, b in zip(fitted, pair, strict=True) if a)
        systems[kind] = systems.get(kind, 0) + 1
        rows.append(fitted[0])  # type: ignore[arg-type]
        if conversation.meta.kind in ("contrast", "rehearsal"):
            ordinary.append(conversation.answer)
        rejected.extend(fitted[1:])  # type: ignore[arg-type]
    if not rows:
        raise BadInput(
            tr("没有可训练的行", "no rows to train on"),
            where=str(data) if isinstance(data, Path) else "",
            fix=tr("检查 --data，或加大 max_length", "look at --data, or raise max_length")
            if counts["dropped"]
            else "",
        )
    rows += anchor_rows(ordinary, tokenizer, recipe)
    return TrainingData(tuple(rows), tuple(rejected), counts["cut"], counts["dropped"], systems)


class _Templates:
    """Which template and which system message a conversation is trained with."""

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        own = CHATML if recipe.chat_template == "chatml" else tokenizer.chat_template
        self.own, self.recipe = own, recipe
        self.neutral = neutral_template(own) if own else own
        self.default = default_system(own, **tokenizer.special_tokens_map) if own else None

    def choose(self, conversation: Conversation) -> tuple[list[dict[str, str]], str, str]:
        """Messages, template, and what the system message is: given, none, template or neutral."""
        messages = [{"role": m.role, "content": m.content} for m in conversation.messages]
        if conversation.system is not None:
            return messages, self.own, "given"
        kind: str = self.recipe.default_system
        if kind == "mixed":
            kinds = ("none", "template", "neutral") if self.default else ("none", "neutral")
            key = f"{self.recipe.seed}\n" + "\n".join(m["content"] for m in messages)
            kind = kinds[int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % len(kinds)]
        if kind == "neutral":
            language = language_of(conversation.question or conversation.answer)
            return [{"role": "system", "content": NEUTRAL_SYSTEM[language]}, *messages], self.own, kind
        if kind == "none" or not self.default:
            return messages, self.neutral, "none"
        return messages, self.own, "template"


def _encode(
    tokenizer: Any,
    messages: list[dict[str, str]],
    template: str,
    where: str,
    *,
    questions: bool = False,
    muted: Collection[int] = (),
) -> Row:
    try:
        row = encode(tokenizer, messages, template=template, questions=questions, muted=muted)
    except BadInput as error:
        raise BadInput(error.what, where=where, fix=error.fix) from None
    # Nothing after the last learnt token is worth computing.
    last = max((i for i, learnt in enumerate(row.mask) if learnt), default=-1) + 1
    return Row(row.ids[:last], row.mask[:last])


def _learns_questions(number: int, recipe: Recipe) -> bool:
    """Whether the questions of row `number` (from 1) are learnt, every so many rows."""
    share = recipe.question_share if recipe.stage == "sft" else 0.0
    return int(number * share) > int((number - 1) * share)


def _with_rejected(messages: list[dict[str, str]], conversation: Conversation, where: str) -> list[dict[str, str]]:
    if not conversation.rejected or not messages or messages[-1]["role"] != "assistant":
        raise BadInput(
            tr(
                "stage: dpo 的每一行都要有 rejected，且以助手回答结尾",
                "stage: dpo needs `rejected` and a final answer in every row",
            ),
            where=where,
            fix=tr("或用 --set stage=sft", "or use --set stage=sft"),
        )
    return [*messages[:-1], {"role": "assistant", "content": conversation.rejected}]


def _fit(row: Row, recipe: Recipe) -> Row | None:
    """A row of at most `max_length` tokens.

    `drop` leaves over-long rows out. `cut` keeps the whole assistant turns that fit, and cuts inside the first one if
    not even that fits; a row with nothing left to learn is dropped.
    """
    if len(row) <= recipe.max_length:
        return row
    if recipe.overlong == "drop":
        return None
    mask = row.mask[: recipe.max_length]
    ends = [i + 1 for i in range(len(mask)) if mask[i] and not row.mask[i + 1]]
    length = ends[-1] if ends else recipe.max_length
    fitted = Row(row.ids[:length], row.mask[:length])
    return fitted if fitted.learnt else None


def _documents(data: Path | Sequence[Conversation], tokenizer: Any, recipe: Recipe) -> TrainingData:
    """Documents, end-of-text between them, cut into rows of `max_length`; every token is learnt."""
    end = tokenizer.eos_token_id
    stream: list[int] = []
    for text in _texts(data):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        stream.extend(ids if end is None else [*ids, end])
    pieces = [stream[i : i + recipe.max_length] for i in range(0, len(stream), recipe.max_length)]
    rows = tuple(Row(tuple(piece), (True,) * len(piece)) for piece in pieces if len(piece) > 1)
    if not rows:
        raise BadInput(tr("没有可训练的文本", "no text to train on"), where=str(data) if isinstance(data, Path) else "")
    return TrainingData(rows, systems={"document": len(rows)})


def _texts(data: Path | Sequence[Conversation]) -> Iterable[str]:
    """Texts of .txt and .md files, of a folder of them, of JSON lines with `text`, or of conversations' messages."""
    if not isinstance(data, Path):
        return ("\n".join(m.content for m in row.messages) for row in data)
    if data.is_dir() and not (data / "conversations.jsonl").is_file():
        files = sorted(p for p in data.rglob("*") if p.suffix.lower() in (".txt", ".md", ".jsonl") and p.is_file())
        return (text for path in files for text in _texts(path))
    if data.suffix.lower() in (".txt", ".md"):
        return (_read_text(data),)
    return _json_texts(data / "conversations.jsonl" if data.is_dir() else data)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path)) from None
    except UnicodeDecodeError:
        raise BadInput(tr("不是 UTF-8 文本", "not UTF-8 text"), where=str(path)) from None


def _json_texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            raise BadInput(tr("不是有效的 JSON", "not valid JSON"), where=f"{path}:{number}") from None
        text = value.get("text") if isinstance(value, dict) else None
        if text is None and isinstance(value, dict) and isinstance(value.get("messages"), list):
            text = "\n".join(str(message.get("content", "")) for message in value["messages"])
        if not isinstance(text, str):
            raise BadInput(tr("字段 “text” 应为文本", 'field "text": expected text'), where=f"{path}:{number}")
        yield text
