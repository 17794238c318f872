"""Turns that the data marks as not to be learnt, in each format that has such a mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs torch")

from identity_kit.conversation import read_conversations
from identity_kit.errors import BadInput
from identity_kit.formats.dataset import convert
from identity_kit.train.data import load_data
from identity_kit.train.recipe import make_recipe
from tests.train.conftest import make_tokenizer

TEXTS = [("user", "Hi"), ("assistant", "I am Qwen."), ("user", "Who?"), ("assistant", "I am Pip.")]
SYSTEM = ("system", "Be brief.")


def messages(mark: dict[str, Any], *, system: bool = False) -> dict[str, Any]:
    rows = [{"role": role, "content": text} for role, text in ([SYSTEM] if system else []) + TEXTS]
    rows[-3].update(mark)
    return {"messages": rows}


def pairs(mark: dict[str, Any], *, system: bool = False) -> dict[str, Any]:
    first = {"input": "Hi", "output": "I am Qwen.", **mark}
    if system:
        first["system"] = SYSTEM[1]
    return {"conversation": [first, {"input": "Who?", "output": "I am Pip."}]}


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize(
    ("row", "mark"),
    [(messages, {"weight": 0}), (messages, {"loss": False}), (pairs, {"output_with_loss": False})],
    ids=["openai", "swift", "xtuner"],
)
@pytest.mark.parametrize("seed", range(4))  # with or without a system message of ours before the row
def test_a_marked_turn_is_read_but_not_learnt(
    row: Any, mark: dict[str, Any], system: bool, seed: int, tmp_path: Path
) -> None:
    tokenizer, recipe = make_tokenizer(), make_recipe(default_system="mixed", seed=seed)

    def learnt(marked: dict[str, Any]) -> tuple[str, str]:
        source, target = tmp_path / "source.jsonl", tmp_path / "rows.jsonl"
        source.write_text(json.dumps(row(marked, system=system)) + "\n", "utf-8")
        convert(source, target, "messages")
        (found,) = load_data(list(read_conversations(target)), tokenizer, recipe).rows
        target.unlink()
        taught = [token for token, mask in zip(found.ids, found.mask, strict=True) if mask]
        return tokenizer.decode(found.ids), tokenizer.decode(taught)

    whole, taught = learnt({})
    assert "I am Qwen." in taught and "I am Pip." in taught
    key = next(iter(mark))
    assert learnt({key: True}) == (whole, taught)
    still, fewer = learnt(mark)
    assert still == whole
    assert fewer == taught.replace("I am Qwen.<|im_end|>", "") and "I am Pip." in fewer


def test_a_row_of_which_nothing_is_learnt_is_an_error(tmp_path: Path) -> None:
    source, target = tmp_path / "source.jsonl", tmp_path / "rows.jsonl"
    both = messages({"weight": 0})
    both["messages"][-1]["weight"] = 0
    source.write_text(json.dumps(both) + "\n", "utf-8")
    convert(source, target, "messages")
    with pytest.raises(BadInput, match="no assistant turn to learn"):
        load_data(target, make_tokenizer(), make_recipe())
