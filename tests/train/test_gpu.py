"""What only a CUDA GPU can show: QLoRA trains and goes on, the fast engine agrees with the plain one, memory stays within
the estimate."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.train import make_recipe, preview, train  # noqa: E402
from tests.train.processes import BASE, losses, start, wait_for_step  # noqa: E402
from tests.train.test_engines import prepared  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]

# Ordinary answers, long enough to become anchors.
ORDINARY = [
    {
        "messages": [
            {"role": "user", "content": "How deep is it?"},
            {"role": "assistant", "content": f"The river is {depth} feet deep, " * 4 + "and cold."},
        ],
        "meta": {"kind": "rehearsal"},
    }
    for depth in range(8)
]
# 4-bit weights come in blocks of 64, and their kernels want widths of some size.
WIDE = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_qlora_learns_and_goes_on_where_it_was_killed(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, quantization: str
) -> None:
    model = tiny("qwen3", **WIDE)
    settings = {
        "method": "qlora",
        "quantization": quantization,
        "dtype": "bf16",
        "epochs": 10,
        "save_every": 5,
        "learning_rate": 1e-3,
    }
    straight = start(rows, model, tmp_path / "straight", gpu=True, **settings)
    words = straight.communicate(timeout=300)[1]
    assert straight.returncode == 0, words
    assert losses(tmp_path / "straight")[-1] < 0.8 * losses(tmp_path / "straight")[0]
    assert (tmp_path / "straight" / "adapter" / "adapter_model.safetensors").is_file()
    killed = start(rows, model, tmp_path / "killed", gpu=True, **settings)
    wait_for_step(tmp_path / "killed", 20, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start(rows, model, tmp_path / "killed", "--resume", gpu=True, **settings)
    words = resumed.communicate(timeout=300)[1]
    assert resumed.returncode == 0, words
    # A GPU adds in no fixed order: like, not the same to the bit.
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "straight"), rel=0.05)


@pytest.fixture
def with_anchors(rows: Path) -> Path:
    """The rows, and ordinary ones after them."""
    with rows.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in ORDINARY)
    return rows


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_engines_agree(tiny: Callable[..., Path], with_anchors: Path, method: str) -> None:
    folder, found = tiny("qwen3", **WIDE), []
    for name in ("fast", "plain"):
        recipe = make_recipe(rank=4, method=method, engine=name, dtype="bf16", anchors=4)
        model, engine, data = prepared(folder, with_anchors, recipe, torch.bfloat16, torch.device("cuda"))
        assert data.anchors == 4
        batch = [*range(12), *range(len(data.rows) - 4, len(data.rows))]
        loss = float(engine.accumulate(batch, 1 / engine.weight(batch)))
        found.append((loss, torch.cat([p.grad.float().flatten() for p in model.parameters() if p.requires_grad])))
    (fast_loss, fast), (plain_loss, plain) = found
    assert fast_loss == pytest.approx(plain_loss, rel=5e-3)
    assert torch.nn.functional.cosine_similarity(fast, plain, dim=0) > 0.995


@pytest.mark.parametrize(
    "changes", [{}, {"engine": "plain"}, {"gradient_checkpointing": True}, {"anchors": 8, "batch_size": 32}], ids=str
)
def test_the_peak_stays_within_the_estimate(
    tiny: Callable[..., Path], with_anchors: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    model = tiny("qwen3", hidden_size=1024, intermediate_size=3072, num_hidden_layers=8, head_dim=128, vocab_size=32000)
    recipe = make_recipe(**{**BASE, "method": "qlora", "dtype": "bf16", "max_steps": 3, **changes})
    estimated = preview(with_anchors, model, recipe, measure=False).total
    train(with_anchors, model, tmp_path / "run", recipe)
    record = json.loads((tmp_path / "run" / "run.json").read_text())["train"]
    assert 0 < record["peak_memory_bytes"] < estimated
