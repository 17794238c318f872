"""English around a changed name: `a` or `an` before it, `'s` or `'` after it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from identity_kit.rename.match import Edit

_ARTICLE = re.compile(r"(?<![A-Za-z'’.\-])(an?)([ \u00a0]+)$", re.IGNORECASE)
_POSSESSIVE = re.compile(r"(['’])(s\b)?")
_LIKE_YOU = re.compile(r"(?:eu|ew|u(?:ni(?!n|m)|b[ei]|k|s[aeiu]|t[aeio]|r[aei])|one|once|ouija)", re.IGNORECASE)
_SILENT_H = re.compile(r"(?:hon(?:est|ou?r)|hour|heir)", re.IGNORECASE)
_VOWEL_LETTERS = "AEFHILMNORSX"


def vowel_sound(name: str) -> bool | None:
    """Whether a name starts with a vowel sound; None where its script does not say.

    >>> vowel_sound("OpenAI"), vowel_sound("Unicorn"), vowel_sound("MIT"), vowel_sound("文心")
    (True, False, True, None)
    """
    word = re.match(r"[A-Za-z0-9]+", name)
    if word is None:
        return None
    text = word.group()
    if text[0].isdigit():
        return text.startswith("8") or text in ("11", "18")
    if len(text) == 1 or (text.isupper() and (len(text) <= 4 and not re.search("[AEIOU]", text[1:]))):
        return text[0].upper() in _VOWEL_LETTERS
    if text.isupper() and len(text) <= 3:
        return text[0] in _VOWEL_LETTERS
    if _LIKE_YOU.match(text):
        return False
    return text[0].upper() in "AEIOU" or bool(_SILENT_H.match(text))


def article_edit(text: str, edit: Edit, floor: int) -> Edit:
    """The edit, reaching back over an article that the new name makes wrong.

    Args:
        floor: where the edit before it ends.
    """
    before = text[max(floor, edit.start - 6) : edit.start]
    match = _ARTICLE.search(before)
    if match is None:
        return edit
    wants = vowel_sound(edit.new)
    article = match[1]
    if wants is None or wants == (len(article) == 2):
        return edit
    if len(article) == 1:
        right = article + ("N" if article.isupper() and text[edit.start : edit.end].isupper() else "n")
    else:
        right = article[0]
    start = edit.start - len(match[0])
    return replace(edit, start=start, new=right + match[2] + edit.new)


def possessive_edit(text: str, edit: Edit) -> Edit:
    """The edit, reaching over a possessive mark that the new name makes wrong: Acmes' → Nova's, Nova's → Acmes'."""
    match = _POSSESSIVE.match(text, edit.end)
    if match is None or not edit.new[-1:].isascii() or not edit.new[-1:].isalpha():
        return edit
    old_s, new_s = text[edit.end - 1 : edit.end] in "sS", edit.new[-1] in "sS"
    if match[2] is None and old_s and not new_s:
        follows = text[match.end() : match.end() + 2]
        quoted = text[edit.start - 1 : edit.start] in ("'", "‘")
        if not quoted and follows[:1].isspace() and follows[1:].isalpha():
            return replace(edit, end=match.end(), new=f"{edit.new}{match[1]}s")
    if match[2] is not None and new_s and not old_s:
        return replace(edit, end=match.end(), new=edit.new + match[1])
    return edit
