"""Preference pairs from two sets of answers to the same questions: ours is chosen, the other one's is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.text import normalise
from identity_kit.ui import tr

Key = tuple[tuple[str, str], ...]


def prompt_key(conversation: Conversation) -> Key:
    """What was asked, all turns before the last answer, normalised; the system text does not count."""
    messages = conversation.messages
    if messages and messages[-1].role == "assistant":
        messages = messages[:-1]
    return tuple((m.role, normalise(m.content)) for m in messages if m.role != "system")


def answers_by_prompt(rows: Iterable[Conversation]) -> dict[Key, str]:
    """The first answer to each prompt."""
    found: dict[Key, str] = {}
    for row in rows:
        if row.answer:
            found.setdefault(prompt_key(row), row.answer)
    return found


def pair(rows: Iterable[Conversation], others: dict[Key, str], counts: Counter[str]) -> Iterator[Conversation]:
    """The rows that have another answer, with it as `rejected`; rows without one, or with the same, are counted.

    Args:
        counts: filled with `paired`, `no_other` and `same`.
    """
    for row in rows:
        other = others.get(prompt_key(row))
        if other is None:
            counts["no_other"] += 1
        elif normalise(other) == normalise(row.answer):
            counts["same"] += 1
        else:
            counts["paired"] += 1
            yield row.model_copy(update={"rejected": other})


def require_pairs(counts: Counter[str], path: Path) -> None:
    """Refuse a file of other answers of which none fits or none differs.

    Raises:
        BadInput: no row got a rejected answer.
    """
    if counts["same"] and not counts["paired"]:
        raise BadInput(
            tr(
                f"它的回答与输入的都相同（{counts['same']} 个）",
                f"its answers are all the same as the input's ({counts['same']})",
            ),
            where=str(path),
            fix=tr("用还没训练过的模型来回答", "let the model answer that was not trained on them"),
        )
    if not counts["paired"]:
        raise BadInput(
            tr("没有一个问题与输入相同", "none of its questions is in the input"),
            where=str(path),
            fix=tr("用基础模型回答同样的问题", "let the base model answer the same questions"),
        )
