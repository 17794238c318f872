"""Answers come piece by piece, the pieces are whole characters, and a reader that leaves stops the work."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path

import pytest

from identity_kit.chat.engine import Engine, Piece, Settings, answer, open_engine
from identity_kit.errors import BadInput, Stopped

ASKED = [{"role": "user", "content": "你是谁？"}]


@pytest.fixture(scope="module")
def engine(tiny: Path):  # type: ignore[no-untyped-def]
    with open_engine(str(tiny)) as opened:
        yield opened


def test_the_pieces_are_the_whole_answer(engine: Engine, tiny: Path) -> None:
    from identity_kit.models.decode import load_model, reply

    pieces = list(engine.stream(ASKED, Settings(max_tokens=40)))
    whole = reply(*load_model(tiny), [ASKED], max_new_tokens=40)[0]
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces).strip() == whole.text
    assert pieces[-1].finish == whole.finish_reason
    assert all(piece.finish is None for piece in pieces[:-1])


def test_a_limit_is_reported(engine: Engine) -> None:
    assert list(engine.stream(ASKED, Settings(max_tokens=3)))[-1].finish == "length"


def test_leaving_stops_the_model(engine: Engine) -> None:
    before = threading.active_count()
    stream = engine.stream(ASKED, Settings(max_tokens=4000))
    list(itertools.islice(stream, 3))
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5
    assert threading.active_count() == before


def test_a_seed_decides_a_sampled_answer(engine: Engine) -> None:
    first, again, other = (
        answer(engine, ASKED, Settings(max_tokens=30, temperature=1.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_half_characters_wait(tiny: Path) -> None:
    import queue

    import torch
    from transformers import AutoTokenizer

    from identity_kit.chat.engine import _Words

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    pieces: queue.Queue[str | BaseException | Piece] = queue.Queue()
    words = _Words(tokenizer, pieces)
    words.put(torch.tensor([[0]]))  # the prompt
    for token in tokenizer("我是😀", add_special_tokens=False).input_ids:
        words.put(torch.tensor([token]))
    words.end()
    assert [pieces.get() for _ in range(pieces.qsize())] == ["我", "是", "😀"]


def test_an_unknown_model_and_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(BadInput, match="no such model"), open_engine("no-such-model"):
        pass
    with open_engine("http://127.0.0.1:9/v1") as engine, pytest.raises(Stopped, match="endpoint failed"):
        answer(engine, ASKED)
