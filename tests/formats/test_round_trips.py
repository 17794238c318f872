"""Whatever a format can hold comes back unchanged, in any container; what it cannot is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity_kit import formats
from identity_kit.conversation import Conversation, Message, Meta

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4)
META = st.builds(
    Meta,
    id=st.none() | TEXT,
    facet=st.none() | st.sampled_from(["who", "name"]),
    kind=st.none() | st.sampled_from(["identity", "contrast", "rehearsal", "domain"]),
    seed=st.none() | st.integers(0, 2**31),
    gates=st.none() | st.dictionaries(st.sampled_from("ab"), st.booleans(), min_size=1),
)


@st.composite
def conversations(draw, *, pairs: bool = False, meta: bool = False) -> Conversation:
    system = draw(st.none() | TEXT)
    messages = [Message(role="system", content=system)] if system else []
    for question, answer in draw(PAIRS):
        messages += [Message(role="user", content=question), Message(role="assistant", content=answer)]
    rejected = draw(TEXT.filter(lambda text: text != messages[-1].content)) if pairs else None
    found = draw(META) if meta else Meta()
    return Conversation(messages=tuple(messages), meta=found, rejected=rejected)


def round_trip(rows: list[Conversation], format: str, suffix: str, **options: str) -> list[Conversation]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (f"data{suffix}" if format != "llamafactory" else "data")
        formats.write(path, rows, format, **options)
        return list(formats.read(path, None if format != "openai" else "openai"))


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("format", ["xtuner", "alpaca", "sharegpt", "swift", "openai", "llamafactory"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(conversations(), min_size=1, max_size=5))
def test_conversations(format: str, suffix: str, rows: list[Conversation]) -> None:
    assert round_trip(rows, format, suffix) == rows


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(conversations(meta=True) | conversations(pairs=True, meta=True), min_size=1, max_size=5))
def test_records_with_meta(suffix: str, rows: list[Conversation]) -> None:
    assert round_trip(rows, "messages", suffix) == rows


@pytest.mark.parametrize("format,style", [("sharegpt", "role"), ("swift", "new")])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(conversations(), min_size=1, max_size=5))
def test_other_styles(format: str, style: str, rows: list[Conversation]) -> None:
    assert round_trip(rows, format, ".jsonl", style=style) == rows


@pytest.mark.parametrize("format", ["dpo", "kto", "llamafactory", "messages"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(conversations(pairs=True), min_size=1, max_size=5))
def test_pairs(format: str, rows: list[Conversation]) -> None:
    assert round_trip(rows, format, ".jsonl") == rows


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(PAIRS.map(lambda pairs: pairs[:1]), min_size=1, max_size=5),
    format=st.sampled_from(["alpaca", "swift"]),
)
def test_csv(rows: list[list[tuple[str, str]]], format: str) -> None:
    def clean(text: str) -> str:
        return text.replace("\r", " ").replace("\x00", " ")

    records = [
        Conversation(messages=(Message(role="user", content=clean(q)), Message(role="assistant", content=clean(a))))
        for [(q, a)] in rows
    ]
    assert round_trip(records, format, ".csv") == records
