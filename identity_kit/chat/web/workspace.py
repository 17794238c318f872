"""What the page shows of RUN folders: read from the files that the commands write, so that both see the same."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from identity_kit.conversation import Conversation, Message, parse_line
from identity_kit.errors import BadInput
from identity_kit.files import atomic_open, folder_lock, read_json, sha256_text
from identity_kit.persona import Persona, load_persona, make_persona, save_persona
from identity_kit.ui import tr

_NAME = re.compile(r"[\w\-][\w\-. ]{0,63}")
_STAGES = ("model", "data", "check", "train", "merge", "evaluate")


def run_folder(root: Path, name: str, *, exists: bool = True) -> Path:
    """The folder of the run called `name` under `root`.

    Raises:
        BadInput: the name could lead out of `root`, or there is no such run.
    """
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise BadInput(
            tr(f"名称“{name}”不能用", f'the name "{name}" cannot be used'),
            fix=tr("用字母、数字、汉字、- 和 _", "use letters, digits, - and _"),
        )
    folder = root / name
    if exists and not (folder / "persona.yaml").is_file():
        raise BadInput(tr(f"没有运行 {name}", f"no run called {name}"))
    return folder


def list_runs(root: Path) -> list[dict[str, Any]]:
    """Every run under `root`, the newest first: name, whose it is, what is done."""
    runs = []
    for folder in root.iterdir() if root.is_dir() else ():
        if (folder / "persona.yaml").is_file() and _NAME.fullmatch(folder.name):
            record = _record(folder)
            runs.append(
                {
                    "name": folder.name,
                    "changed": max((path.stat().st_mtime for path in folder.iterdir()), default=0.0),
                    "done": [stage for stage in _STAGES if stage in record.get("stages", {})],
                    "busy": is_busy(folder),
                    "merged": (folder / "merged" / "config.json").is_file(),
                }
            )
    return sorted(runs, key=lambda run: -run["changed"])


def create_run(root: Path, name: str, fields: dict[str, Any]) -> Path:
    """Make a run folder with its persona.yaml.

    Raises:
        BadInput: the name is taken or not usable, or the persona is wrong.
    """
    folder = run_folder(root, name, exists=False)
    if (folder / "persona.yaml").exists():
        raise BadInput(
            tr(f"已有运行 {name}", f"there is a run called {name} already"), fix=tr("换个名称", "choose another name")
        )
    persona = persona_from_fields(fields)
    folder.mkdir(parents=True, exist_ok=True)
    save_persona(folder / "persona.yaml", persona)
    return folder


def persona_from_fields(fields: dict[str, Any]) -> Persona:
    """A persona from the page's form; what was left empty takes its default.

    Raises:
        BadInput: a value is wrong; names the key.
    """

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept for key, item in value.items() if (kept := filled(item)) not in (None, "", {}, [])}
        if isinstance(value, list):
            return [kept for item in value if (kept := filled(item)) not in (None, "", {}, [])]
        return value.strip() if isinstance(value, str) else value

    given = {key: value for key, value in filled(fields).items() if value not in ("", {}, [])}
    return make_persona(where="persona", **given)


def save_run_persona(folder: Path, fields: dict[str, Any], seen: str) -> str:
    """Write the run's persona unless it changed since the page read it; returns its new version.

    Raises:
        BadInput: it changed meanwhile, a command is working on the run, or the persona is wrong.
    """
    refuse_when_busy(folder)
    if persona_version(folder) != seen:
        raise Conflict()
    save_persona(folder / "persona.yaml", persona_from_fields(fields))
    return persona_version(folder)


class Conflict(BadInput):
    """What the page shows is no longer what is in the file: another tab or program changed it."""

    def __init__(self) -> None:
        super().__init__(
            tr("这里已被别处修改", "it was changed elsewhere meanwhile"),
            fix=tr("重新载入后再改", "reload and make the change again"),
        )


def persona_version(folder: Path) -> str:
    """A short hash of persona.yaml, for noticing a change."""
    return sha256_text((folder / "persona.yaml").read_text(encoding="utf-8"))[:16]


def show_run(folder: Path) -> dict[str, Any]:
    """Everything the page needs of one run, but the data's rows."""
    persona = load_persona(folder / "persona.yaml")
    record = _record(folder)
    return {
        "name": folder.name,
        "persona": persona.model_dump(mode="json", exclude_none=True),
        "persona_version": persona_version(folder),
        "stages": {key: value.get("seconds") for key, value in record.get("stages", {}).items()},
        "train": record.get("train"),
        "base": (record.get("base") or {}).get("name"),
        "busy": is_busy(folder),
        "merged": (folder / "merged" / "config.json").is_file(),
        "rows": _count_lines(folder / "data" / "conversations.jsonl"),
        "loss": [[entry["step"], entry["loss"]] for entry in _log(folder) if "loss" in entry],
        "answers": [entry for entry in _log(folder) if "answers" in entry][-3:],
        "report": _report(folder),
        "exports": _exports(folder),
    }


def _record(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    return read_json(path) if path.is_file() else {}


def _log(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "log.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):  # the last line may be half written
            yield json.loads(line)


def _count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as stream:
        return sum(1 for line in stream if line.strip())


def _report(folder: Path) -> dict[str, Any] | None:
    """The report card's figures and some answers side by side, without the thousand other answers."""
    path = folder / "report" / "report.json"
    if not path.is_file():
        return None
    card = read_json(path)
    shown: dict[str, dict[str, Any]] = {}
    for result in card.get("results", ()):
        if result["condition"] in (card["baseline"], card["subject"]) and not result.get("sample"):
            row = shown.setdefault(
                result["probe"], {"suite": result["suite"], "question": result["messages"][-1]["content"]}
            )
            side = "before" if result["condition"] == card["baseline"] else "after"
            row[side] = {"text": result["answers"][-1], "passed": result["passed"]}
    pairs = [row for row in shown.values() if "before" in row and "after" in row]
    return {
        "baseline": card["baseline"],
        "subject": card["subject"],
        "conditions": [{"label": c["label"], "cells": c["cells"]} for c in card["conditions"]],
        "failed": [row for row in pairs if not row["after"]["passed"]][:20],
        "gained": [row for row in pairs if row["after"]["passed"] and not row["before"]["passed"]][:10],
    }


def _exports(folder: Path) -> list[dict[str, Any]]:
    result = []
    for path in sorted((folder / "exports").glob("*/idkit.json")):
        files = [file for file in path.parent.rglob("*") if file.is_file()]
        result.append(
            {
                "name": path.parent.name,
                "folder": str(path.parent.resolve()),
                "bytes": sum(file.stat().st_size for file in files),
                "format": read_json(path).get("format"),
            }
        )
    return result


# --- the data's rows --------------------------------------------------------------------------------------------------


def show_rows(folder: Path, *, query: str = "", kind: str = "", offset: int = 0, limit: int = 50) -> dict[str, Any]:
    """A page of the data's rows that contain `query`: {total, rows}, each row with its version for later changes."""
    words, found, total = query.casefold(), [], 0
    for line in _lines(folder):
        row = parse_line(line, "conversations.jsonl")
        if kind and row.meta.kind != kind:
            continue
        if words and words not in "\n".join(message.content for message in row.messages).casefold():
            continue
        total += 1
        if offset < total <= offset + limit:
            found.append(
                {
                    "version": sha256_text(line)[:16],
                    "messages": [message.model_dump() for message in row.messages],
                    "kind": row.meta.kind,
                    "facet": row.meta.facet,
                    "language": row.meta.language,
                }
            )
    return {"total": total, "rows": found}


def _lines(folder: Path) -> list[str]:
    path = folder / "data" / "conversations.jsonl"
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def change_row(folder: Path, version: str, *, messages: list[dict[str, str]] | None) -> str | None:
    """Replace a row's texts, or reject the row (`messages` None), which moves it to rejected.jsonl with the reason.

    Returns the row's new version, None for a rejected one.

    Raises:
        BadInput: a command is working on the run, or a text is empty or of another role.
        Conflict: no row has this version any more.
    """
    refuse_when_busy(folder)
    with folder_lock(folder):
        lines = _lines(folder)
        position = next((i for i, line in enumerate(lines) if sha256_text(line)[:16] == version), None)
        if position is None:
            raise Conflict()
        row = parse_line(lines[position], f"conversations.jsonl:{position + 1}")
        if messages is None:
            _keep_rejected(folder, row)
            del lines[position]
            new = None
        else:
            edited = _edited(row, messages)
            lines[position] = edited.to_line()
            new = sha256_text(lines[position])[:16]
        with atomic_open(folder / "data" / "conversations.jsonl") as stream:
            stream.write("".join(line + "\n" for line in lines))
    return new


def _edited(row: Conversation, messages: list[dict[str, str]]) -> Conversation:
    turns = tuple(Message.model_validate(message) for message in messages)
    if [turn.role for turn in turns] != [turn.role for turn in row.messages]:
        raise BadInput(tr("角色的顺序不能改", "the order of roles cannot change"))
    if any(not turn.content.strip() for turn in turns):
        raise BadInput(tr("内容不能为空", "a text must not be empty"))
    meta = row.meta.model_copy(update={"edited": True})
    return row.model_copy(update={"messages": turns, "meta": meta})


def _keep_rejected(folder: Path, row: Conversation) -> None:
    """Append the row to rejected.jsonl, in the shape that the gates use there."""
    meta = row.meta.model_copy(update={"rejected": "by hand"})
    path = folder / "data" / "rejected.jsonl"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    with atomic_open(path) as stream:
        stream.write(before + row.model_copy(update={"meta": meta}).to_line() + "\n")


# --- whether something is working on it -------------------------------------------------------------------------------


def is_busy(folder: Path) -> bool:
    """Whether a command, started here or in a terminal, is working on the run."""
    if not (folder / ".lock").is_file():
        return False
    try:
        with folder_lock(folder):
            return False
    except BadInput:
        return True


def refuse_when_busy(folder: Path) -> None:
    """Raise BadInput while a command is working on the run."""
    if is_busy(folder):
        raise BadInput(
            tr("一条命令正在使用这个运行", "a command is working on this run"),
            fix=tr("等它结束，或先停止它", "wait for it to end, or stop it first"),
        )
