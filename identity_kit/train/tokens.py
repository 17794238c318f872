"""Conversations to token ids and a mask of what is learnt: assistant turns and their end-of-turn token, and the user's
words where asked for; nothing else.

The chat template is rendered once with a private mark in place of every message's text, which shows where each text
lands whatever the template does around it; control-token text inside a message stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from identity_kit.errors import BadInput
from identity_kit.models.template import render
from identity_kit.ui import tr

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_MARK = re.compile("\ue000(\\d+)([ab])\ue001")
_THOUGHT = re.compile(r"\A\s*<think>\s*(.*?)\s*</think>\s*(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One training row: token ids, and which of them are learnt. Both have the same length.

    At an `anchor` it is not the tokens that are learnt: there the model is held to what the base model predicts.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    anchor: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """How many tokens carry a label. The first token of a row never does, since nothing predicts it."""
        return sum(self.mask[1:])


@dataclass(frozen=True)
class _Span:
    """A message's text in the rendered conversation: characters start to end, whether it is learnt, and if it ends."""

    start: int
    end: int
    learnt: bool
    closes: bool


def encode(
    tokenizer: Any,
    messages: Sequence[dict[str, str]],
    *,
    template: str | None = None,
    questions: bool = False,
    muted: Collection[int] = (),
) -> Row:
    """One conversation through a chat template (the tokenizer's own unless given).

    Args:
        questions: the user's words are learnt too, but not that they end.
        muted: messages, by index, of which nothing is learnt whoever wrote them.

    Raises:
        BadInput: the tokenizer has no chat template, the template refuses the conversation, or it changes the text of
            messages beyond recognition.
    """
    template = template or tokenizer.chat_template
    if not template:
        raise BadInput(
            tr("这个模型没有聊天模板", "this model has no chat template"),
            fix=tr(
                "换用 instruct/chat 模型，或 --set chat_template=chatml",
                "use an instruct model, or --set chat_template=chatml",
            ),
        )
    roles = ("assistant", "user") if questions else ("assistant",)
    taught = [message["role"] in roles and i not in muted for i, message in enumerate(messages)]
    text, spans = _locate(tokenizer, template, messages, taught)
    specials = _special_texts(tokenizer)
    if any(token in text[span.start : span.end] for span in spans for token in specials):
        ids, offsets = _encode_around_data(tokenizer, text, spans, specials)
    else:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    return _mask(tokenizer, text, spans, list(ids), list(offsets), specials)


def _locate(
    tokenizer: Any, template: str, messages: Sequence[dict[str, str]], taught: Sequence[bool]
) -> tuple[str, list[_Span]]:
    """The rendered conversation and where each message's text stands in it; `taught`: which of them are learnt."""
    import jinja2

    texts: dict[tuple[str, str], str] = {}
    marked, plain = [], []
    for number, message in enumerate(messages):
        content = message["content"]
        if message["role"] == "assistant":
            content = content.strip()
            thought = _THOUGHT.match(content)
            if thought:
                texts[(str(number), "a")], texts[(str(number), "b")] = thought[1], thought[2]
                marked.append({**message, "content": f"<think>\n{_at(number, 'a')}\n</think>\n\n{_at(number, 'b')}"})
                plain.append({**message, "content": f"<think>\n{thought[1]}\n</think>\n\n{thought[2]}"})
                continue
        texts[(str(number), "b")] = content
        marked.append({**message, "content": _at(number, "b")})
        plain.append({**message, "content": content})
    variables = tokenizer.special_tokens_map
    try:
        skeleton, real = render(template, marked, **variables), render(template, plain, **variables)
    except jinja2.TemplateError as error:
        raise BadInput(
            tr(f"聊天模板不接受这段对话：{error}", f"the chat template refuses this conversation: {error}"),
            where="chat_template",
        ) from None
    roles = [message["role"] for message in messages]
    text, spans = _fill(skeleton, texts, roles, taught)
    if text != real:
        text, spans = _fill(skeleton, {key: value.strip() for key, value in texts.items()}, roles, taught)
    if text != real:
        raise BadInput(
            tr(
                "聊天模板改写了消息的文字，无法确定哪些词元要学",
                "the chat template rewrites messages: what to learn is unclear",
            ),
            where="chat_template",
            fix=tr("用 --set chat_template=chatml", "use --set chat_template=chatml"),
        )
    return text, spans


def _at(number: int, part: str) -> str:
    return f"\ue000{number}{part}\ue001"


def _fill(
    skeleton: str, texts: dict[tuple[str, str], str], roles: Sequence[str], taught: Sequence[bool]
) -> tuple[str, list[_Span]]:
    """Put the texts in place of their marks, noting where they land. A thought is learnt from its opening tag on."""
    pieces: list[str] = []
    spans: list[_Span] = []
    position, last = 0, 0
    thought_from: int | None = None
    for mark in _MARK.finditer(skeleton):
        before = skeleton[last : mark.start()]
        pieces.append(before)
        position += len(before)
        text = texts[(mark[1], mark[2])]
        role, learnt = roles[int(mark[1])], taught[int(mark[1])]
        start = position
        if mark[2] == "a":
            thought_from = position - len("<think>\n") if before.endswith("<think>\n") else position
            spans.append(_Span(thought_from, position + len(text), learnt, closes=False))
        else:
            if thought_from is not None:
                start, thought_from = min(position, spans[-1].end), None
            spans.append(_Span(start, position + len(text), learnt, closes=role == "assistant"))
        pieces.append(text)
        position += len(text)
        last = mark.end()
    pieces.append(skeleton[last:])
    return "".join(pieces), spans


def _special_texts(tokenizer: Any) -> tuple[str, ...]:
    """The texts of the tokenizer's control tokens, longest first."""
    texts = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    texts.update(tokenizer.all_special_tokens)
    return tuple(sorted((text for text in texts if text), key=lambda text: (-len(text), text)))


def _encode_around_data(
    tokenizer: Any, text: str, spans: list[_Span], specials: tuple[str, ...]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids where control tokens count only outside the messages' own text; offsets are of characters."""
    data = [(span.start, span.end) for span in spans]
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    position = 0
    pattern = re.compile("|".join(re.escape(token) for token in specials))
    cuts = [m for m in pattern.finditer(text) if not any(a < m.end() and m.start() < b for a, b in data)]
    for start, end, token in [*((m.start(), m.end(), m[0]) for m in cuts), (len(text), len(text), "")]:
        for piece, (a, b) in _encode_plainly(tokenizer, text[position:start], after_text=position > 0):
            ids.append(piece)
            offsets.append((a + position, b + position))
        if token:
            ids.append(tokenizer.convert_tokens_to_ids(token))
            offsets.append((start, end))
        position = end
    return ids, offsets


def _encode_plainly(tokenizer: Any, text: str, *, after_text: bool) -> list[tuple[int, tuple[int, int]]]:
    """Token ids of text in which no control token counts.

    Some tokenizers put a space before the first word of a text; inside a conversation that must not happen, so such
    text is encoded after a line break, which is then taken off.
    """
    if not text:
        return []
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        lead = "\n" if after_text and backend.encode("a", add_special_tokens=False).tokens[0] != "a" else ""
        encoded = backend.encode(lead + text, add_special_tokens=False)
        skip = len(backend.encode(lead, add_special_tokens=False).ids) if lead else 0
    finally:
        backend.encode_special_tokens = before
    pairs = list(zip(encoded.ids, encoded.offsets, strict=True))[skip:]
    return [(piece, (max(0, a - len(lead)), max(0, b - len(lead)))) for piece, (a, b) in pairs]


def _mask(
    tokenizer: Any,
    text: str,
    spans: list[_Span],
    ids: list[int],
    offsets: list[tuple[int, int]],
    specials: tuple[str, ...],
) -> Row:
    learnt = [span for span in spans if span.learnt]
    ends: set[int] = set()  # where an end-of-turn token begins
    unended = False
    token = re.compile(r"\s*(" + "|".join(re.escape(special) for special in specials) + ")")
    for span in learnt:
        if not span.closes:
            continue
        following = token.match(text, span.end)
        if following:
            ends.add(following.start(1))
        unended = not following and span is learnt[-1] and not text[span.end :].strip()
    mask = [False] * len(ids)
    here = 0
    for i, (start, end) in enumerate(offsets):
        while here < len(learnt) and learnt[here].end <= start:
            here += 1
        inside = here < len(learnt) and start < learnt[here].end and end > learnt[here].start
        mask[i] = inside or (start in ends and end > start)
    if unended:
        if tokenizer.eos_token_id is None:
            raise BadInput(
                tr(
                    "聊天模板和分词器都没有结束符",
                    "neither the chat template nor the tokenizer has an end-of-turn token",
                ),
                where="chat_template",
            )
        ids, mask = [*ids, tokenizer.eos_token_id], [*mask, True]
    return Row(tuple(ids), tuple(mask))
