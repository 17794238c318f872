"""What a check compares with: evaluation questions, and the recipe that the data will be trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from identity_kit.check.audit import Schedule
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


def schedule_from_recipe(path: Path) -> Schedule:
    """The keys of a recipe that a forecast needs.

    Raises:
        BadInput: no such file, not YAML, or a key that is no number.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadInput(tr("没有这个文件", "no such file"), where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise BadInput(tr("不是有效的 YAML", "not valid YAML"), where=where) from None
    if not isinstance(value, dict):
        raise BadInput(tr("应为 键: 值 的 YAML", "expected key: value YAML"), where=str(path))
    names = [field.name for field in fields(Schedule)]
    given = {name: value[name] for name in names if value.get(name) is not None}
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or (number <= 0 and name != "max_steps"):
            raise BadInput(tr(f"{name} 应为正数", f"{name} should be a positive number"), where=str(path))
    return Schedule(**given)
