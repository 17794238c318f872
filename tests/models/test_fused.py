"""The compiled row-wise steps against the same written out in 32 bits, and what they leave to torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from identity_kit.models import fused  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not fused.COMPILED, reason="identity_kit/models/_fused.c was not compiled: no C compiler"),
    pytest.mark.skipif(fused.COMPILED and not fused._fused.suits(), reason="this processor has no AVX512-BF16"),
]

ROWS, WIDTH, MORE = 21, 200, 16  # neither a multiple of what a thread takes at once nor of what a register holds
LAST_BIT = 2.0**-8  # of a bf16, relative to it


@pytest.fixture(params=[1, 2, 5])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    assert fused.fits(some(1, 1))
    yield request.param
    torch.set_num_threads(before)


def some(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=chance) * spread).bfloat16()


def inside(x: torch.Tensor) -> torch.Tensor:
    """The same values as the first columns of a wider buffer."""
    wide = torch.full((len(x), x.shape[1] + MORE), 7.0, dtype=x.dtype)
    wide[:, : x.shape[1]] = x
    return wide[:, : x.shape[1]]


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert torch.allclose(found.float(), wanted.float(), rtol=LAST_BIT, atol=1e-5 * float(wanted.abs().max()))


def assert_untouched(part: torch.Tensor) -> None:
    """What stands behind the columns that were written is as it was."""
    whole = part._base
    assert whole is not None and bool((whole[:, part.shape[1] :] == 7.0).all())


def test_each_row_is_quantised_by_its_own_largest_value(threads: int) -> None:
    x = some(ROWS, WIDTH, spread=3)
    x[1], x[2, 0], x[3] = 0, 1e6, x[3] * 1e-6
    whole, scale = fused.quantised(inside(x))
    assert torch.allclose(scale, x.abs().amax(1).float().clamp_min(1e-28) / 127)
    steps = (whole.float() - 128) - x.float() / scale[:, None]
    assert float(steps.abs().max()) <= 0.501
    assert int(whole.min()) >= 1, "-127 at the least, so that nothing overflows"


def test_rescaled_with_and_without_a_bias(threads: int) -> None:
    y, bias, scale = some(ROWS, WIDTH), some(WIDTH, seed=1), torch.rand(ROWS) + 0.1
    for added in (None, bias):
        found = y.clone()
        fused.rescale(found, scale, added)
        assert_close(found, y.float() * scale[:, None] + (0 if added is None else added.float()))


@pytest.mark.parametrize("rows", [1, 8, ROWS])
def test_rescaled_with_a_thin_product_on_top(threads: int, rows: int) -> None:
    ranks = 6
    y, bias, scale = some(rows, WIDTH), some(WIDTH, seed=1), torch.rand(rows) + 0.1
    low, matrix = inside(some(rows, ranks, seed=2)), some(ranks, WIDTH, seed=3)
    pairs = torch.stack((matrix[0::2], matrix[1::2]), dim=-1).contiguous()
    for added in (None, bias):
        found = inside(y)
        fused.rescale(found, scale, added, low, pairs)
        wanted = y.float() * scale[:, None] + low.float() @ matrix.float() + (0 if added is None else added.float())
        assert_close(found, wanted)
        assert_untouched(found)


def test_norm_and_its_gradient(threads: int) -> None:
    h, weight, dy, more = some(ROWS, WIDTH), some(WIDTH, seed=1), some(ROWS, WIDTH, seed=2), some(ROWS, WIDTH, seed=3)
    wide = h.float().requires_grad_(True)
    r = (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    wanted = wide * r * weight.float()
    wanted.backward(dy.float())
    out, again = inside(torch.empty_like(h)), inside(torch.empty_like(h))
    found = fused.norm(h, weight, 1e-6, out)
    fused.scaled(h, found, weight, again)
    assert torch.allclose(found, r, rtol=1e-5)
    assert_close(out, wanted.detach())
    assert torch.equal(again, out)
    assert_untouched(out)
    assert wide.grad is not None
    for added in (None, more):
        d = wide.grad if added is None else wide.grad + added.float()
        assert_close(fused.norm_backward(dy, h, weight, found, added), d)


def test_gated_activation_and_its_gradient(threads: int) -> None:
    given = some(ROWS, 2 * WIDTH, spread=6)
    given[0, :4] = torch.tensor([120.0, -120.0, 0.0, 1e-4])
    d = some(ROWS, WIDTH, seed=1)
    wide = given.float().requires_grad_(True)
    wanted = torch.nn.functional.silu(wide[:, :WIDTH]) * wide[:, WIDTH:]
    wanted.backward(d.float())
    out, gradient = inside(torch.empty_like(d)), inside(torch.empty_like(given))
    fused.swiglu(inside(given), out)
    assert_close(out, wanted.detach())
    assert_untouched(out)
    fused.swiglu_backward(inside(d), inside(given), gradient)
    assert wide.grad is not None
    assert_close(gradient, wide.grad)
    assert_untouched(gradient)


def test_rotary_embedding_and_back(threads: int) -> None:
    x = inside(some(ROWS, 3 * 64)).unflatten(1, (3, 64))
    angles = torch.rand(ROWS, 1, 32) * 6
    cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
    first, second = x.float()[..., :32], x.float()[..., 32:]
    wanted = torch.cat([first * cos.float() - second * sin.float(), second * cos.float() + first * sin.float()], -1)
    found = fused.rotate(x, cos, sin)
    assert_close(found, wanted)
    assert torch.allclose(fused.rotate(found, cos, -sin).float(), x.float(), atol=0.06)


def test_the_same_to_the_bit_on_any_number_of_threads() -> None:
    h, weight = some(ROWS, WIDTH), some(WIDTH, seed=1)
    before, found = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        assert fused.fits(h, weight)
        fused.norm(h, weight, 1e-6, out := torch.empty_like(h))
        found.append(out)
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_other_types_and_other_layouts_are_for_torch() -> None:
    x = some(ROWS, WIDTH)
    assert fused.fits(x, x[:, :8]) and fused.fit_whole(x)
    assert not fused.fits(x.float())
    assert not fused.fits(x.t())
    assert not fused.fit_whole(x[:, :8])
