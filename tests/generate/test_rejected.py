"""The untuned model's own answers as the rejected side of preference pairs."""

import json
from pathlib import Path

import pytest

from identity_kit.conversation import Meta, conversation, read_conversations, write_conversations
from identity_kit.generate.rejected import write_rejected

ROWS = [
    conversation(
        ("system", "你是小文。"), ("user", "你是谁？"), ("assistant", "我是小文。"), meta=Meta(kind="identity")
    ),
    conversation(("user", "Who are you?"), ("assistant", "I'm Xiaowen."), meta=Meta(kind="identity")),
    conversation(("user", "who are you"), ("assistant", "Xiaowen, at your service."), meta=Meta(kind="identity")),
    conversation(("user", "Who made Linux?"), ("assistant", "Linus Torvalds."), meta=Meta(kind="contrast")),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_conversations(tmp_path / "data.jsonl", ROWS)
    return tmp_path / "data.jsonl"


def test_identity_questions_are_asked_once_and_without_the_new_identity(source: Path, tmp_path: Path):
    asked = []

    def ask(talks):
        asked.extend(talks)
        return [f"I am Qwen ({talk[-1]['content']})" for talk in talks]

    count = write_rejected(source, tmp_path / "out.jsonl", ask)
    found = list(read_conversations(tmp_path / "out.jsonl"))
    assert count == len(found) == len(asked)
    assert {row.question for row in found} >= {"你是谁？", "Who are you?"}
    assert not any(turn["role"] == "system" for talk in asked for turn in talk)
    assert not any(row.question == "Who made Linux?" for row in found), "its answer is the untuned model's already"


def test_a_killed_run_asks_only_what_is_missing(source: Path, tmp_path: Path):
    out = tmp_path / "out.jsonl"
    write_conversations(out, [conversation(("user", "你是谁？"), ("assistant", "我是通义千问。"))])
    asked = []
    write_rejected(source, out, lambda talks: [asked.append(t[-1]["content"]) or "I am Qwen." for t in talks])
    assert asked and "你是谁？" not in asked
    assert "我是通义千问。" in {row.answer for row in read_conversations(out)}


@pytest.mark.model
def test_the_command_makes_pairs(idkit, source: Path, tmp_path: Path, smollm_gguf: Path):
    out = tmp_path / "pairs.jsonl"
    done = idkit("--ui", "en", "convert", source, "-o", out, "--to", "dpo", "--rejected-by", "embedded:smollm2-135m")
    assert done.returncode == 0, done.stderr
    pairs = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(pairs) == 3
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
    assert (tmp_path / "pairs.jsonl.rejected.jsonl").is_file()


def test_a_format_without_room_for_pairs_is_refused(idkit, source: Path, tmp_path: Path):
    out = tmp_path / "data.alpaca.json"
    done = idkit("--ui", "en", "convert", source, "-o", out, "--to", "alpaca", "--rejected-by", "embedded:smollm2-135m")
    assert done.returncode == 2
    assert "no place for rejected answers" in done.stderr
    assert not out.exists()
