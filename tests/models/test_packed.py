"""Linear layers laid out for decoding."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.models.packed import packed_linears  # noqa: E402


def test_packed_linears_multiply_as_they_did_and_are_put_back() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(96, 200), torch.nn.SiLU(), torch.nn.Linear(200, 40, bias=False))
    model = model.bfloat16().eval()
    x = torch.randn(5, 3, 96).bfloat16()
    with torch.inference_mode():
        plain = model(x)
        with packed_linears(model, rows=8):
            packed = [m for m in model if "forward" in vars(m)]
            inside = model(x)
        after = model(x)
    if not packed:
        pytest.skip("this torch or processor has no packed 16-bit products")
    assert len(packed) == 2
    torch.testing.assert_close(inside, plain, atol=0.02, rtol=0.02)
    assert torch.equal(after, plain)


def test_other_linears_are_left_alone() -> None:
    wide = torch.nn.Sequential(torch.nn.Linear(8, 8))
    strided = torch.nn.Linear(8, 8).bfloat16()
    strided.weight.data = torch.zeros(8, 16).bfloat16()[:, :8]
    for model in (wide, torch.nn.Sequential(strided)):
        with packed_linears(model, rows=4):
            assert not any("forward" in vars(module) for module in model.modules())
