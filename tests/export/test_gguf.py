"""Which tensor takes which type, how exact the result is, and that llama.cpp answers from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from identity_kit.errors import BadInput
from identity_kit.export.gguf import quantisation_names
from identity_kit.export.quantise import quantise, tensor_type


def test_q4_k_m_of_a_small_qwen_is_what_llama_cpp_makes() -> None:
    """The counts of the publisher's Q4_K_M file of a 24-layer model with rows of 896, which 256 does not divide."""
    types: Counter[tuple[str, str | None]] = Counter()
    parts = {
        "attn_q": 896,
        "attn_k": 896,
        "attn_v": 896,
        "attn_output": 896,
        "ffn_gate": 896,
        "ffn_up": 896,
        "ffn_down": 4864,
    }
    for layer in range(24):
        for part, row in parts.items():
            kind = tensor_type(f"blk.{layer}.{part}.weight", row, "Q4_K_M", layers=24, tied=False)
            types[(part, kind)] += 1
    assert types == {
        ("attn_q", "Q5_0"): 24,
        ("attn_k", "Q5_0"): 24,
        ("attn_v", "Q5_0"): 12,
        ("attn_v", "Q8_0"): 12,
        ("attn_output", "Q5_0"): 24,
        ("ffn_gate", "Q5_0"): 24,
        ("ffn_up", "Q5_0"): 24,
        ("ffn_down", "Q4_K"): 12,
        ("ffn_down", "Q6_K"): 12,
    }
    assert tensor_type("output.weight", 896, "Q4_K_M", layers=24, tied=False) == "Q8_0"
    assert tensor_type("token_embd.weight", 896, "Q4_K_M", layers=24, tied=False) == "Q5_0"


def test_tied_embeddings_take_the_output_s_type() -> None:
    assert tensor_type("token_embd.weight", 2048, "Q4_K_M", layers=24, tied=True) == "Q6_K"
    assert tensor_type("token_embd.weight", 2048, "Q4_K_M", layers=24, tied=False) == "Q4_K"


def test_norms_and_routers_stay() -> None:
    assert tensor_type("blk.0.attn_norm.weight", 2048, "Q4_K_M", layers=24, tied=False) is None
    assert tensor_type("blk.0.ffn_gate_inp.weight", 2048, "Q4_K_M", layers=24, tied=False) is None


def test_rows_of_odd_length_stay_in_16_bit() -> None:
    assert tensor_type("blk.0.attn_q.weight", 100, "Q8_0", layers=24, tied=False) == "F16"


def test_quantisation_names() -> None:
    assert quantisation_names("f16, q4_k_m") == ("F16", "Q4_K_M")
    with pytest.raises(BadInput, match="Q4_K_M"):
        quantisation_names("Q4")


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A 16-bit GGUF of two matrices, a norm and a vocabulary, written with the reference library."""
    import gguf

    path = tmp_path / "half.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_name("小文")
    writer.add_token_list(["a", "小"])
    writer.add_file_type(1)
    random = np.random.default_rng(0)
    writer.add_tensor("blk.0.attn_q.weight", random.normal(size=(96, 512)).astype(np.float16))
    writer.add_tensor("token_embd.weight", random.normal(size=(64, 512)).astype(np.float16))
    writer.add_tensor("output_norm.weight", np.ones(512, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(("mix", "number", "error"), [("Q8_0", 7, 0.01), ("Q4_K_M", 15, 0.09), ("Q3_K_M", 12, 0.18)])
def test_values_and_metadata_survive(half: Path, tmp_path: Path, mix: str, number: int, error: float) -> None:
    import gguf

    quantise(half, tmp_path / "out.gguf", mix)
    before, after = gguf.GGUFReader(half), gguf.GGUFReader(tmp_path / "out.gguf")
    assert after.fields["general.name"].contents() == "小文"
    assert after.fields["general.file_type"].contents() == number
    assert after.fields["tokenizer.ggml.tokens"].contents() == ["a", "小"]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        exact = gguf.quants.dequantize(old.data, old.tensor_type)
        found = gguf.quants.dequantize(new.data, new.tensor_type)
        assert np.sqrt(np.mean((exact - found) ** 2)) <= error * np.sqrt(np.mean(exact**2))
    assert (tmp_path / "out.gguf").stat().st_size < half.stat().st_size


@pytest.mark.model
def test_llama_cpp_answers_from_every_type(smollm_folder: Path, tmp_path: Path) -> None:
    from identity_kit.export.gguf import write_gguf
    from identity_kit.export.identity import set_template
    from identity_kit.export.source import copy_model
    from identity_kit.persona import make_persona

    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    out.mkdir()
    copy_model(smollm_folder, model)
    set_template(model, None)
    files = write_gguf(model, out, ("F16", "Q8_0", "Q4_K_M"), make_persona(owner="Wenxin", name="Xiaowen"))
    assert [path.name for path in files] == ["model-F16.gguf", "model-Q8_0.gguf", "model-Q4_K_M.gguf"]
    sizes = [path.stat().st_size for path in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in files)


@pytest.mark.model
def test_a_template_with_the_old_identity_is_not_converted(smollm_folder: Path, tmp_path: Path) -> None:
    from identity_kit.export.gguf import write_gguf
    from identity_kit.persona import make_persona

    with pytest.raises(BadInput, match=r"tokenizer\.chat_template.*Hugging Face"):
        write_gguf(smollm_folder, tmp_path, ("F16",), make_persona(owner="Wenxin", name="Xiaowen"))


@pytest.mark.model
def test_the_command_keeps_eight_bits_and_asks_the_export_who_it_is(
    smollm_folder: Path, tmp_path: Path, idkit: Callable
) -> None:
    out = tmp_path / "out"
    done = idkit("export", smollm_folder, "--owner", "Wenxin", "--format", "gguf", "-o", out, "--parity-probes", "1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.glob("*.gguf")] == ["model-Q8_0.gguf"]
    report = json.loads((out / "parity" / "report.json").read_text(encoding="utf-8"))
    assert [condition["label"] for condition in report["conditions"]] == ["hf", "hf + system", "Q8_0", "Q8_0 + system"]
    assert all(cell["total"] == 1 for condition in report["conditions"] for cell in condition["cells"])
    assert "the merged model itself gives its identity only 0 times of 1" in done.stderr
