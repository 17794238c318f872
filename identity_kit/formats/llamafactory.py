"""LLaMA-Factory: a data file and its entry in `dataset_info.json` beside it.

Documented in LLaMA-Factory's `data/README`: `formatting`, `ranking`, `columns`, `tags`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, overload

from identity_kit.conversation import Conversation
from identity_kit.errors import BadInput
from identity_kit.files import read_json, write_json
from identity_kit.formats import alpaca, preference, sharegpt
from identity_kit.formats.containers import iter_rows
from identity_kit.formats.rows import Row, Unheld
from identity_kit.ui import tr

INFO = "dataset_info.json"


def is_folder(path: Path) -> bool:
    """Whether a folder has LLaMA-Factory's list of data sets (and not the one that `datasets` writes)."""
    return path.is_dir() and (path / INFO).is_file() and not (path / "state.json").exists()


def write_row(conversation: Conversation) -> Row:
    """The record in ShareGPT's fields, a pair with `chosen` and `rejected` as messages.

    Raises:
        Unheld: turns that its loader would skip.
    """
    if conversation.rejected is None:
        return sharegpt.write_row(conversation)
    messages = conversation.messages
    sharegpt.write_turns(messages, "from")
    if conversation.rejected == messages[-1].content:
        raise Unheld(tr("rejected 与回答相同", "a rejected answer equal to the chosen one"))
    return {
        "conversations": [sharegpt.tagged(message, "from") for message in messages[:-1]],
        "chosen": {"from": "gpt", "value": messages[-1].content},
        "rejected": {"from": "gpt", "value": conversation.rejected},
    }


def entry(file_name: str, *, pairs: bool) -> Row:
    """The description of a data file that `write_row` filled, as its loader wants it."""
    columns = {"messages": "conversations"}
    if pairs:
        columns |= {"chosen": "chosen", "rejected": "rejected"}
    tags = {"role_tag": "from", "content_tag": "value", "function_tag": "function_call"}
    for role, tag in sharegpt.TAGS.items():
        tags["observation_tag" if role == "tool" else f"{role}_tag"] = tag
    described: Row = {"file_name": file_name, "formatting": "sharegpt"}
    if pairs:
        described["ranking"] = True
    return {**described, "columns": columns, "tags": tags}


def register(folder: Path, name: str, described: Row) -> None:
    """Add or replace one data set in the folder's `dataset_info.json`; the others stay.

    Raises:
        BadInput: the file that is there is not such a list.
    """
    path = folder / INFO
    known: Any = read_json(path) if path.exists() else {}
    if not isinstance(known, dict):
        raise BadInput(tr("应为 {名称: 描述}", "expected {name: description}"), where=str(path))
    write_json(path, {**known, name: described})


def data_file(output: Path, suffix: str = ".json") -> tuple[Path, str]:
    """Where the data go and what they are called, for `-o DIR` and for `-o DIR/NAME.json`."""
    if output.suffix in (".json", ".jsonl", ".parquet"):
        return output, output.stem
    stem = re.sub(r"\W+", "_", output.name) or "identity"
    return output / f"{stem}{suffix}", stem


@overload
def read_folder(folder: Path) -> Iterator[tuple[str, Row, Row]]: ...


@overload
def read_folder(
    folder: Path, *, tolerant: Literal[True], remarks: list[str] | None = None
) -> Iterator[tuple[str, Row | BadInput, Row]]: ...


def read_folder(folder: Path, *, tolerant: bool = False, remarks: list[str] | None = None) -> Iterator[Any]:
    """The rows of all local data sets in the list, each with its place and its description.

    Args:
        tolerant: give a JSON line that is broken as its error, and go on.
        remarks: what there is to say about a file is added here.

    Raises:
        BadInput: an entry is not a description, or its file is missing.
    """
    info = read_json(folder / INFO)
    if not isinstance(info, dict):
        raise BadInput(tr("应为 {名称: 描述}", "expected {name: description}"), where=str(folder / INFO))
    found = False
    for name, described in info.items():
        if not isinstance(described, dict):
            raise BadInput(tr(f"“{name}” 应为对象", f'"{name}" should be an object'), where=str(folder / INFO))
        if "file_name" not in described or not (folder / str(described["file_name"])).exists():
            continue
        found = True
        options: dict[str, Any] = {"tolerant": tolerant, "remarks": remarks}
        for where, row in iter_rows(folder / str(described["file_name"]), **options):
            yield where, row, described
    if not found:
        raise BadInput(
            tr("列表中没有一个本地数据文件", "none of its data sets has a file here"), where=str(folder / INFO)
        )


def read_row(row: Row, where: str, described: Row) -> Conversation:
    """One row to the record, its columns and tags named as the description says.

    Raises:
        BadInput: a field is missing or of the wrong type.
    """
    columns: dict[str, str] = described.get("columns") or {}
    if described.get("formatting", "alpaca") == "alpaca":
        names = {"prompt": "instruction", "query": "input", "response": "output"} | columns
        standard = {"prompt": "instruction", "query": "input", "response": "output"}
        renamed = _rename(row, {str(names[key]): standard.get(key, key) for key in names if names[key]})
        if described.get("ranking"):
            return preference.read_dpo(renamed, where)
        return alpaca.read_row(renamed, where)
    names = {"messages": "conversations"} | columns
    renamed = _rename(
        row, {str(names[key]): {"messages": "conversations"}.get(key, key) for key in names if names[key]}
    )
    tags = {"role_tag": "from", "content_tag": "value"} | (described.get("tags") or {})
    roles = {str(tags[f"{role}_tag"]): role for role in ("user", "assistant", "system") if f"{role}_tag" in tags}
    if "observation_tag" in tags:
        roles[str(tags["observation_tag"])] = "tool"

    def standard_turn(turn: Any) -> Any:
        if not isinstance(turn, dict):
            return turn
        role = turn.get(tags["role_tag"])
        others = {key: value for key, value in turn.items() if key not in (tags["role_tag"], tags["content_tag"])}
        return {**others, "role": roles.get(str(role), role), "content": turn.get(tags["content_tag"])}

    for key in ("conversations", "chosen", "rejected"):
        value = renamed.get(key)
        if isinstance(value, list | dict):
            renamed[key] = [standard_turn(turn) for turn in value] if isinstance(value, list) else standard_turn(value)
    if described.get("ranking"):
        return preference.read_dpo(renamed, where)
    return sharegpt.read_row(renamed, where)


def _rename(row: Row, names: dict[str, str]) -> Row:
    return {names.get(key, key): value for key, value in row.items()}
