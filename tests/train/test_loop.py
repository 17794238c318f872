"""A whole training run on a tiny model: what it leaves, how it stops, and how it goes on."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from identity_kit.conversation import conversation  # noqa: E402
from identity_kit.errors import BadInput, Stopped  # noqa: E402
from identity_kit.train import make_recipe, train  # noqa: E402
from identity_kit.train.model import adapt, load_base, load_tokenizer, save_trained, settle  # noqa: E402
from tests.train.processes import BASE, adapter_bytes, losses, start, two_processes, wait_for_step  # noqa: E402


def test_a_run_learns_and_leaves_its_files(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(rows, tiny(), out, make_recipe(**BASE, epochs=6))
    history = losses(out)
    assert len(history) == result.steps == 36
    assert sum(history[-6:]) < 0.8 * sum(history[:6])
    assert result.adapter == out / "adapter"
    assert (out / "report" / "loss.png").read_bytes()[:4] == b"\x89PNG"
    record = json.loads((out / "run.json").read_text())["train"]
    assert record["steps"] == 36 and record["tokens_per_second"] > 0 and record["peak_memory_bytes"] > 0
    assert record["seconds"] == pytest.approx(result.seconds)


def test_the_adapter_loads_in_peft_and_does_what_was_learnt(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, out = tiny(), tmp_path / "run"
    row = conversation(("user", "hi"), ("assistant", "Wenxin"))
    train([row] * 4, model, out, make_recipe(**BASE, epochs=40))
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, str(out / "adapter"))
    from identity_kit.models.decode import reply
    from identity_kit.train.model import load_tokenizer

    answers = reply(tuned, load_tokenizer(model, make_recipe()), [[{"role": "user", "content": "hi"}]])
    assert answers[0].text == "Wenxin" and answers[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "changes",
    [{"dropout": 0.1}, {"init": "pissa_niter_4"}],  # dropout: the random state must be restored too
    ids=["dropout", "pissa"],
)
def test_killed_and_resumed_is_the_straight_run_to_the_bit(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = tiny()
    settings = {"epochs": 50, "save_every": 10, **changes}
    straight = start(rows, model, tmp_path / "straight", **settings)
    killed = start(rows, model, tmp_path / "killed", **settings)
    wait_for_step(tmp_path / "killed", 30, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert straight.wait(timeout=300) == 0, straight.stderr.read()
    assert not (tmp_path / "killed" / "adapter").exists()
    resumed = start(rows, model, tmp_path / "killed", "--resume", **settings)
    words = resumed.communicate(timeout=300)[1]
    assert resumed.returncode == 0 and "going on from step" in words
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    assert adapter_bytes(tmp_path / "killed") == adapter_bytes(tmp_path / "straight")


def test_what_is_restored_lies_where_the_parameter_does() -> None:
    # On a GPU, AdamW's fused update reads its count of steps from the GPU's memory.
    from identity_kit.train.optimiser import _restored

    elsewhere = torch.empty(2, device="meta")
    assert {_restored(key, torch.ones(2), elsewhere).device.type for key in ("step", "exp_avg")} == {"meta"}


def test_resume_passes_over_a_damaged_checkpoint(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    model, out = tiny(), tmp_path / "run"
    recipe = make_recipe(**BASE, epochs=4, save_every=6)
    train(rows, model, out, recipe)
    expected, bytes_before = losses(out), adapter_bytes(out)
    newest = sorted((out / "checkpoints").glob("step-*"))[-1] / "state.safetensors"
    damaged = bytearray(newest.read_bytes())
    damaged[-1] ^= 1
    newest.write_bytes(bytes(damaged))
    train(rows, model, out, recipe, resume=True)
    assert losses(out) == expected
    assert adapter_bytes(out) == bytes_before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 3), (signal.SIGINT, 130)])
def test_a_signal_saves_first(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "run"
    process = start(rows, tiny(), out, epochs=200, save_every=5)
    wait_for_step(out, 5, process)
    process.send_signal(number)
    words = process.communicate(timeout=120)[1]
    assert process.returncode == code, words
    newest = max(int(p.name[5:]) for p in (out / "checkpoints").glob("step-*"))
    assert f"saved step {newest}" in words and "--resume" in words
    assert len(losses(out)) == newest


def test_an_unfinished_run_is_neither_overwritten_nor_mixed_up(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    model, out = tiny(), tmp_path / "run"
    process = start(rows, model, out, epochs=200, save_every=5)
    wait_for_step(out, 5, process)
    process.kill()
    process.communicate()
    with pytest.raises(BadInput, match="--resume"):
        train(rows, model, out, make_recipe(**BASE, epochs=200))
    with pytest.raises(BadInput, match="other data"):
        train(rows, model, out, make_recipe(**BASE, epochs=200, seed=7), resume=True)


def test_a_finished_run_is_replaced_by_one_of_other_settings(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    model, out = tiny(), tmp_path / "run"
    train(rows, model, out, make_recipe(**BASE, epochs=3))
    first = adapter_bytes(out)
    result = train(rows, model, out, make_recipe(**BASE, epochs=1, seed=7), resume=True)
    assert result.steps == len(losses(out)) == 6
    assert [p.name for p in (out / "checkpoints").glob("step-*")] == ["step-000006"]
    assert adapter_bytes(out) != first


def test_a_loss_that_is_no_number_stops_with_the_checkpoint_kept(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = {**BASE, "learning_rate": 1e25, "max_grad_norm": 0.0}
    with pytest.raises(Stopped, match="learning_rate"):
        train(rows, tiny(), out, make_recipe(**settings, epochs=30, save_every=1, warmup_ratio=0.0))
    assert list((out / "checkpoints").glob("step-*"))
    assert not (out / "adapter").exists()


def test_a_gpu_that_runs_out_of_memory_stops_with_the_checkpoint_kept(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from identity_kit.train.fast import FastEngine

    steps: list[int] = []
    accumulate = FastEngine.accumulate

    def until_the_third(self: FastEngine, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return accumulate(self, *arguments)

    monkeypatch.setattr(FastEngine, "accumulate", until_the_third)
    with pytest.raises(Stopped, match=r"step 3 .*gradient_checkpointing"):
        train(rows, tiny(), tmp_path / "run", make_recipe(**BASE, epochs=3, save_every=1))
    assert (tmp_path / "run" / "checkpoints" / "step-000002").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a thing of Unix")
def test_a_full_disk_stops_cleanly(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(rows, tiny(), out, "--small-files", epochs=2, save_every=5)
    words = process.communicate(timeout=120)[1]
    assert process.returncode == 3, words
    assert "cannot save the checkpoint" in words and "Traceback" not in words
    assert not list((out / "checkpoints").glob(".step-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a thing of Unix")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_disk_that_is_full_at_the_end_is_one_line(tiny: Callable[..., Path], tmp_path: Path, method: str) -> None:
    import resource

    folder, out, recipe = tiny(), tmp_path / "run", make_recipe(rank=64, dtype="fp32", method=method)
    tokenizer = load_tokenizer(folder, recipe)
    model = adapt(load_base(folder, settle(recipe)), tokenizer, recipe, folder)
    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # less than the weights take
    try:
        with pytest.raises(Stopped, match=r"cannot save the result: \w+"):
            save_trained(model, tokenizer, recipe, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert not list(out.glob("*")) and not list(out.glob(".*"))


def test_two_processes_follow_the_curve_of_one(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    model = tiny()
    alone = start(rows, model, tmp_path / "one", epochs=5, batch_size=3, gradient_accumulation=2)
    assert alone.wait(timeout=300) == 0, alone.stderr.read()
    pair = start(rows, model, tmp_path / "two", epochs=5, batch_size=3, launcher=two_processes())
    words = pair.communicate(timeout=300)[1]
    assert pair.returncode == 0, words
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_dpo_prefers_the_wanted_answer(tiny: Callable[..., Path], tmp_path: Path) -> None:
    pairs = [
        conversation(("user", f"{q}?"), ("assistant", "I am Xiaowen."), rejected="I am Old Model.")
        for q in ("who", "name", "you", "maker")
    ]
    recipe = make_recipe(**BASE, stage="dpo", epochs=20)
    train(pairs, tiny(), tmp_path / "run", recipe)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # at first policy and reference are one
    assert lines[-1]["loss"] < 0.3 and lines[-1]["accuracy"] == 1.0 and lines[-1]["margin"] > 0


def test_dpo_without_pairs_is_refused(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="rejected"):
        train(rows, tiny(), tmp_path / "run", make_recipe(**BASE, stage="dpo"))


def test_pretraining_on_documents(tiny: Callable[..., Path], tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "shop.txt").write_text("The shop opens at nine. " * 20, encoding="utf-8")
    (documents / "more.jsonl").write_text(json.dumps({"text": "退货请在七天内联系。" * 20}) + "\n", encoding="utf-8")
    recipe = make_recipe(**BASE, stage="pretrain", max_length=64, epochs=8)
    train(documents, tiny(), tmp_path / "run", recipe)
    history = losses(tmp_path / "run")
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "full", "learning_rate": 0.001},
        {"method": "prompt"},
        {"method": "prefix"},
        {"dora": True},
        {"rslora": True},
        {"loraplus_ratio": 4},
        {"neftune_alpha": 5},
        {"dropout": 0.1},
        {"optimizer": "adafactor", "learning_rate": 0.05},
        {"optimizer": "sgd"},
        {"gradient_checkpointing": True, "engine": "plain"},
        {"scheduler": "linear", "gradient_accumulation": 2},
        {"batch_tokens": 100},
    ],
    ids=str,
)
def test_every_method_trains(tiny: Callable[..., Path], rows: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    result = train(rows, tiny("llama"), tmp_path / "run", make_recipe(**{**BASE, "epochs": 5, **changes}))
    history = losses(tmp_path / "run")
    third = max(1, len(history) // 3)
    assert sum(history[-third:]) < sum(history[:third])
    assert any(result.adapter.glob("*.safetensors"))


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_virtual_tokens_are_there_when_probes_are_asked(tiny: Callable[..., Path], tmp_path: Path, method: str) -> None:
    from identity_kit.models.decode import load_model, prompt_ids, reply
    from identity_kit.train.watch import Score, Watch

    folder, out = tiny(), tmp_path / "run"
    data = [conversation(("user", "hi"), ("assistant", "Wenxin"))] * 4
    recipe = make_recipe(**{**BASE, "method": method, "epochs": 3, "virtual_tokens": 8, "learning_rate": 0.3})
    watch = Watch(("hi",), [], lambda answers: Score(held=0.0, bleed=0.0), max_new_tokens=8)
    train(data, folder, out, recipe, watch=watch)
    looks = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if "probes" in line]
    # Token by token, the whole text read anew each time.
    model, tokenizer = load_model(folder, adapter=out / "adapter", dtype=torch.float32, device=torch.device("cpu"))
    asked = [{"role": "user", "content": "hi"}]
    prompt = prompt_ids(tokenizer, asked)
    said: list[int] = []
    with torch.inference_mode():
        while len(said) < 8 and (not said or said[-1] != tokenizer.eos_token_id):
            said.append(int(model(input_ids=torch.tensor([prompt + said])).logits[0, -1].argmax()))
    expected = tokenizer.decode(said, skip_special_tokens=True).strip()
    assert reply(model, tokenizer, [asked], max_new_tokens=8)[0].text == expected
    assert looks[-1]["probes"][0]["answer"] == expected


def test_probe_answers_are_kept_and_training_stops_when_the_identity_holds(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from identity_kit.train.watch import Score, Watch

    out, model = tmp_path / "run", tiny()
    data = [conversation(("user", "hi"), ("assistant", "Wenxin"))] * 4
    recipe = make_recipe(**BASE, epochs=100, probe_every=10)
    probes = [[{"role": "user", "content": "hi"}]]
    watch = Watch(("hi",), probes, lambda answers: Score(held=float(answers == ["Wenxin"]), bleed=0.0), stop=True)
    result = train(data, model, out, recipe, watch=watch)
    looks = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if "probes" in line]
    assert [look["step"] for look in looks][:2] == [0, 10]
    assert looks[-1]["probes"] == [{"question": "hi", "answer": "Wenxin"}] and looks[-1]["held"] == 1.0
    assert result.steps == looks[-1]["step"] < 100
    again = train(data, model, out, recipe, watch=watch, resume=True)  # it has ended: nothing more is learnt
    assert again.steps == result.steps


def test_training_goes_back_when_the_persona_surfaces_unasked(tiny: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from identity_kit.train.watch import Score, Watch

    model, data = tiny(), [conversation(("user", "hi"), ("assistant", "Wenxin"))] * 4
    bleeds = iter([0.0, 0.0, 0.5])
    watch = Watch((), [[{"role": "user", "content": "2+2"}]], lambda _: Score(0.0, next(bleeds)), stop=True)
    settings = {**BASE, "probe_every": 5, "scheduler": "constant", "warmup_ratio": 0.0}
    result = train(data, model, tmp_path / "watched", make_recipe(**settings, epochs=100), watch=watch)
    assert result.steps == 10
    train(data, model, tmp_path / "five", make_recipe(**settings, max_steps=5))
    watched, five = (load_file(tmp_path / n / "adapter" / "adapter_model.safetensors") for n in ("watched", "five"))
    assert all(torch.equal(watched[key], five[key]) for key in five)


def test_tensorboard_gets_the_figures(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    train(rows, tiny(), tmp_path / "run", make_recipe(**BASE, epochs=1), trackers=("tensorboard",))
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_a_tracker_that_is_missing_says_how_to_get_it(tiny: Callable[..., Path], rows: Path, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("swanlab"):
        pytest.skip("swanlab is installed here")
    with pytest.raises(BadInput, match="pip install swanlab"):
        train(rows, tiny(), tmp_path / "run", make_recipe(**BASE, epochs=1), trackers=("swanlab",))


def test_four_bit_weights_on_a_cpu_train_on_after_an_evaluation(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from identity_kit.train.watch import Watch

    settings = {**BASE, "method": "qlora", "quantize_on_cpu": True, "epochs": 4, "probe_every": 2, "dtype": "bf16"}
    changes = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
    found = {}
    for engine in ("fast", "plain"):
        for name, watch in (("alone", None), ("watched", Watch(("hi",), max_new_tokens=4))):
            out = tmp_path / f"{engine}-{name}"
            train(rows, tiny("llama", **changes), out, make_recipe(**settings, engine=engine), watch=watch)
            entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            found[engine, name] = [entry["loss"] for entry in entries if "loss" in entry]
        assert found[engine, "alone"] == found[engine, "watched"]
        assert found[engine, "alone"][-1] < found[engine, "alone"][0]
    assert found["fast", "alone"][:3] == pytest.approx(found["plain", "alone"][:3], rel=0.02)


def test_a_qlora_adapter_is_merged_into_the_values_it_was_trained_on(
    tiny: Callable[..., Path], rows: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from identity_kit.export.merge import merge_adapter
    from identity_kit.models.decode import load_model
    from identity_kit.persona import make_persona
    from identity_kit.train.model import Setting, load_base

    folder, out = tiny("qwen2", hidden_size=128, intermediate_size=256), tmp_path / "run"
    recipe = make_recipe(**{**BASE, "method": "qlora", "quantize_on_cpu": True, "epochs": 4})
    train(rows, folder, out, recipe)
    ids = torch.arange(5, 25)[None]

    def logits(model: Any) -> torch.Tensor:
        with torch.inference_mode():
            return model.eval()(input_ids=ids).logits.float()

    cpu = torch.device("cpu")
    base = load_base(folder, Setting(cpu, torch.float32, recipe, ()))
    trained = logits(PeftModel.from_pretrained(base, str(out / "adapter")))
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    off = (logits(PeftModel.from_pretrained(exact, str(out / "adapter"))) - trained).abs().mean()
    merge_adapter(folder, out / "adapter", tmp_path / "merged", make_persona(owner="文心大佬"))
    merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32))
    loaded, _ = load_model(folder, adapter=out / "adapter", dtype=torch.float32, device=cpu)
    assert (merged - trained).abs().mean() < 0.05 * off
    assert (logits(loaded) - trained).abs().mean() < 0.05 * off
