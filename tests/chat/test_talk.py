"""What a talk remembers, how it is kept, and what can be typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from identity_kit.chat.talk import Talk, parse_command
from identity_kit.chat.terminal import printable, read_message
from identity_kit.conversation import read_conversations
from identity_kit.errors import BadInput


def a_talk() -> Talk:
    return Talk(
        ("base", "tuned"),
        system="简短",
        questions=["你是谁？", "谁做的？"],
        answers=[["通义", "阿里"], ["小文", "文心"]],
    )


def test_each_model_reads_its_own_history() -> None:
    talk = a_talk()
    talk.questions.append("再见")
    assert [turn["content"] for turn in talk.messages(1)] == ["简短", "你是谁？", "小文", "谁做的？", "文心", "再见"]


def test_taking_back_and_starting_afresh() -> None:
    talk = a_talk()
    assert talk.take_back() == "谁做的？"
    assert talk.answers == [["通义"], ["小文"]]
    talk.reset()
    assert talk.take_back() is None
    assert talk.system == "简短"


def test_a_saved_talk_is_data(tmp_path: Path) -> None:
    a_talk().save(tmp_path / "talk.jsonl")
    rows = list(read_conversations(tmp_path / "talk.jsonl"))
    assert [row.answer for row in rows] == ["阿里", "文心"]
    assert rows[0].system == "简短"


def test_a_saved_talk_can_be_read(tmp_path: Path) -> None:
    a_talk().save(tmp_path / "talk.md")
    text = (tmp_path / "talk.md").read_text(encoding="utf-8")
    assert text.index("你是谁？") < text.index("通义") < text.index("小文") < text.index("谁做的？")


def test_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing was said"):
        Talk(("m",)).save(tmp_path / "talk.md")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/system 你是小文", ("system", "你是小文")),
        ("/quit", ("exit", "")),
        ("hello", None),
        ("/etc/hosts 是什么文件", None),
        ("/你好", None),
    ],
)
def test_commands(line: str, command: tuple[str, str] | None) -> None:
    assert parse_command(line) == command


def test_an_unknown_command_is_not_said_to_the_model() -> None:
    with pytest.raises(BadInput, match="no command /sytem; known: /system"):
        parse_command("/sytem x")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["hi"], "hi"),
        (["one \\", "two"], "one \ntwo"),
        (['"""', "def f():", "    return 1", '"""'], "def f():\n    return 1"),
        (['"""one line"""'], "one line"),
    ],
)
def test_several_lines_make_one_message(typed: list[str], message: str) -> None:
    lines = iter(typed)
    assert read_message(lambda prompt: next(lines), "me> ") == message


def test_control_sequences_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\r\n\tc\x9b1m") == "a[31mb\n\tc1m"
