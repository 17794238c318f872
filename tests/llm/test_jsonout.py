"""JSON objects out of what models really write, and the repairs that are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_kit.llm.jsonout import parse_object

KEYS = ("question", "answer")
WHOLE = '{"question": "你是谁？", "answer": "我是小禾。"}'


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        (WHOLE, None),
        (f"```json\n{WHOLE}\n```", "fence taken off"),
        (f"好的，结果如下：\n{WHOLE}\n希望有帮助", "words around dropped"),
        (f"<think>{{想一想}}</think>{WHOLE}", "reasoning cut out"),
        ('{"question": "你是谁？", "answer": "我是小禾。",}', "trailing comma removed"),
        ('{"question": "你是谁？", "answer": "我是\n小禾。"}', "line break escaped"),
        ("{“question”：“你是谁？”，“answer”：“我是小禾。”}", "quotation marks made plain"),
        ('{"question": "你是谁？", "answer": "我是小禾', "cut object closed"),
    ],
)
def test_a_usual_slip_is_mended_and_told(text: str, repair: str | None) -> None:
    value, repairs = parse_object(text, KEYS)
    assert value is not None
    assert value["question"] == "你是谁？"
    assert value["answer"].replace("\n", "").startswith("我是小禾")
    assert repairs[-1:] == ((repair,) if repair else ())


@pytest.mark.parametrize("text", ["", "我不会写 JSON", '{"question": "你是谁？"}', "[1, 2]", '"text"', "{" * 2000])
def test_what_cannot_be_mended_gives_none(text: str) -> None:
    assert parse_object(text, KEYS)[0] is None


@given(st.text(max_size=200))
def test_no_text_makes_it_fail(text: str) -> None:
    value, _ = parse_object(text, KEYS)
    assert value is None or all(key in value for key in KEYS)
