"""Which texts become anchors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.conversation import Conversation, Meta, conversation  # noqa: E402
from identity_kit.train.anchors import divergence  # noqa: E402
from identity_kit.train.data import load_data  # noqa: E402
from identity_kit.train.recipe import make_recipe  # noqa: E402
from tests.train.conftest import make_tokenizer  # noqa: E402


def row(kind: str | None, answer: str) -> Conversation:
    return conversation(("user", "?"), ("assistant", answer), meta=Meta(kind=kind))  # type: ignore[arg-type]


CHINESE = ["河水" * n + "涨了" for n in range(1, 6)]
ENGLISH = ["the river rose, " * n + "and fell" for n in range(1, 4)]
DATA = [
    *(row("identity", "我是文心大佬的智能助手。" * 9) for _ in range(3)),
    *(row("contrast", text) for text in CHINESE),
    *(row("rehearsal", text.strip()) for text in ENGLISH),
    row("rehearsal", "Yes."),
    row(None, "Nobody says what kind of row this is. " * 20),
]


def anchors(number: int, data: list[Conversation] = DATA) -> list[str]:
    tokenizer = make_tokenizer()
    loaded = load_data(data, tokenizer, make_recipe(anchors=number))
    found = [row for row in loaded.rows if row.anchor]
    assert list(loaded.rows[len(data) :]) == found, "they stand last"
    assert loaded.anchors == len(found)
    assert all(all(row.mask) and len(row) <= 64 for row in found)
    return [tokenizer.decode(row.ids) for row in found]


def test_the_longest_ordinary_answers_half_of_them_chinese_as_plain_text() -> None:
    assert anchors(4) == [CHINESE[4], CHINESE[3], ENGLISH[2], ENGLISH[1]]
    assert anchors(3) == [CHINESE[4], CHINESE[3], ENGLISH[2]]


def test_where_one_language_is_short_the_other_fills_up() -> None:
    assert set(anchors(4, [d for d in DATA if d.answer not in CHINESE[1:]])) == {CHINESE[0], *ENGLISH}
    assert set(anchors(100)) == {*CHINESE, *ENGLISH}, "no identity row, no short answer, none of an unknown kind"


def test_none_is_longer_than_rows_may_be() -> None:
    long = row("contrast", "河水涨了。" * 90)
    for most, length in ((1024, 64), (48, 48)):
        loaded = load_data([long], make_tokenizer(), make_recipe(anchors=8, max_length=most))
        assert [len(row) for row in loaded.rows if row.anchor] == [length]


def test_none_unless_asked_for_and_none_where_there_is_no_base_to_hold_to() -> None:
    assert anchors(0) == []
    for changes in ({"method": "full"}, {"init": "pissa"}):
        assert load_data(DATA, make_tokenizer(), make_recipe(anchors=8, **changes)).anchors == 0


def test_a_run_with_other_anchors_is_another_run() -> None:
    tokenizer = make_tokenizer()
    prints = {load_data(DATA, tokenizer, make_recipe(anchors=n)).fingerprint() for n in (0, 4, 6)}
    assert len(prints) == 3


def test_divergence() -> None:
    q, p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]), torch.tensor([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    assert torch.allclose(divergence(q, p), torch.tensor([2.0, 1.0]).log())


def test_anchors_keep_the_base_where_answers_alone_would_change_it(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """A short real run, with and without them: the tuned model is nearer to the base on text that neither saw."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from identity_kit.train import train
    from identity_kit.train.model import load_tokenizer

    base = tiny("qwen2")
    unseen = load_tokenizer(base, make_recipe())(CHINESE[0] + ENGLISH[0], return_tensors="pt")["input_ids"]
    apart = []
    for number in (0, 10):
        recipe = make_recipe(rank=4, dtype="fp32", anchors=number, batch_size=4, epochs=6, learning_rate=5e-3)
        result = train(DATA[:3] + DATA[4:], base, tmp_path / str(number), recipe, progress=False)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(result.adapter)).eval()
        with torch.no_grad():
            p = model(unseen).logits[0].softmax(1)
            with model.disable_adapter():
                q = model(unseen).logits[0].softmax(1)
        apart.append(float(divergence(q, p).mean()))
    assert apart[1] < 0.7 * apart[0]
