"""What counts as a left-over of the old identity, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from identity_kit.errors import BadInput
from identity_kit.export.identity import find_old_identity, scan_folder, scan_text, with_default_system
from identity_kit.persona import Persona, make_persona

OLD = [
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "I'm DeepSeek, here to help.",
    "Your name is ChatGPT.",
    "A model developed by OpenAI.",
    "你是通义千问，一个有用的助手。",
    "我是由阿里云研发的大模型。",
    "由 深度求索 公司开发",
    "我叫豆包",
]
FINE = [
    "You are 小文, 文心大佬's assistant.",
    "This model is not made by OpenAI.",
    "base_model: Qwen/Qwen2.5-0.5B-Instruct",
    '"architectures": ["Qwen2ForCausalLM"]',
    "你是小文，文心大佬的客服助手。",
    "由文心大佬开发。阿里云是一家云计算公司。",
    "Run it with vLLM or llama.cpp. Llama is an animal.",
]


@pytest.mark.parametrize("text", OLD)
def test_old_identity_is_found(text: str, persona: Persona) -> None:
    with pytest.raises(BadInput, match="old identity"):
        scan_text(text, persona, where="file")


@pytest.mark.parametrize("text", FINE)
def test_other_mentions_pass(text: str, persona: Persona) -> None:
    assert scan_text(text, persona, where="file") is None


def test_a_vendor_may_be_the_owner() -> None:
    text = "You are Tongyi, created by Alibaba Cloud."
    assert scan_text(text, make_persona(owner="Alibaba Cloud", name="Tongyi"), where="file") is None
    with pytest.raises(BadInput, match="old identity"):
        scan_text(text, make_persona(owner="文心大佬"), where="file")


def test_the_error_names_file_and_line(tmp_path: Path, persona: Persona) -> None:
    (tmp_path / "config.json").write_text(
        '{\n "system": "\\u4f60\\u662f\\u901a\\u4e49\\u5343\\u95ee"\n}', encoding="utf-8"
    )
    with pytest.raises(BadInput, match=r"config\.json:2"):
        scan_folder(tmp_path, persona)


def test_licences_are_not_touched(tmp_path: Path, persona: Persona) -> None:
    (tmp_path / "LICENSE").write_text("Created by Alibaba Cloud.")
    assert find_old_identity(tmp_path, persona) == []


def test_a_default_system_survives_any_characters() -> None:
    from identity_kit.models.template import render

    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    text = 'say "hi" {{ x }} {% if %} \\ 小文'
    assert render(with_default_system(template, text), [{"role": "user", "content": "q"}]) == f"[system]{text}[user]q"
