"""Chat templates: rendering them, and taking out the identity that some of them carry.

A template may write a system message of its own when a conversation has none (Qwen2.5: who made it; SmolLM2: its name).
What a template writes is found by rendering it, not by a list of known sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.ui import tr

_USER, _SYSTEM, _ANSWER = "\ue000user\ue001", "\ue000system\ue001", "\ue000answer\ue001"
_TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Look it up.", "parameters": {"type": "object", "properties": {}}},
}
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CJK = re.compile(r"[\u3400-\u9fff]{4,}")


def render(
    template: str,
    messages: Sequence[Mapping[str, str]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    **variables: Any,
) -> str:
    """The text that a Jinja chat template makes of messages (role and content), as `transformers` renders it.

    Args:
        tools: function descriptions for templates that know tools.
        add_generation_prompt: end with the header of an assistant turn.
        variables: what else the template reads (`bos_token`, `eos_token`, `enable_thinking`, …).

    Raises:
        jinja2.TemplateError: the template is broken, or refuses these messages.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered: Any = render_jinja_template(
        conversations=[[dict(message) for message in messages]],
        tools=[dict(tool) for tool in tools] if tools else None,
        documents=None,
        chat_template=template,
        return_assistant_tokens_mask=False,
        continue_final_message=False,
        add_generation_prompt=add_generation_prompt,
        **{"bos_token": "", "eos_token": "", **variables},
    )
    return str(rendered[0][0])


def default_system(template: str, **variables: Any) -> str | None:
    """The words that the template puts in when a conversation has no system message; None if it puts in none.

    For Qwen2.5 that is its sentence about its maker, without the control tokens around it.
    """
    bare, given = _render_pair(template, None, variables)
    if given is None:
        return None
    head, given_head = bare.partition(_USER)[0], given.partition(_USER)[0]
    before, _, after = given_head.partition(_SYSTEM)
    if head.startswith(before) and head.endswith(after) and len(head) > len(before) + len(after):
        text = head[len(before) : len(head) - len(after)].strip()
        return text or None
    pieces = [text for text in _only_without_system(template, variables).values() if text]
    return pieces[0].strip() if pieces else None


def neutral_template(template: str) -> str:
    """The template with its own default system message taken out; one that has none comes back as it was.

    Conversations that bring a system message render exactly as before.

    Raises:
        BadInput: the default cannot be taken out without breaking the turns around it.
    """
    found = _only_without_system(template, {})
    if not found:
        return template
    edited = template
    for start, end in sorted(found, reverse=True):
        quoted = edited[start] in "'\""
        edited = edited[:start] + ("''" if quoted else "") + edited[end:]
    _verify(template, edited, [text for text in found.values() if text])
    return edited


def _render_pair(
    template: str, tools: list[dict[str, Any]] | None, variables: Mapping[str, Any]
) -> tuple[str, str | None]:
    """The same conversation rendered without and with a system message; None where the template refuses one."""
    import jinja2

    turns = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
    bare = render(template, turns, tools=tools, **variables)
    try:
        given = render(template, [{"role": "system", "content": _SYSTEM}, *turns], tools=tools, **variables)
    except jinja2.TemplateError:
        return bare, None
    return bare, given if _SYSTEM in given else None


def _only_without_system(template: str, variables: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    """Spans of the template's source (string constants, literal text) that are written only if no system is given."""
    import jinja2

    pairs = [_render_pair(template, None, variables)]
    try:
        pairs.append(_render_pair(template, [_TOOL], variables))
    except jinja2.TemplateError:  # a template that knows no tools
        pairs = pairs[:1]
    found: dict[tuple[int, int], str] = {}
    position = 0
    for _, kind, raw in jinja2.Environment().lex(template):
        start = template.find(raw, position)
        if start < 0:  # white space that the lexer dropped
            continue
        position = start + len(raw)
        if kind == "string":
            text = raw[1:-1].encode("ascii", "backslashreplace").decode("unicode-escape")
        elif kind == "data":
            text = raw.strip()
            start = template.find(text, start) if text else start
            position = start + len(text) if text else position
        else:
            continue
        if not _is_sentence(text):
            continue
        if any(text in bare and text not in (given if given is not None else "") for bare, given in pairs):
            found[(start, position)] = text
    if pairs[0][1] is None:  # every word looks like "only without system" where no system message is taken at all
        return {}
    return found


def _is_sentence(text: str) -> bool:
    return len(_WORDS.findall(text)) >= 3 or bool(_CJK.search(text))


def _verify(template: str, edited: str, removed: list[str]) -> None:
    """Turns must stand as before, the default must be gone, and given system messages must be untouched."""
    before, given_before = _render_pair(template, None, {})
    after, given_after = _render_pair(edited, None, {})
    head = before.partition(_USER)[0]
    header = head[max((head.find(text) + len(text) for text in removed if text in head), default=0) :]
    kept = header and after.partition(_USER)[0].endswith(header)
    kept = kept and after.partition(_USER)[2] == before.partition(_USER)[2]
    if not kept or given_before != given_after or any(text in after for text in removed):
        raise BadInput(
            tr("无法从聊天模板中去掉默认的系统提示", "cannot take the default system message out of the chat template"),
            where="chat_template",
            fix=tr("请手动编辑 chat_template.jinja", "edit chat_template.jinja by hand"),
        )
