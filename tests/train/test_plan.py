"""The plan: memory by part, recipes that fit the cards they are named after, and the way out when it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.errors import BadInput  # noqa: E402
from identity_kit.train import load_recipe, make_recipe, preview  # noqa: E402
from identity_kit.train import plan as planning  # noqa: E402
from identity_kit.train.data import load_data  # noqa: E402
from identity_kit.train.model import Setting, load_tokenizer, settle  # noqa: E402

CPU = torch.device("cpu")
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-4b": (
        "qwen3",
        {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
        | {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True},
    ),
    "qwen3-8b": (
        "qwen3",
        {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32}
        | {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936},
    ),
    "llama3-8b": (
        "llama",
        {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
        | {"num_key_value_heads": 8, "vocab_size": 128256},
    ),
    "tinyllama-1.1b": (
        "llama",
        {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32}
        | {"num_key_value_heads": 4, "vocab_size": 32000},
    ),
    "internlm2.5-7b": (  # of the same sizes, the family of its own aside
        "llama",
        {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
        | {"num_key_value_heads": 8, "vocab_size": 92544},
    ),
}


def shape_of(name: str, tmp_path: Path) -> planning.Shape:
    from transformers import AutoConfig

    family, sizes = SIZES[name]
    AutoConfig.for_model(family, **sizes).save_pretrained(tmp_path)
    return planning.read_shape(tmp_path)


@pytest.mark.parametrize(
    ("recipe", "model", "gigabytes"),
    [
        ("qwen3-4b-8gb", "qwen3-4b", 8),
        ("qwen3-4b-12gb", "qwen3-4b", 12),
        ("qwen3-4b-24gb", "qwen3-4b", 24),
        ("qwen3-8b-8gb", "qwen3-8b", 8),
        ("qwen3-8b-12gb", "qwen3-8b", 12),
        ("qwen3-8b-24gb", "qwen3-8b", 24),
        ("llama3-8b", "llama3-8b", 16),
        ("fsdp-8b", "qwen3-8b", 24),
        ("tinyllama-1.1b", "tinyllama-1.1b", 6),
        ("internlm2.5-7b-qlora", "internlm2.5-7b", 24),
    ],
)
def test_recipes_fit_the_card_they_are_for(recipe: str, model: str, gigabytes: int, tmp_path: Path) -> None:
    settings = load_recipe(recipe)
    on_gpu = Setting(torch.device("cuda"), torch.bfloat16, settings, ())
    tokens = settings.batch_size * settings.max_length
    shared = settings.parallel == "fsdp"
    if not (settings.dropout or shared):  # the fast engine takes larger batches in parts
        tokens = min(tokens, 4096)
    parts = planning.estimate(
        shape_of(model, tmp_path), on_gpu, tokens, settings.max_length, processes=2 if shared else 1
    )
    context = 0.5e9  # CUDA's own
    assert sum(parts.values()) + context < gigabytes * 0.97e9, {k: f"{v / 1e9:.2f}" for k, v in parts.items()}


def test_parameters_are_counted_as_published(tmp_path: Path) -> None:
    assert shape_of("qwen3-4b", tmp_path / "a").weights == pytest.approx(4.02e9, rel=0.01)
    assert shape_of("llama3-8b", tmp_path / "b").weights == pytest.approx(8.03e9, rel=0.01)


def test_preview_counts_and_measures(tiny: Callable[..., Path], rows: Path) -> None:
    recipe = make_recipe(rank=4, dtype="fp32", batch_size=4, epochs=2, threads=1)
    planned = preview(rows, tiny(), recipe)
    assert (planned.rows, planned.steps, planned.exposures) == (24, 12, 2.0)
    assert planned.fits and planned.seconds is not None and planned.seconds > 0
    assert set(planned.systems) <= {"none", "neutral", "given"} and planned.systems["given"] == 3
    words = {name.strip(): text for name, text in planning.describe(planned)}
    assert any("24" in text for text in words.values())


@pytest.mark.parametrize("last_layers", [None, 1])
def test_trained_weights_are_counted_as_peft_does(
    tiny: Callable[..., Path], rows: Path, last_layers: int | None
) -> None:
    from identity_kit.train.model import adapt, load_base

    folder, recipe = tiny(), make_recipe(rank=4, dtype="fp32", last_layers=last_layers)
    setting = settle(recipe, CPU)
    model = adapt(load_base(folder, setting), load_tokenizer(folder, recipe), recipe, folder)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert preview(rows, folder, recipe, measure=False).trained == trained


def test_what_does_not_fit_is_refused_with_the_nearest_setting_that_does(
    tiny: Callable[..., Path], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny("qwen2", num_hidden_layers=8)
    recipe = make_recipe(rank=4, dtype="fp32", batch_size=16)
    setting = settle(recipe, CPU)
    data = load_data(rows, load_tokenizer(folder, recipe), recipe)
    planned = planning.make_plan(data, folder, setting)
    planning.check_fits(planned, data, folder, recipe, CPU)
    checkpointing = settle(recipe.model_copy(update={"gradient_checkpointing": True}), CPU)
    needed = planning.make_plan(data, folder, checkpointing).total
    assert needed < planned.total
    monkeypatch.setattr(planning, "free_memory", lambda device: needed + 1)
    with pytest.raises(BadInput, match="gradient_checkpointing=true"):
        planning.check_fits(replace(planned, available=needed + 1), data, folder, recipe, CPU)
    monkeypatch.setattr(planning, "free_memory", lambda device: 1000)
    with pytest.raises(BadInput, match="smaller model"):
        planning.check_fits(replace(planned, available=1000), data, folder, recipe, CPU)


def test_a_gpu_takes_less_at_once_before_a_run_is_refused(
    tiny: Callable[..., Path], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny("qwen2", num_hidden_layers=8)
    recipe = make_recipe(rank=4, dtype="bf16", batch_size=16)
    setting = Setting(torch.device("cuda"), torch.bfloat16, recipe, ())
    data = load_data(rows, load_tokenizer(folder, recipe), recipe)
    free = 10**12
    monkeypatch.setattr(planning, "free_memory", lambda device: free)
    most = planning.make_plan(data, folder, setting)
    free = most.total - 1
    less = planning.make_plan(data, folder, setting)
    assert less.fits and less.memory["activations"] < most.memory["activations"]
    free = less.total - most.memory["activations"]
    assert not planning.make_plan(data, folder, setting).fits


def test_processes_that_share_the_weights_share_the_gradient_too(tmp_path: Path) -> None:
    settings = make_recipe(method="full", parallel="fsdp", gradient_checkpointing=True)
    on_gpu = Setting(torch.device("cuda"), torch.bfloat16, settings, ())
    shape = shape_of("tinyllama-1.1b", tmp_path)
    alone, two, four = (
        planning.estimate(shape, on_gpu, 64, 64, processes=processes)["activations"] for processes in (1, 2, 4)
    )
    assert alone == pytest.approx(2 * two, rel=0.01) and two == pytest.approx(2 * four, rel=0.01)


@pytest.mark.slow
def test_the_estimate_is_near_the_measured_peak(tmp_path: Path) -> None:
    """The embedded 0.5B on this machine's CPU, from a bare process."""
    import json
    import subprocess
    import sys

    from identity_kit.models.resolve import hf_folder

    rows = tmp_path / "rows.jsonl"
    line = {"messages": [{"role": "user", "content": "讲讲 {}"}, {"role": "assistant", "content": "好的，" * 40}]}
    rows.write_text("".join(json.dumps(line).replace("{}", str(i)) + "\n" for i in range(16)), encoding="utf-8")
    drive = Path(__file__).with_name("drive.py")
    out, recipe = tmp_path / "run", {"max_steps": 3, "default_system": "none"}
    folder = hf_folder("embedded:qwen2.5-coder-0.5b")
    subprocess.run([sys.executable, drive, rows, folder, out, json.dumps(recipe)], check=True)
    measured = json.loads((out / "run.json").read_text())["train"]["peak_memory_bytes"]
    estimated = preview(rows, folder, make_recipe(**recipe), measure=False).total
    assert 0.75 < estimated / measured < 1.3
