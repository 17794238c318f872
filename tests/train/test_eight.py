"""Products in 8 bits: near the exact ones, whatever stands out, and gradients that point where the exact ones do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.models.eight import EightBit, Share, Thin, multiplies_in_eight  # noqa: E402
from identity_kit.train.recipe import make_recipe  # noqa: E402
from tests.train.test_anchors import DATA  # noqa: E402
from tests.train.test_engines import prepared  # noqa: E402

needs_vnni = pytest.mark.skipif(not multiplies_in_eight(), reason="this processor has no VNNI, or torch no oneDNN")


@needs_vnni
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 200])
def test_a_product_is_near_the_exact_one_whatever_stands_out(dtype: torch.dtype, rows: int) -> None:
    chance = torch.Generator().manual_seed(rows)
    x, w = torch.randn(rows, 192, generator=chance).to(dtype), torch.randn(72, 192, generator=chance).to(dtype)
    x[0] *= 1000  # a token like the first of a text
    x[-1] *= 1e-6
    w[3] *= 500
    exact = x.float() @ w.float().t()
    found = EightBit(w)(x)
    assert torch.equal(EightBit(w.t().contiguous().t())(x), found), "a matrix that lies column by column"
    assert found.dtype == dtype
    sizes = x.float().norm(dim=1, keepdim=True) * w.float().norm(dim=1)
    assert float(((found.float() - exact).abs() / sizes).max()) < 0.005


@needs_vnni
def test_nothing_gives_nothing() -> None:
    found = EightBit(torch.randn(8, 16))(torch.zeros(3, 16))
    assert torch.equal(found, torch.zeros(3, 8))
    assert torch.equal(EightBit(torch.zeros(8, 16))(torch.randn(3, 16)), torch.zeros(3, 8))


@needs_vnni
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rank", [4, 3])
def test_thin_products_are_added_to_their_columns(dtype: torch.dtype, rank: int) -> None:
    chance = torch.Generator().manual_seed(0)
    x, w, low, a, b = (
        torch.randn(*shape, generator=chance).to(dtype)
        for shape in ((21, 192), (72, 192), (21, 2 * rank), (rank, 40), (32, rank))
    )
    product = EightBit(w)
    first, second = Thin(a), Thin(b.t())
    for thin in (first, second):
        thin.refresh()
    shares = [Share(slice(0, 40), low[:, :rank], first), Share(slice(40, 72), low[:, rank:], second)]
    bias = torch.ones(72, dtype=dtype)
    exact = (
        product(x).float()
        + 1
        + torch.cat([low[:, :rank].float() @ a.float(), low[:, rank:].float() @ b.float().t()], 1)
    )
    assert torch.allclose(product(x, bias, shares).float(), exact, rtol=0.01, atol=0.2)
    rest = [Share(slice(0, 40), low[:, :rank], None), shares[1]]
    assert torch.allclose(product(x, bias, rest).float()[:, :40], product(x).float()[:, :40] + 1, rtol=0.01, atol=0.2)
    assert torch.equal(product(x, bias, rest)[:, 40:], product(x, bias, shares)[:, 40:])


@needs_vnni
@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rank", [4, 3])  # of an odd rank, values do not pair up
def test_gradients_point_where_the_exact_ones_do(
    tiny: Callable[..., Path], rows: Path, family: str, dtype: torch.dtype, rank: int
) -> None:
    folder = tiny(family, hidden_size=128, intermediate_size=256)
    found = []
    for eight in (False, True):
        model, engine, _ = prepared(folder, rows, make_recipe(rank=rank, int8_products=eight), dtype)
        assert all((layer.qkv.eight is not None) == eight for layer in engine.computes.layers)
        assert (engine.computes.head_eight is not None) == eight
        batch = list(range(12))
        loss = float(engine.accumulate(batch, 1 / engine.weight(batch)))
        found.append((loss, {n: p.grad.float() for n, p in model.named_parameters() if p.requires_grad}))
    (exact_loss, exact), (loss, gradients) = found
    assert loss == pytest.approx(exact_loss, rel=0.01)
    for name, gradient in exact.items():
        assert torch.nn.functional.cosine_similarity(gradient.flatten(), gradients[name].flatten(), dim=0) > 0.98, name


@needs_vnni
@pytest.mark.parametrize("anchors", [False, True])
def test_unlikely_entries_of_the_vocabulary_hardly_change_a_gradient(
    smollm_folder: Path, anchors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, engine, data = prepared(smollm_folder, DATA, make_recipe(rank=4, int8_products=True, anchors=2), torch.bfloat16)
    fast, batch = engine.computes, [i for i, row in enumerate(data.rows) if row.anchor == anchors][:2]
    read_back, found = fast._read_back, []
    for faint in (-1.0, 1e-5):
        monkeypatch.setattr("identity_kit.train.fast._FAINT", faint)
        taken, made = [], []

        def counted(
            dlogits: torch.Tensor, entries: torch.Tensor, out: torch.Tensor, taken: list = taken, made: list = made
        ) -> None:
            read_back(dlogits, entries, out)
            taken.append(len(entries))
            made.append(out.float().flatten().clone())

        monkeypatch.setattr(fast, "_read_back", counted)
        engine.accumulate(batch, 1 / engine.weight(batch))
        found.append((max(taken), torch.cat(made)))
    (every, whole), (likely, gradient) = found
    assert every == fast.head.weight.shape[0] and likely < every / 2
    assert torch.nn.functional.cosine_similarity(whole, gradient, dim=0) > 0.999


def test_without_such_a_processor_products_are_those_of_before(
    tiny: Callable[..., Path], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity_kit.train.fast.multiplies_in_eight", lambda: False)
    _, engine, _ = prepared(tiny("qwen2"), rows, make_recipe(rank=4, int8_products=True, dtype="fp32"))
    assert all(layer.qkv.eight is None for layer in engine.computes.layers)
