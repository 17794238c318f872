"""Chat templates lose the identity that they carry, and nothing else."""

from __future__ import annotations

import pytest

from identity_kit.errors import BadInput
from identity_kit.models.template import default_system, neutral_template, render

QWEN25 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nCall a function when it helps:\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or message.role == "assistant" %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
_LOOP_FIRST = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nDEFAULT<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN2 = _LOOP_FIRST.replace("DEFAULT", "You are a helpful assistant.")
SMOLLM2 = _LOOP_FIRST.replace("DEFAULT", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
SET_VARIABLE = (
    "{%- if messages[0].role == 'system' %}{%- set s = messages[0].content %}{%- set rest = messages[1:] %}"
    '{%- else %}{%- set s = "You are Granite, developed by IBM." %}{%- set rest = messages %}{%- endif %}'
    "{{ '<|system|>' + s + '<|end|>' }}"
    "{%- for m in rest %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{%- endfor %}"
)
CHINESE = _LOOP_FIRST.replace("DEFAULT", "你是由某公司开发的智能助手小某。")
PLAIN_TEXT_DEFAULT = (
    "{% if messages[0].role == 'system' %}<s>{{ messages[0].content }}</s>{% else %}"
    "<s>You are Acme, made by Acme.</s>{% endif %}{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}</s>{% endif %}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER = [{"role": "user", "content": "who are you"}]
SYSTEM = [{"role": "system", "content": "Be brief."}, *USER]


@pytest.mark.parametrize(
    ("template", "default", "words"),
    [
        (QWEN25, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "Qwen"),
        (QWEN2, "You are a helpful assistant.", "helpful"),
        (SMOLLM2, "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "SmolLM"),
        (SET_VARIABLE, "You are Granite, developed by IBM.", "IBM"),
        (CHINESE, "你是由某公司开发的智能助手小某。", "某公司"),
        (PLAIN_TEXT_DEFAULT, "You are Acme, made by Acme.", "Acme"),
    ],
    ids=["qwen2.5", "qwen2", "smollm2", "variable", "chinese", "literal text"],
)
def test_the_default_identity_is_found_and_taken_out(template: str, default: str, words: str) -> None:
    assert default_system(template) == default
    edited = neutral_template(template)
    assert words not in edited
    assert render(edited, SYSTEM) == render(template, SYSTEM)
    assert render(edited, USER, add_generation_prompt=True).endswith(
        render(template, USER, add_generation_prompt=True).split(default)[1][-20:]
    )


def test_qwen25_without_a_system_message_begins_with_the_user() -> None:
    edited = neutral_template(QWEN25)
    assert render(edited, USER, add_generation_prompt=True) == (
        "<|im_start|>user\nwho are you<|im_end|>\n<|im_start|>assistant\n"
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with_tools = render(edited, USER, tools=tools)
    assert "Qwen" not in with_tools and "# Tools" in with_tools


def test_a_template_without_a_default_comes_back_as_it_was() -> None:
    assert neutral_template(CHATML) == CHATML
    assert default_system(CHATML) is None
    no_system = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}"
    )
    no_system += "{{ '<start_of_turn>' + m.role + '\n' + m.content + '<end_of_turn>\n' }}{% endfor %}"
    assert neutral_template(no_system) == no_system


def test_a_default_that_is_welded_to_the_user_turn_is_refused() -> None:
    welded = (
        "{% if messages[0].role == 'system' %}{{ '[S]' + messages[0].content + '[/S][U]' }}{% else %}"
        "{{ '[S]You are Acme by Acme[/S][U]' }}{% endif %}{{ messages[-2].content + '[A]' + messages[-1].content }}"
    )
    with pytest.raises(BadInput, match="chat_template"):
        neutral_template(welded)
