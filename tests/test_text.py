"""Views of text: what counts as the same, which language it is, how wide it prints."""

import pytest

from identity_kit.text import (
    ends_properly,
    language_of,
    ngrams,
    normalise,
    placeholders,
    sentences,
    shorten,
    similarity,
    width,
)


def test_normalised_text_ignores_case_width_and_punctuation():
    assert normalise("你 是谁？？ＯＫ!") == normalise("你是谁 ok") == "你是谁ok"


def test_short_chinese_is_told_apart():
    assert similarity(ngrams("你是谁"), ngrams("你好")) < 0.3
    assert similarity(ngrams("你是谁？"), ngrams("你是谁")) == 1


@pytest.mark.parametrize(
    ("text", "language"), [("我是GPT模型", "zh"), ("I like 面条 a lot", "en"), ("123", "en"), ("你好", "zh")]
)
def test_language(text: str, language: str):
    assert language_of(text) == language


def test_unfilled_slots_are_found():
    assert placeholders("我是{{name}}，由<AUTHOR>开发") == ["{{name}}", "<AUTHOR>"]
    assert placeholders("a {b} c <div>") == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [("好的。", True), ("I am", True), ("因为他说，", False), ("", False), ("x" * 60, False), ("`x`", True)],
)
def test_whole_or_cut(text: str, whole: bool):
    assert ends_properly(text) is whole


def test_sentences_and_width():
    assert sentences("一。二！Three is 3.5 m. Four") == ["一。", "二！", "Three is 3.5 m.", "Four"]
    assert width("文心A") == 5
    assert shorten("文心大佬的助手", 7) == "文心大…"
