"""What a check compares with: evaluation questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.formats.containers import iter_rows
from identity_kit.resources import resource
from identity_kit.ui import tr


def probe_questions(paths: Sequence[Path] | None = None) -> list[str]:
    """The last user message of every probe in these files, or of the shipped ones.

    Raises:
        BadInput: a file that is not rows of messages or questions.
    """
    questions = []
    for path in paths or [resource("data", "probes")]:
        for where, row in iter_rows(path):
            question = _question(row)
            if question is None:
                raise BadInput(tr("没有问题文本", "holds no question"), where=where)
            questions.append(question)
    return questions


def _question(row: dict[str, Any]) -> str | None:
    if isinstance(row.get("messages"), list):
        asked = [m.get("content") for m in row["messages"] if isinstance(m, dict) and m.get("role") == "user"]
        return str(asked[-1]) if asked else None
    value = next((row[key] for key in ("text", "question", "prompt", "query", "input") if key in row), None)
    return value if isinstance(value, str) else None
