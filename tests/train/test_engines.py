"""The fast engine, the plain engine and a bare peft loop agree: loss and every gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.conversation import Conversation  # noqa: E402
from identity_kit.train.anchors import WEIGHT  # noqa: E402
from identity_kit.train.data import TrainingData, load_data  # noqa: E402
from identity_kit.train.engine import make_engine  # noqa: E402
from identity_kit.train.model import Setting, adapt, load_base, load_tokenizer  # noqa: E402
from identity_kit.train.recipe import Recipe, make_recipe  # noqa: E402
from identity_kit.train.tokens import Row  # noqa: E402

CPU = torch.device("cpu")


def prepared(
    folder: Path,
    rows: Path | Sequence[Conversation],
    recipe: Recipe,
    dtype: Any = torch.float32,
    device: Any = CPU,
) -> tuple[Any, Any, Any]:
    setting = Setting(device, dtype, recipe, ())
    tokenizer = load_tokenizer(folder, recipe)
    data = load_data(rows, tokenizer, recipe)
    model = adapt(load_base(folder, setting), tokenizer, recipe, folder)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide A's gradient
            parameter.data = (0.05 * torch.randn(parameter.shape)).to(parameter)
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    return model, make_engine(model, setting, data), data


def bare_loop(model: Any, data: Any, batch: list[int]) -> tuple[float, dict[str, Any]]:
    """Each row alone through the peft model's own forward, loss from all its logits."""
    model.zero_grad()
    labels = sum(data.rows[i].learnt for i in batch)
    total = 0.0
    for i in batch:
        row = data.rows[i]
        logits = model(input_ids=torch.tensor([row.ids])).logits[0, :-1].float()
        target = torch.tensor([t if m else -100 for t, m in zip(row.ids, row.mask, strict=True)])[1:]
        loss = torch.nn.functional.cross_entropy(logits, target, ignore_index=-100, reduction="sum")
        (loss / labels).backward()
        total += float(loss.detach())
    return total, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", ["qwen2", "llama", "qwen3", "mistral"])
@pytest.mark.parametrize(
    ("targets", "last_layers"),
    [("all-linear", None), ("q_proj,v_proj", None), ("gate_proj,o_proj", None), ("all-linear", 1)],
)
def test_fast_engine_matches_a_bare_peft_loop(
    tiny: Callable[..., Path], rows: Path, family: str, targets: str, last_layers: int | None
) -> None:
    recipe = make_recipe(rank=4, target_modules=targets, last_layers=last_layers, dtype="fp32")
    batch = [0, 1, 2, 3, 6, 9, 12, 14, 20]
    model, engine, data = prepared(tiny(family), rows, recipe)
    assert type(engine.computes).__name__ == "FastEngine"
    loss = float(engine.accumulate(batch, 1 / engine.weight(batch)))
    fast = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    expected, gradients = bare_loop(model, data, batch)
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(fast[name], gradient, atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize(("tokens", "twice"), [(64, True), (1000, False)])
def test_products_made_sideways_give_the_same_gradients(
    tiny: Callable[..., Path], rows: Path, tokens: int, twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity_kit.train.fast._sideways", lambda device, dtype: True)  # as on a processor with AMX
    model, engine, data = prepared(tiny("qwen2"), rows, make_recipe(rank=4, dtype="fp32", batch_tokens=tokens))
    assert all((layer.down.back is not None) == twice for layer in engine.computes.layers)
    assert_same_gradients(model, engine, data)


@pytest.mark.parametrize("held", [1, 60])
def test_gates_made_again_give_the_same_gradients(
    tiny: Callable[..., Path], rows: Path, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity_kit.train.fast.gates_kept", lambda tokens: min(1.0, held / tokens))
    model, engine, data = prepared(tiny("qwen3"), rows, make_recipe(rank=4, dtype="fp32"))
    forwards = []
    for layer in engine.computes.layers:
        forward = layer.gate_up.forward
        monkeypatch.setattr(layer.gate_up, "forward", lambda x, forward=forward: forwards.append(1) or forward(x))
    assert_same_gradients(model, engine, data)
    assert len(forwards) > len(engine.computes.layers), "none was made again"


@pytest.mark.parametrize(("whole", "gates"), [(False, 0.0), (True, 1.1)])
def test_a_gpu_with_little_room_gives_the_same_gradients(
    tiny: Callable[..., Path], rows: Path, whole: bool, gates: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, engine, data = prepared(tiny("qwen3"), rows, make_recipe(rank=4, dtype="fp32"))
    fast, lengths = engine.computes, [len(row) for row in data.rows[:4]]
    tokens = sum(lengths) if whole else max(lengths)
    wide = len(fast.layers) * fast.layers[0].gate_up.outputs * 4
    room = fast.fixed + int(tokens * (fast.each + gates * wide))
    assert fast._gates_kept(tokens, room) == pytest.approx(min(1.0, gates), abs=1e-3)
    monkeypatch.setattr("identity_kit.train.fast.room_left", lambda device: room)
    groups, forwards = [], []
    group, forward = fast._group, fast.layers[0].gate_up.forward
    monkeypatch.setattr(fast, "_group", lambda batch, *a, **k: groups.append(batch) or group(batch, *a, **k))
    monkeypatch.setattr(fast.layers[0].gate_up, "forward", lambda x: forwards.append(x) or forward(x))
    assert_same_gradients(model, engine, data)
    assert (len(groups) == 1) == whole
    assert (len(forwards) == len(groups)) == (gates > 1)


def test_attention_that_keeps_its_output_gives_the_same_gradients(
    tiny: Callable[..., Path], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("identity_kit.train.kernels._SHORT", 0)  # as on a GPU
    assert_same_gradients(*prepared(tiny("qwen3"), rows, make_recipe(rank=4, dtype="fp32")))


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        ({}, 640),
        ({}, 0),
        ({"gradient_checkpointing": True}, 640),
        ({"engine": "plain"}, 640),
        ({"method": "full"}, 640),
    ],
)
def test_labels_that_lead_by_the_margin_are_left_alone(
    tiny: Callable[..., Path],
    rows: Path,
    family: str,
    changes: dict[str, Any],
    longest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("identity_kit.train.kernels._SHORT", longest)  # 0: as on a GPU
    model, engine, data = prepared(tiny(family), rows, make_recipe(rank=4, dtype="fp32", margin=1e-5, **changes))
    head, tail = data.rows[0].ids[:8], data.rows[1].ids[:5]
    # The model's own words lead everywhere but at the odd tokens; row 0 has none, and beginnings are shared.
    odd = [(head, {}), (head, {2: 7}), (tail, {0: 9, 3: 11}), (tail, {0: 9})]
    own = [continued(model, ids, tokens) for ids, tokens in odd]
    made = [Row(ids, tuple(i >= len(ids) - 6 for i in range(len(ids)))) for ids in own]
    engine.data = TrainingData(tuple(made))
    loss = float(engine.accumulate([0, 1, 2, 3], 1 / 24))
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    assert engine.figures() == {"learnt": round(4 / 24, 4)}
    assert loss == pytest.approx(bare_loop(model, engine.data, [0, 1, 2, 3])[0], rel=1e-5)
    only = [
        Row(ids, tuple(i - (len(ids) - 6) in tokens for i in range(len(ids))))
        for ids, (_, tokens) in zip(own, odd, strict=True)
    ]
    wanted = bare_loop(model, TrainingData(tuple(only)), [1, 2, 3])[1]  # the mean over 4 labels, not 24
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient * (4 / 24), atol=1e-6, rtol=1e-4), name


def continued(model: Any, ids: tuple[int, ...], odd: dict[int, int]) -> tuple[int, ...]:
    """`ids` and six tokens more: the likeliest, or at some places other ones."""
    for place in range(6):
        with torch.no_grad():
            likeliest = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        ids = (*ids, odd.get(place, likeliest))
    return ids


def assert_same_gradients(model: Any, engine: Any, data: Any) -> None:
    """The engine's gradients of four rows are those of the plain loop."""
    batch = [0, 1, 2, 3]
    engine.accumulate(batch, 1 / engine.weight(batch))
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    for name, gradient in bare_loop(model, data, batch)[1].items():
        assert torch.allclose(found[name], gradient, atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "changes", [{}, {"gradient_checkpointing": True}, {"engine": "plain"}, {"margin": 1e-5}], ids=str
)
def test_anchors_are_held_to_the_base_model(
    tiny: Callable[..., Path], rows: Path, family: str, changes: dict[str, Any]
) -> None:
    model, engine, data = prepared(tiny(family), rows, make_recipe(rank=4, dtype="fp32", **changes))
    anchors = [Row(row.ids[3:20], (True,) * 17, anchor=True) for row in (data.rows[i] for i in (0, 3, 5))]
    engine.data = TrainingData((data.rows[1], *anchors, anchors[0]))
    batch = [0, 1, 2, 3, 4]  # one of them twice
    labels = engine.weight(batch)
    loss = float(engine.accumulate(batch, 1 / labels))
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    bare_loop(model, engine.data, [0])
    total, own = 0.0, engine.data.rows[0].learnt
    for parameter in (p for p in model.parameters() if p.requires_grad):
        parameter.grad *= own / labels
    for row in engine.data.rows[1:]:
        ids = torch.tensor([row.ids[:-1]])
        with torch.no_grad(), model.disable_adapter():
            base = model(input_ids=ids).logits[0].log_softmax(1)
        kl = torch.nn.functional.kl_div(
            model(input_ids=ids).logits[0].log_softmax(1), base, reduction="sum", log_target=True
        )
        (WEIGHT * kl / labels).backward()
        total += WEIGHT * float(kl.detach())
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    assert total > 0.01
    assert loss - total == pytest.approx(bare_loop(model, engine.data, [0])[0], rel=1e-4)
    if "margin" not in changes:  # there the row has none
        assert all(torch.allclose(found[n], wanted[n], atol=1e-6, rtol=1e-3) for n in wanted)


def test_an_anchor_has_no_gradient_as_long_as_the_model_is_the_base(tiny: Callable[..., Path], rows: Path) -> None:
    model, engine, data = prepared(tiny("qwen2"), rows, make_recipe(rank=4, dtype="fp32"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    engine.refresh()
    engine.data = TrainingData((Row(data.rows[0].ids, data.rows[0].mask, anchor=True),))
    assert float(engine.accumulate([0], 1.0)) == pytest.approx(0, abs=1e-5)
    assert all(float(p.grad.abs().max()) < 1e-6 for p in model.parameters() if p.requires_grad)


def test_fast_engine_recomputes_to_the_same_gradients(tiny: Callable[..., Path], rows: Path) -> None:
    folder = tiny("qwen3")
    found = []
    for checkpointing in (False, True):
        model, engine, _ = prepared(folder, rows, make_recipe(gradient_checkpointing=checkpointing, dtype="fp32"))
        engine.accumulate([0, 3, 5], 1.0)
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_plain_engine_matches_a_bare_peft_loop(tiny: Callable[..., Path], rows: Path, family: str) -> None:
    recipe = make_recipe(rank=4, engine="plain", dtype="fp32")
    batch = [0, 1, 2, 3, 6, 9]
    model, engine, data = prepared(tiny(family), rows, recipe)
    loss = float(engine.accumulate(batch, 1 / engine.weight(batch)))
    plain = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    expected, gradients = bare_loop(model, data, batch)
    assert loss == pytest.approx(expected, rel=1e-5)
    for name, gradient in gradients.items():
        assert torch.allclose(plain[name], gradient, atol=1e-6, rtol=1e-4), name


@pytest.mark.parametrize("changes", [{}, {"method": "qlora", "quantize_on_cpu": True}], ids=str)
def test_in_bf16_the_engines_agree_to_its_precision(
    tiny: Callable[..., Path], rows: Path, changes: dict[str, Any]
) -> None:
    folder = tiny("qwen2", hidden_size=128, intermediate_size=256)
    batch = list(range(12))
    found = []
    for engine_name in ("fast", "plain"):
        recipe = make_recipe(rank=4, engine=engine_name, dtype="bf16", **changes)
        model, engine, _ = prepared(folder, rows, recipe, torch.bfloat16)
        loss = float(engine.accumulate(batch, 1 / engine.weight(batch)))
        flat = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.requires_grad])
        found.append((loss, flat))
    (fast_loss, fast), (plain_loss, plain) = found
    assert fast_loss == pytest.approx(plain_loss, rel=5e-3)
    assert torch.nn.functional.cosine_similarity(fast, plain, dim=0) > 0.995


def test_shared_beginnings_are_computed_once(tiny: Callable[..., Path], rows: Path) -> None:
    from identity_kit.train.packing import pack

    _, _, data = prepared(tiny("qwen2"), rows, make_recipe(dtype="fp32"))
    chosen = [data.rows[i] for i in (0, 3, 6, 9)]
    packed = pack(chosen, CPU)
    assert len(packed.ids) < sum(len(row) - 1 for row in chosen)
    assert int(packed.target_weight.sum()) == sum(row.learnt for row in chosen)
    for row, path in zip(chosen, packed.path.tolist(), strict=True):
        assert packed.ids[path[: len(row) - 1]].tolist() == list(row.ids[:-1])
