"""Find what to change in one text: spans first, leftmost and longest, then what each becomes.

Names are looked for in a folded view of the text (width, case, accents, invisible marks) that knows for each of its
characters where it came from; the text itself is never altered outside the spans.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from identity_kit.rename.english import article_edit, possessive_edit
from identity_kit.rename.rules import JOINERS, SLOT, SLOTS, SPACES, Name, Rules, Target, fold, is_cjk, language_of_name
from identity_kit.rename.zones import find_zones, zone_at
from identity_kit.text import cjk_share

_SKIPPED = frozenset(JOINERS + SPACES)
# Characters that are their own fold.
_FOLDED = re.compile("[\u4e00-\u9fff]*")
# Where a sentence ends, for the choice between the Chinese and the English form of a name.
SENTENCE = re.compile(r"[。！？!?；;\n]|\.(?=\s|$)")


@dataclass(frozen=True)
class Edit:
    """One change in a text: characters [start, end) become `new`. `name` is the old name, as the user gave it."""

    start: int
    end: int
    new: str
    name: str


@dataclass(frozen=True)
class Note:
    """A name that stays, and why: protected, url, email, code, file, handle, domain, placeholder, spaced, field, key."""

    start: int
    end: int
    reason: str
    text: str


@dataclass
class Findings:
    """What was found in one text: changes in order, names left alone on purpose, and what is left to look at."""

    edits: list[Edit] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)
    left: list[Note] = field(default_factory=list)


def view_of(text: str, start: int, end: int, most: int) -> tuple[str, Sequence[int]]:
    """A stretch of the text folded, without joiners and spaces, and where each of its characters stands in `text`.

    Args:
        most: of how many characters the caller makes use.
    """
    end = min(end, len(text))
    as_it_is = text[start : min(start + most, end)]
    if _FOLDED.fullmatch(as_it_is):
        return as_it_is, range(start, start + len(as_it_is))
    chars: list[str] = []
    places: list[int] = []
    for i in range(start, end):
        char = text[i]
        if char in _SKIPPED:
            continue
        for c in fold(char):
            chars.append(c)
            places.append(i)
        if len(chars) >= most:
            break
    return "".join(chars), places


def find(text: str, rules: Rules) -> Findings:
    """All changes to one text.

    Returns:
        Edits that do not overlap, in order; notes on what stays.
    """
    found = Findings()
    spans = _name_spans(text, rules, found)
    slots = list(SLOT.finditer(text)) if ("{{" in text or "<" in text or "[" in text) else []
    if not spans and not slots:
        return found
    zones = find_zones(text)
    for slot in slots:
        word = next(group for group in slot.groups() if group)
        target = rules.slots.get(SLOTS.get(word.lower(), word.lower()))
        zone = zone_at(zones, slot.start(), slot.end())
        if zone == "code":
            found.skipped.append(Note(slot.start(), slot.end(), zone, slot.group()))
        elif target is None:
            found.left.append(Note(slot.start(), slot.end(), "placeholder", slot.group()))
        else:
            spans.append((slot.start(), slot.end(), Name(slot.group(), target, "slot", (), frozenset())))
    spans.sort(key=lambda span: span[0])
    changes = []
    for start, end, name in spans:
        shown = text[start:end]
        if name.target is None:
            if not name.quiet:
                found.skipped.append(Note(start, end, "protected", shown))
            continue
        zone = zone_at(zones, start, end)
        if zone:
            found.skipped.append(Note(start, end, zone, shown))
        else:
            changes.append((start, end, name))
    if changes:
        found.edits = _resolve(text, changes)
    found.left.sort(key=lambda note: note.start)
    return found


def _name_spans(text: str, rules: Rules, found: Findings) -> list[tuple[int, int, Name]]:
    """Spans of names and protected words, leftmost-longest, boundaries checked."""
    spans: list[tuple[int, int, Name]] = []
    done = 0
    for hit in rules.starts.finditer(text):
        begin = hit.start()
        if begin < done:
            continue
        keys = rules.by_first.get(fold(text[begin])[:1], ())
        longest = len(keys[0]) if keys else 0
        view, places = view_of(text, begin, begin + rules.reach, longest + 1)  # one more, for `_inside_one`
        for key in keys:
            if not view.startswith(key) or _inside_one(places, len(key)):
                continue
            name = rules.by_key[key]
            end = places[len(key) - 1] + 1
            while end < len(text) and not fold(text[end]):
                end += 1
            verdict = _stands(text, begin, end, places[: len(key)], name)
            if verdict == "yes":
                spans.append((begin, end, name))
                done = end
                break
            if verdict == "spaced" and name.target is not None:
                found.left.append(Note(begin, end, "spaced", text[begin:end]))
                break
    return spans


def _stands(text: str, start: int, end: int, places: Sequence[int], name: Name) -> str:
    """Whether a spelling at these places is the name: "yes", "no", or "spaced" when only a person can tell."""
    if _latin(text[places[0]]) and start and _wordy(text[start - 1]):
        return "no"
    if _latin(text[places[-1]]) and end < len(text) and _wordy(text[end]):
        return "no"
    if name.exact_case and _cased(text[start:end]) != _cased(name.text):
        return "no"
    spaced = False
    for i in range(1, len(places)):
        if places[i] == places[i - 1] + 1:
            continue
        gap = [c for c in text[places[i - 1] + 1 : places[i]] if fold(c) or c in JOINERS or c in SPACES]
        if not gap:
            continue
        before, after = text[places[i - 1]], text[places[i]]
        han = is_cjk(before) or is_cjk(after)
        if not han and i not in name.humps:
            return "no"
        spaces = sum(c in SPACES for c in gap)
        if len(gap) > 1 and (han or spaces != len(gap)):
            return "no"
        if han and gap[0] in ".．":
            return "no"
        spaced = spaced or bool(spaces and han and is_cjk(before) and is_cjk(after) and not _given_apart(name, i))
    if spaced and start and end < len(text) and is_cjk(text[start - 1]) and is_cjk(text[end]):
        return "spaced"
    return "yes"


def _inside_one(places: Sequence[int], at: int) -> bool:
    """Whether this place of the view lies inside one character of the text (ﬁ is two letters in the view)."""
    return 0 < at < len(places) and places[at - 1] == places[at]


def _given_apart(name: Name, place: int) -> bool:
    """Whether the user wrote a space at this place of a Chinese name."""
    return any(c in SPACES for c in name.text) and place in name.humps


def _latin(char: str) -> bool:
    return char.isalnum() and not is_cjk(char)


def _wordy(char: str) -> bool:
    return char == "_" or (char.isalnum() and not is_cjk(char) and not char.isspace())


def _cased(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def _resolve(text: str, changes: list[tuple[int, int, Name]]) -> list[Edit]:
    """What each span becomes: the target for its sentence's language, articles and possessives put right."""
    edits: list[Edit] = []
    breaks = [0, *(match.end() for match in SENTENCE.finditer(text))]
    for start, end, name in changes:
        target = name.target
        assert target is not None
        new = target.zh if target.zh == target.en else _for_sentence(text, start, end, changes, target, breaks)
        edit = Edit(start, end, new, name.text)
        edit = possessive_edit(text, edit)
        edit = article_edit(text, edit, edits[-1].end if edits else 0)
        edits.append(edit)
    return edits


def _for_sentence(
    text: str, start: int, end: int, changes: list[tuple[int, int, Name]], target: Target, breaks: list[int]
) -> str:
    """The target in the language of the sentence, names not counted; else of the text, else of the name.

    Args:
        breaks: where sentences start. A full stop right before the name ends one too.
    """
    first = start if text[start - 1 : start] == "." else breaks[bisect_right(breaks, start) - 1]
    stop = SENTENCE.search(text, end)
    last = stop.start() if stop else len(text)
    for a, b in ((first, last), (0, len(text))):
        words = _without(text, a, b, changes)
        if any(c.isalpha() for c in words):
            return target.zh if cjk_share(words) >= 0.4 else target.en
    return target.zh if language_of_name(text[start:end]) == "zh" else target.en


def _without(text: str, start: int, end: int, changes: list[tuple[int, int, Name]]) -> str:
    pieces: list[str] = []
    at = start
    for a, b, _ in changes:
        if start <= a and b <= end:
            pieces.append(text[at:a])
            at = b
    pieces.append(text[at:end])
    return " ".join(pieces)


def apply(text: str, edits: list[Edit]) -> str:
    """The text with the edits made, everything else as it was."""
    pieces: list[str] = []
    at = 0
    for edit in edits:
        pieces += (text[at : edit.start], edit.new)
        at = edit.end
    return "".join(pieces) + text[at:]
