"""PiSSA: it begins as the base model, goes on to the bit, and is saved as a plain adapter of the original base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.errors import BadInput  # noqa: E402
from identity_kit.train import loop, make_recipe, train  # noqa: E402
from identity_kit.train.model import adapt, load_base, load_tokenizer, settle  # noqa: E402
from identity_kit.train.pissa import split_off  # noqa: E402
from tests.train.processes import BASE, losses  # noqa: E402

IDS = torch.arange(20, 60)[None]


@pytest.mark.parametrize(("init", "dtype", "close"), [("pissa", "fp32", 1e-4), ("pissa_niter_4", "bf16", 0.1)])
def test_it_begins_as_the_base_model_with_the_principal_part_in_the_adapter(
    tiny: Callable[..., Path], init: str, dtype: str, close: float
) -> None:
    recipe = make_recipe(rank=4, init=init, dtype=dtype)
    folder, setting = tiny(), settle(recipe)
    with torch.no_grad():
        expected = load_base(folder, setting)(IDS).logits
    model = adapt(load_base(folder, setting), load_tokenizer(folder, recipe), recipe, folder)
    name, layer = next((n, m) for n, m in model.named_modules() if n.endswith("layers.0.mlp.up_proj"))
    largest = torch.linalg.matrix_norm(layer.base_layer.weight.float(), 2)
    first = split_off(model, recipe)
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, expected, atol=close)
    assert torch.linalg.matrix_norm(layer.base_layer.weight.float(), 2) < 0.95 * largest
    assert torch.equal(first[f"pissa.{name}.lora_A.default.weight"], layer.lora_A["default"].weight)


@pytest.mark.parametrize("changes", [{}, {"rslora": True}, {"dora": True}, {"engine": "plain"}], ids=str)
def test_the_adapter_over_the_original_base_is_the_trained_model(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trained: list[Any] = []
    save = loop.save_trained

    def look_and_save(model: Any, *rest: Any, **named: Any) -> Path:
        with torch.no_grad():
            trained.append(model.eval()(IDS).logits)
        return save(model, *rest, **named)

    monkeypatch.setattr(loop, "save_trained", look_and_save)
    folder = tiny()
    result = train(rows, folder, tmp_path / "run", make_recipe(**BASE, init="pissa", epochs=5, **changes))
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        untrained = base(IDS).logits
        tuned = PeftModel.from_pretrained(base, str(result.adapter))(IDS).logits
    assert torch.allclose(tuned, trained[0], atol=2e-4)
    assert (tuned - untrained).abs().max() > 0.1


@pytest.mark.parametrize("changes", [{"method": "qlora"}, {"method": "full"}, {"stage": "dpo"}], ids=str)
def test_where_the_base_cannot_be_split_it_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="init: pissa"):
        make_recipe(init="pissa", **changes)
