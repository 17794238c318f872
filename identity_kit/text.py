"""Views of text that comparisons are made on: normalised forms, character n-grams, language, width, sentences."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

TextLanguage = Literal["zh", "en"]

_SPACES = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_LATIN_WORD = re.compile(r"[A-Za-z]+")
_PLACEHOLDER = re.compile(
    r"\{\{[^{}\n]{0,40}\}\}|<(?:NAME|AUTHOR|OWNER|name|author|owner)>|\[(?:NAME|OWNER|公司名|姓名)\]"
)
_THINK = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<=[。！？!?；;\n])|(?<=[.])(?=\s|$)")


def normalise(text: str) -> str:
    """Lower-case NFKC text of letters and digits alone, for exact comparison whatever the punctuation and width.

    >>> normalise("你 是谁？？ＯＫ!")
    '你是谁ok'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded))


def split_thoughts(text: str) -> tuple[str, str]:
    """What a model thought, and what it said: `<think>` blocks taken out; one that is not closed has no words after it.

    Where a template opens the block in the prompt, the answer begins within it and only closes it.

    >>> split_thoughts("<think>Who am I?</think> I am Acme's."), split_thoughts("<think>Well")
    (('Who am I?', "I am Acme's."), ('Well', ''))
    """
    before, closed, _ = text.partition("</think>")
    if closed and "<think>" not in before:
        text = "<think>" + text
    if "<think>" not in text:
        return "", text
    thoughts = "\n".join(found.strip() for found in _THINK.findall(text))
    return thoughts, _THINK.sub("", text).strip()


def ngrams(text: str, n: int = 3) -> frozenset[str]:
    """The character n-grams of the normalised text, padded at both ends so that two-character texts have some too."""
    padded = f"^{normalise(text)}$"
    if len(padded) <= n:
        return frozenset((padded,))
    return frozenset(padded[i : i + n] for i in range(len(padded) - n + 1))


def similarity(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard similarity of two n-gram sets, 0 to 1."""
    if not a or not b:
        return 0.0
    common = len(a & b)
    return common / (len(a) + len(b) - common)


def cjk_share(text: str) -> float:
    """The share of Chinese characters among words: a Chinese character and a Latin word each count as one."""
    chinese = len(_CJK.findall(text))
    latin = len(_LATIN_WORD.findall(text))
    return chinese / (chinese + latin) if chinese + latin else 0.0


def language_of(text: str) -> TextLanguage:
    """The language that most of the text is in; text without words counts as English."""
    return "zh" if cjk_share(text) >= 0.4 else "en"


def placeholders(text: str) -> list[str]:
    """Slots that nobody filled: `{{name}}`, `<NAME>`, `[OWNER]` and the like."""
    return _PLACEHOLDER.findall(text)


def one_stop(text: str, *names: str) -> str:
    """The text without the full stop that follows a name which brings one: "developed by Acme Inc." """
    for name in names:
        if name.endswith((".", "!", "?")):
            text = re.sub(rf"(?<={re.escape(name)})\.(?!\.)", "", text)
    return text


def sentences(text: str) -> list[str]:
    """The text cut after sentence ends, empty pieces left out; line ends count as sentence ends."""
    return [piece.strip() for piece in _SENTENCE_END.split(text) if piece.strip()]


def ends_properly(text: str) -> bool:
    """Whether a reply looks finished: it ends in closing punctuation, a digit, code, or with a short line.

    A short last line, also the only one, is a phrase, a signature or a field rather than a sentence cut off.
    """
    stripped = text.rstrip()
    if not stripped:
        return False
    if stripped[-1] in "。！？!?.…）)」』”\"'`】]}~～:：;；*|>" or not stripped[-1].isalnum():
        return stripped[-1] not in ",，、（(「『“【[{"
    *earlier, last = stripped.rsplit("\n", 1)
    return len(last) <= (24 if earlier else 40) or stripped[-1].isdigit()


def width(text: str) -> int:
    """Terminal columns: wide and full-width characters take two, combining marks none."""
    columns = 0
    for c in text:
        if unicodedata.combining(c):
            continue
        columns += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return columns


def shorten(text: str, columns: int) -> str:
    """One line of at most `columns` terminal columns, with … where something was cut."""
    flat = _SPACES.sub(" ", text).strip()
    if width(flat) <= columns:
        return flat
    kept, used = [], 1
    for c in flat:
        used += width(c)
        if used > columns:
            break
        kept.append(c)
    return "".join(kept) + "…"
