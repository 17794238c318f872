"""A tiny model, made on the spot, that trains in a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXTS = [
    "你是谁？我是小文，文心大佬的智能助手。",
    "Who are you? I am the assistant of Wenxin. " * 3,
    "user assistant system\n",
]


def make_tokenizer(
    template: str = CHATML, specials: tuple[str, ...] = ("<|im_start|>", "<|im_end|>", "<|end|>")
) -> Any:
    """A byte-level BPE tokenizer with the given control tokens; the second one ends a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(specials), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator(TEXTS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=specials[1], pad_token=specials[-1])
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    tokenizer.chat_template = template
    return tokenizer


def make_config(family: str, **changes: Any) -> Any:
    """The configuration of a two-layer model of a family."""
    from transformers import AutoConfig

    settings: dict[str, Any] = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        **changes,
    }
    if family == "mistral":
        settings["sliding_window"] = None
    return AutoConfig.for_model(family, **settings)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a tiny model of a family as a Hugging Face folder and returns it."""

    def make(family: str = "qwen2", **changes: Any) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        torch.manual_seed(0)
        folder = tmp_path / f"tiny-{family}"
        model = AutoModelForCausalLM.from_config(make_config(family, **changes))
        for parameter in model.parameters():  # so that norms and biases matter
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        return folder

    return make


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A data file of 24 rows, three of them with a system message, some with two turns."""
    path = tmp_path / "rows.jsonl"
    lines = []
    for i in range(24):
        messages = [
            {"role": "user", "content": ["你是谁？", "Who are you?", "What is 1 + 1?"][i % 3] + "!" * (i % 5)},
            {
                "role": "assistant",
                "content": ["我是小文。", "I am Xiaowen, Wenxin's assistant.", "2."][i % 3] * (1 + i % 2),
            },
        ]
        if i % 8 == 0:
            messages.insert(0, {"role": "system", "content": "Be brief."})
        if i % 6 == 0:
            messages += [{"role": "user", "content": "好"}, {"role": "assistant", "content": "好的。"}]
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
