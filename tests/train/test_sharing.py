"""Processes that share one model's weights (FSDP, DeepSpeed): two on a CPU follow the curve of one, resume, and save
the whole."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.errors import BadInput  # noqa: E402
from identity_kit.train import make_recipe  # noqa: E402
from tests.train.processes import adapter_bytes, losses, start, two_processes, wait_for_step  # noqa: E402

# 24 rows in threes: eight micro-batches an epoch. With 5 rows the last step's turns are uneven.
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 5, "learning_rate": 0.001, "engine": "plain"}


SHARED = [
    "fsdp",
    pytest.param(
        "deepspeed",
        marks=pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="deepspeed is not installed"),
    ),
]


def start_two(rows: Path, model: Path, out: Path, *flags: str, parallel: str, **settings: Any) -> Any:
    if parallel == "deepspeed":
        flags = (*flags, "--no-kernels")
    return start(rows, model, out, *flags, launcher=two_processes(), parallel=parallel, **settings)


@pytest.mark.parametrize("parallel", SHARED)
@pytest.mark.parametrize(
    "changes",
    [{}, {"method": "full"}, {"init": "pissa", "gradient_checkpointing": True, "dtype": "bf16"}],
    ids=["lora", "full", "pissa-bf16"],
)
def test_two_that_share_the_weights_follow_the_curve_of_one(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, changes: dict[str, Any], parallel: str
) -> None:
    from safetensors.torch import load_file

    model, settings = tiny(), {**SETTINGS, **changes}
    alone = start(rows, model, tmp_path / "one", gradient_accumulation=2, **settings)
    words = alone.communicate(timeout=300)[1]
    assert alone.returncode == 0, words
    two = start_two(rows, model, tmp_path / "two", parallel=parallel, **settings)
    words = two.communicate(timeout=300)[1]
    assert two.returncode == 0, words
    rough = settings.get("dtype") == "bf16"
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=2e-2 if rough else 1e-3)
    name = "merged/model.safetensors" if "method" in changes else "adapter/adapter_model.safetensors"
    found = [load_file(tmp_path / run / name) for run in ("one", "two")]
    assert found[0].keys() == found[1].keys()
    for key, weight in found[0].items():
        assert torch.allclose(weight.float(), found[1][key].float(), atol=2e-2 if rough else 2e-3), key


@pytest.mark.parametrize("parallel", SHARED)
def test_told_to_stop_they_stop_together_and_go_on_to_the_bit(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, parallel: str
) -> None:
    model = tiny()
    settings = {**SETTINGS, "epochs": 30, "save_every": 10, "parallel": parallel}
    straight = start_two(rows, model, tmp_path / "straight", **settings)
    words = straight.communicate(timeout=300)[1]
    assert straight.returncode == 0, words
    killed = start_two(rows, model, tmp_path / "killed", **settings)
    wait_for_step(tmp_path / "killed", 20, killed)
    killed.send_signal(signal.SIGTERM)
    killed.communicate(timeout=120)
    assert not (tmp_path / "killed" / "adapter").exists()
    alone = start(rows, model, tmp_path / "killed", "--resume", **settings)
    assert "another number of processes" in alone.communicate(timeout=120)[1]
    resumed = start_two(rows, model, tmp_path / "killed", "--resume", **settings)
    words = resumed.communicate(timeout=300)[1]
    assert resumed.returncode == 0 and "going on from step" in words, words
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    assert adapter_bytes(tmp_path / "killed") == adapter_bytes(tmp_path / "straight")


def test_what_cannot_be_shared_is_refused() -> None:
    with pytest.raises(BadInput, match=r"method: lora \| full.*stage: sft \| pretrain"):
        make_recipe(parallel="fsdp", method="qlora", stage="dpo")
    with pytest.raises(BadInput, match="parallel: deepspeed needs optimizer: adamw"):
        make_recipe(parallel="deepspeed", optimizer="sgd")
