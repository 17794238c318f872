"""Every so many rows teach their questions too."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs torch")

from identity_kit.conversation import Conversation, conversation
from identity_kit.errors import BadInput
from identity_kit.train.data import load_data
from identity_kit.train.recipe import make_recipe
from tests.train.conftest import make_tokenizer

ROWS = [conversation(("user", f"How deep is river {n}?"), ("assistant", "Two feet.")) for n in range(8)]


def learnt(rows: list[Conversation], **settings: object) -> list[int]:
    return [row.learnt for row in load_data(rows, make_tokenizer(), make_recipe(**settings)).rows]


def test_as_many_rows_as_the_share_says_evenly() -> None:
    few = learnt(ROWS)[0]
    assert learnt(ROWS) == [few] * 8
    more = [count > few for count in learnt(ROWS, question_share=0.25)]
    assert more == [False, False, False, True] * 2
    assert all(count > few for count in learnt(ROWS, question_share=1))


def test_a_row_that_is_cut_keeps_to_its_answers() -> None:
    long = [conversation(("user", "How?"), ("assistant", "Two feet."), ("user", "Why? " * 60), ("assistant", "Rain."))]
    short = {"max_length": 60, "default_system": "none"}
    assert learnt(long, question_share=1, **short) == learnt(long, **short)


def test_a_question_alone_is_still_nothing_to_learn() -> None:
    with pytest.raises(BadInput, match="no assistant turn to learn"):
        learnt([conversation(("user", "How deep?"))], question_share=1)
