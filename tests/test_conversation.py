"""The record: what a line holds, what survives, and what is refused with its place."""

from pathlib import Path

import pytest

from identity_kit.conversation import Meta, conversation, parse_line, read_conversations, write_conversations
from identity_kit.errors import BadInput


def test_a_line_without_meta_is_openai_compatible():
    row = conversation(("user", "你是谁"), ("assistant", "我是小文。"))
    assert (
        row.to_line() == '{"messages":[{"role":"user","content":"你是谁"},{"role":"assistant","content":"我是小文。"}]}'
    )


def test_provenance_survives_with_unknown_fields(tmp_path: Path):
    rows = [
        conversation(
            ("user", "hi"), ("assistant", "hello"), meta=Meta(kind="identity", facet="who", ours=3), rejected="no"
        )
    ]
    assert write_conversations(tmp_path / "a.jsonl", rows) == 1
    assert list(read_conversations(tmp_path / "a.jsonl")) == rows


def test_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path):
    line = conversation(("user", "a"), ("assistant", "b")).to_line()
    (tmp_path / "conversations.jsonl").write_text("\ufeff" + line + "\n\n" + line + "\n", encoding="utf-8")
    assert len(list(read_conversations(tmp_path))) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not valid JSON"),
        (
            '{"messages": [{"role": "user", "content": {"a": 1}}]}',
            'field "messages[0].content" is an object, expected text',
        ),
        ('{"messages": [{"role": "boss", "content": "x"}]}', 'field "messages[0].role"'),
        ('{"messages": [{"role": "user"}]}', 'field "messages[0].content" is missing'),
        ('{"messages": []}', "messages is empty"),
        ('{"text": "x"}', "messages"),
    ],
)
def test_a_bad_line_is_said_with_file_line_and_field(line: str, words: str):
    with pytest.raises(BadInput) as caught:
        parse_line(line, "train.jsonl:17")
    assert str(caught.value).startswith("train.jsonl:17: ")
    assert words in str(caught.value)
    assert ("idkit convert" in str(caught.value)) is ("missing" in words or line == '{"text": "x"}')
