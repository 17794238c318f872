"""The merged files answer as base + adapter, carry no old identity, and are there whole or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from identity_kit.errors import BadInput, Stopped
from identity_kit.export.merge import merge_adapter
from identity_kit.persona import Persona


def logits(folder: Path, adapter: Path | None = None) -> torch.Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    with torch.inference_mode():
        return model(input_ids=torch.arange(5, 25)[None]).logits


def test_the_opening_that_all_prompts_share_is_not_compared(
    base: Path, adapter: Path, persona: Persona, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from identity_kit.export import merge

    seen = []
    measure = merge._log_probabilities

    def watched(model: object, prompts: list[list[int]], opening: int) -> list[torch.Tensor]:
        found = measure(model, prompts, opening)
        seen.append((prompts, opening, [len(tensor) for tensor in found]))
        return found

    monkeypatch.setattr(merge, "_log_probabilities", watched)
    merge_adapter(base, adapter, tmp_path / "out", persona)
    assert len(seen) == 3
    for prompts, opening, lengths in seen:
        assert opening > 0
        assert len({tuple(ids[:opening]) for ids in prompts}) == 1 < len({ids[opening] for ids in prompts})
        assert lengths == [len(ids) - opening for ids in prompts]


def test_merged_model_is_base_plus_adapter(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    result = merge_adapter(base, adapter, tmp_path / "out", persona)

    assert result.layers == 6  # q_proj, v_proj and down_proj of two blocks
    assert result.dtype == "bfloat16"
    assert result.mean_kl is not None and result.moved is not None
    assert result.mean_kl < 0.02 < result.moved
    whole, apart, before = logits(tmp_path / "out"), logits(base, adapter), logits(base)
    assert (whole - apart).abs().mean() < 0.1 * (before - apart).abs().mean()


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a thing of Unix")
def test_a_full_disk_is_one_line_and_leaves_nothing(
    base: Path, adapter: Path, persona: Persona, tmp_path: Path
) -> None:
    import resource

    most, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # less than the weights take
    try:
        with pytest.raises(Stopped, match="cannot write") as stopped:
            merge_adapter(base, adapter, tmp_path / "out", persona)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    assert stopped.value.exit_code == 3
    assert not list(tmp_path.glob("*out*"))


def test_the_sum_is_made_in_32_bit_and_rounded_once(
    base: Path, adapter: Path, persona: Persona, tmp_path: Path
) -> None:
    merge_adapter(base, adapter, tmp_path / "out", persona, check=False)

    name = "model.layers.1.self_attn.q_proj.weight"
    before = load_file(base / "model.safetensors")[name]
    parts = load_file(adapter / "adapter_model.safetensors")
    path = "base_model.model.model.layers.1.self_attn.q_proj"
    delta = 2.0 * parts[f"{path}.lora_B.weight"].float() @ parts[f"{path}.lora_A.weight"].float()
    after = load_file(tmp_path / "out" / "model.safetensors")[name]
    assert after.dtype == torch.bfloat16
    assert torch.equal(after, (before.float() + delta).bfloat16())


def test_nothing_of_the_old_identity_is_in_the_files(
    base: Path, adapter: Path, persona: Persona, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    merge_adapter(base, adapter, out, persona)

    for path in out.iterdir():
        if path.suffix != ".safetensors":
            assert "Alibaba" not in path.read_text(encoding="utf-8"), path
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(out)
    asked = [{"role": "user", "content": "你是谁？"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\n你是谁？<|im_end|>\n<|im_start|>assistant\n"


def test_generation_stops_at_the_end_of_a_turn(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    merge_adapter(base, adapter, tmp_path / "out", persona)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    stops = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in stops


def test_the_persona_can_be_the_template_s_default(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    merge_adapter(base, adapter, tmp_path / "out", persona, default_system='你是"小文"。')
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")

    def render(*turns: dict[str, str]) -> str:
        return tokenizer.apply_chat_template(list(turns), tokenize=False)

    asked = {"role": "user", "content": "hi"}
    assert '<|im_start|>system\n你是"小文"。<|im_end|>' in render(asked)
    given = render({"role": "system", "content": "Be brief."}, asked)
    assert "Be brief." in given and "小文" not in given


def test_tied_embeddings_part_when_the_adapter_changes_one(
    make_base: Callable[..., Path], make_adapter: Callable[..., Path], persona: Persona, tmp_path: Path
) -> None:
    base = make_base(tie_word_embeddings=True)
    adapter = make_adapter(base, target_modules=["q_proj", "embed_tokens"])
    result = merge_adapter(base, adapter, tmp_path / "out", persona)

    assert result.mean_kl is not None and result.mean_kl < 0.02
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tie_word_embeddings"] is False


def test_dora_is_merged_too(base: Path, make_adapter: Callable[..., Path], persona: Persona, tmp_path: Path) -> None:
    result = merge_adapter(base, make_adapter(base, use_dora=True), tmp_path / "out", persona)
    assert result.mean_kl is not None and result.mean_kl < 0.02


def test_an_adapter_of_another_model_is_refused(
    base: Path, make_base: Callable[..., Path], make_adapter: Callable[..., Path], persona: Persona, tmp_path: Path
) -> None:
    wider = make_adapter(make_base(hidden_size=128))
    with pytest.raises(BadInput, match="does not fit the base"):
        merge_adapter(base, wider, tmp_path / "out", persona)
    deeper = make_adapter(make_base(num_hidden_layers=3))
    with pytest.raises(BadInput, match=r"the base has no model\.layers\.2"):
        merge_adapter(base, deeper, tmp_path / "out", persona)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_adapter_is_refused(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "adapter"
    shutil.copytree(adapter, broken)
    tensors = load_file(broken / "adapter_model.safetensors")
    tensors[next(iter(tensors))][0] = float("nan")
    save_file(tensors, broken / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="no numbers"):
        merge_adapter(base, broken, tmp_path / "out", persona)
    assert not (tmp_path / "out").exists()


def test_a_quantised_base_is_refused(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base, tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(BadInput, match="quantised"):
        merge_adapter(tmp_path / "base", adapter, tmp_path / "out", persona)


def test_other_files_at_the_target_are_left_alone(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="choose another -o"):
        merge_adapter(base, adapter, tmp_path / "out", persona)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"


def test_a_failed_merge_leaves_the_earlier_one(base: Path, adapter: Path, persona: Persona, tmp_path: Path) -> None:
    out = tmp_path / "out"
    merge_adapter(base, adapter, out, persona)
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(BadInput, match=r"README.md:\d+.*Alibaba"):
        other = persona.model_copy(update={"role": persona.role.model_copy(update={"en": "bot. You are Qwen"})})
        merge_adapter(base, adapter, out, other)
    assert (out / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_export_command(run: Path, tmp_path: Path, idkit: Callable) -> None:
    done = idkit("export", run, "-o", tmp_path / "model", "--parity-probes", "2")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "model")
    assert "Traceback" not in done.stderr
    assert {"config.json", "model.safetensors", "chat_template.jinja", "README.md", "idkit.json"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }
    assert "小文" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert torch.equal(logits(tmp_path / "model"), logits(run / "merged"))
    assert "adapter + system" in (tmp_path / "model" / "parity" / "report.md").read_text(encoding="utf-8")
    asked = (run / "report" / "answers.jsonl").read_text(encoding="utf-8")
    again = idkit("export", run, "-o", tmp_path / "model", "--parity-probes", "2")
    assert again.returncode == 0, again.stderr
    assert (run / "report" / "answers.jsonl").read_text(encoding="utf-8") == asked  # nothing is asked twice


def test_adapter_export_names_the_base_and_neutralises_the_template(run: Path, tmp_path: Path, idkit: Callable) -> None:
    done = idkit("export", run, "-o", tmp_path / "lora", "--format", "adapter", "--json", "--no-parity")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "adapter"
    assert not (tmp_path / "lora" / "parity").exists()
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "my/base"
    assert "Qwen" not in (tmp_path / "lora" / "chat_template.jinja").read_text()


def test_export_of_something_else_says_what_is_missing(tmp_path: Path, idkit: Callable) -> None:
    (tmp_path / "empty").mkdir()
    done = idkit("export", tmp_path / "empty", "-o", tmp_path / "model")
    assert done.returncode == 2
    assert "neither a run folder nor a model folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
