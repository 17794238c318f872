"""What we write, read by the projects it is for: LLaMA-Factory's loader and converters, `trl`'s data utilities,
ms-swift's preprocessor, XTuner's encoder.

None of them is a dependency. A test runs where its project can be imported, and says so where it cannot. To run all:
`pip install --no-deps llamafactory trl ms-swift xtuner` beside the packages they import.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from identity_kit import formats
from identity_kit.conversation import conversation

SINGLE = conversation(("user", "你是谁"), ("assistant", "我是文心大佬的智能助手。"))
MULTI = conversation(
    ("system", "要简短"), ("user", "你好"), ("assistant", "您好！"), ("user", "你是谁"), ("assistant", "我是小文。")
)
TOOL = conversation(("user", "几点"), ("assistant", "查一下"), ("tool", "12:00"), ("assistant", "十二点。"))
PAIR = conversation(("system", "要简短"), ("user", "你是谁"), ("assistant", "我是小文。"), rejected="我是通义千问。")
ROWS = [SINGLE, MULTI]


def rival(name: str) -> Any:
    """The module of another project, or a skip that says why."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever keeps it from loading here
        pytest.skip(f"{name.split('.')[0]} is not installed here: {error}")


def rival_file(name: str, file: str) -> Any:
    """One file of another project alone, without the packages around it and all that they import."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{name} is not installed here")
    spec = importlib.util.spec_from_file_location("rival_file", Path(found.submodule_search_locations[0]) / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever keeps it from loading here
        pytest.skip(f"{name} does not load here: {error}")
    return module


def load(path: Path) -> Any:
    """The rows as every one of these projects loads a file, through `datasets`."""
    from datasets import load_dataset

    kind = "parquet" if path.suffix == ".parquet" else "json"
    return load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


def messages_of(record: Any, *, system: bool = True) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in record.messages if system or m.role != "system"]


def llamafactory_rows(folder: Path) -> list[dict[str, Any]]:
    parser, converter = rival("llamafactory.data.parser"), rival("llamafactory.data.converter")
    (attributes,) = parser.get_dataset_list([folder.name], str(folder))
    rows = load(folder / attributes.dataset_name)
    make = converter.get_dataset_converter(attributes.formatting, attributes, SimpleNamespace(media_dir=""))
    return [make(row) for row in rows]


@pytest.mark.parametrize("rows", [ROWS, [TOOL, SINGLE]])
def test_llamafactory_reads_conversations(tmp_path: Path, rows: list[Any]) -> None:
    folder = tmp_path / "lf"
    formats.write(folder, rows, "llamafactory")
    names = {"tool": "observation"}
    for read, row in zip(llamafactory_rows(folder), rows, strict=True):
        wanted = [{"role": names.get(m.role, m.role), "content": m.content} for m in row.messages if m.role != "system"]
        assert read["_prompt"] + read["_response"] == wanted
        assert read["_system"] == (row.system or "")


def test_llamafactory_reads_pairs(tmp_path: Path) -> None:
    folder = tmp_path / "lf"
    formats.write(folder, [PAIR], "llamafactory")
    (read,) = llamafactory_rows(folder)
    assert read["_prompt"] == messages_of(PAIR, system=False)[:-1]
    assert [answer["content"] for answer in read["_response"]] == ["我是小文。", "我是通义千问。"]
    assert read["_system"] == "要简短"


def test_llamafactory_reads_alpaca_with_history(tmp_path: Path) -> None:
    folder = tmp_path / "lf"
    folder.mkdir()
    formats.write(folder / "a.json", ROWS, "alpaca")
    columns = {
        "prompt": "instruction",
        "query": "input",
        "response": "output",
        "system": "system",
        "history": "history",
    }
    (folder / "dataset_info.json").write_text(json.dumps({"lf": {"file_name": "a.json", "columns": columns}}))
    for read, row in zip(llamafactory_rows(folder), ROWS, strict=True):
        assert read["_prompt"] + read["_response"] == messages_of(row, system=False)
        assert read["_system"] == (row.system or "")


@pytest.mark.parametrize("format,options", [("openai", {}), ("sharegpt", {}), ("sharegpt", {"style": "role"})])
def test_trl_reads_conversations(tmp_path: Path, format: str, options: dict[str, str]) -> None:
    utilities = rival("trl.data_utils")
    path = tmp_path / "data.jsonl"
    formats.write(path, ROWS, format, **options)
    for raw, row in zip(load(path), ROWS, strict=True):
        read = utilities.maybe_convert_to_chatml(raw)
        if "from" in str(raw.get("conversations", ""))[:12] or format == "sharegpt":
            read["messages"] = [
                {"role": {"human": "user", "gpt": "assistant"}.get(m["role"], m["role"]), "content": m["content"]}
                for m in read["messages"]
            ]
        assert utilities.is_conversational(read)
        assert read["messages"] == messages_of(row)


def test_trl_reads_pairs(tmp_path: Path) -> None:
    utilities = rival("trl.data_utils")
    formats.write(tmp_path / "dpo.jsonl", [PAIR], "dpo")
    formats.write(tmp_path / "kto.jsonl", [PAIR], "kto")
    dpo, kto = load(tmp_path / "dpo.jsonl"), load(tmp_path / "kto.jsonl")
    assert utilities.is_conversational(dpo[0]) and utilities.is_conversational(kto[0])
    assert utilities.maybe_extract_prompt(dpo[0])["prompt"] == messages_of(PAIR)[:-1]
    unpaired = utilities.maybe_unpair_preference_dataset(dpo)
    assert [(row["completion"], row["label"]) for row in unpaired] == [(row["completion"], row["label"]) for row in kto]
    assert [row["prompt"] for row in unpaired] == [row["prompt"] for row in kto]


@pytest.mark.parametrize(
    "format,options",
    [("swift", {}), ("swift", {"style": "new"}), ("alpaca", {}), ("sharegpt", {}), ("sharegpt", {"style": "role"}), ("openai", {})],
)  # fmt: skip
def test_swift_reads_conversations(tmp_path: Path, format: str, options: dict[str, str]) -> None:
    swift = rival("swift.dataset.preprocessor")
    path = tmp_path / "data.jsonl"
    formats.write(path, ROWS, format, **options)
    read = swift.AutoPreprocessor()(load(path), load_from_cache_file=False, enable_auto_mapping=True)
    for messages, row in zip(read["messages"], ROWS, strict=True):
        kept = [{"role": m["role"], "content": m["content"]} for m in messages]
        assert [m for m in kept if m["role"] != "system" or m["content"]] == messages_of(row)


def test_swift_reads_pairs(tmp_path: Path) -> None:
    swift = rival("swift.dataset.preprocessor")
    path = tmp_path / "data.jsonl"
    formats.write(path, [PAIR], "swift", style="new")
    read = swift.AutoPreprocessor()(load(path), load_from_cache_file=False, enable_auto_mapping=True)[0]
    assert [m["content"] for m in read["messages"]] == [m.content for m in PAIR.messages]
    assert read["rejected_response"] == PAIR.rejected


def test_xtuner_encodes_conversations(tmp_path: Path) -> None:
    utilities = rival_file("xtuner", "dataset/utils.py")
    path = tmp_path / "data.jsonl"
    formats.write(path, ROWS, "xtuner")

    class Tokenizer:
        """Characters as tokens, enough for the encoder."""

        eos_token_id, bos_token_id, name_or_path = 1, 0, ""

        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [ord(c) for c in text]

    for row, record in zip(load(path), ROWS, strict=True):
        found = utilities.encode_fn(row, Tokenizer(), max_length=1000)
        text = "".join(chr(token) for token in found["input_ids"] if token > 1)
        assert text == "".join(m.content for m in record.messages if m.role != "system")
        answers = "".join(chr(token) for token in found["labels"] if token > 1)
        assert answers == "".join(m.content for m in record.messages if m.role == "assistant")
        assert row["conversation"][0]["system"] == (record.system or "")
