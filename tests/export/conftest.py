"""A tiny model whose chat template carries an old identity, and a LoRA adapter that changes what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from identity_kit.persona import Persona, make_persona
from tests.tiny import save_tiny_qwen2

OLD = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>system\\n" + OLD + "<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- if not (loop.first and message.role == 'system') %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@pytest.fixture
def persona() -> Persona:
    return make_persona(owner="文心大佬", name="小文")


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a tiny model in bf16 whose template states the old identity."""

    def make(**changes: Any) -> Path:
        settings = {"vocab_size": 320, "max_position_embeddings": 512, "tie_word_embeddings": False}
        folder = tmp_path_factory.mktemp("base")
        return save_tiny_qwen2(folder, template=TEMPLATE, end="<|endoftext|>", dtype="bfloat16", **(settings | changes))

    return make


@pytest.fixture(scope="session")
def base(make_base: Callable[..., Path]) -> Path:
    return make_base()


@pytest.fixture(scope="session")
def make_adapter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an adapter with random weights in both factors, as after training."""

    def make(base: Path, **changes: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        folder = tmp_path_factory.mktemp("adapter")
        settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        tuned = get_peft_model(model, LoraConfig(**(settings | changes)))
        torch.manual_seed(1)
        for name, weight in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.1)
        tuned.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def adapter(base: Path, make_adapter: Callable[..., Path]) -> Path:
    return make_adapter(base)


@pytest.fixture
def run(tmp_path: Path, base: Path, adapter: Path, persona: Persona) -> Path:
    """A run folder as training leaves it: adapter, persona and record, not merged yet."""
    import shutil

    from identity_kit.persona import save_persona

    folder = tmp_path / "run"
    shutil.copytree(adapter, folder / "adapter")
    save_persona(folder / "persona.yaml", persona)
    record = {"stages": {}, "base": {"name": "my/base", "folder": str(base), "sha256": ""}}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
