"""Find what to change in one text: spans first, leftmost and longest, then what each becomes.

Names are looked for in a folded view of the text (width, case, accents, invisible marks) that knows for each of its
characters where it came from; the text itself is never altered outside the spans.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from identity_kit.rename.english import article_edit, possessive_edit
from identity_kit.rename.rules import JOINERS, SLOT, SLOTS, SPACES, Name, Rules, Target, fold, is_cjk, language_of_name
from identity_kit.text import cjk_share

_HAN = "\u3400-\u9fff\uf900-\ufaff"
EXTENSIONS = (
    "pdf|docx?|xlsx?|pptx?|txt|md|jsonl?|csv|tsv|parquet|py|ipynb|js|ts|html?|css|vue|png|jpe?g|gif|svg|webp|mp[34]|wav|"
    "zip|gz|tar|rar|7z|exe|apk|dmg|ya?ml|toml|ini|cfg|sh|bat|safetensors|gguf|bin|pth?|log|xml|sql|cpp|java|rs|go"
)
TOP_DOMAINS = "com|cn|net|org|io|ai|dev|app|top|xyz|info|edu|gov|co|cc|me|tech|cloud|site|online|hk|tw|jp|uk|中国|公司"
# Where names are left alone. Chinese runs into a URL without a space, so Han belongs to it only after a delimiter.
_ZONES = re.compile(
    "|".join(
        (
            r"(?P<code>```.*?(?:```|\Z)|(?<!`)(`{1,2})(?!`).+?(?<!`)\2(?!`)|<(?:code|pre)\b.*?</(?:code|pre)>)",
            rf"(?P<url>(?:\b|(?<=[{_HAN}]))(?:https?|ftp|wss?|file|git|ssh)://"
            rf"(?:[!#-;=?-\[\]_a-z~]|(?<=[/=_&%#?.\-])[{_HAN}]+)+"
            rf"|(?<![A-Za-z0-9])www\.(?:[!#-;=?-\[\]_a-z~]|(?<=[/=_&%#?.\-])[{_HAN}]+)+)",
            r"(?P<email>[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+)",
            rf"(?P<handle>(?<![A-Za-z0-9_@])@[A-Za-z0-9_\-{_HAN}]{{1,30}}"
            r"|(?<![A-Za-z0-9_./\-])[A-Za-z0-9][\w\-]*/[A-Za-z][\w.]*[\d_\-][A-Za-z0-9_.\-]*)",
            rf"(?P<file>(?<![A-Za-z0-9_./\-])(?:[A-Za-z0-9_\-]+[\\/])*[A-Za-z0-9_\-.]*?[A-Za-z0-9_\-]\.(?:{EXTENSIONS})(?![A-Za-z0-9])"
            rf"|[{_HAN}A-Za-z0-9_\-（）()]+\.(?:{EXTENSIONS})(?![A-Za-z0-9])"
            r"|(?<![\w/.<])(?:~|\.{1,2})?/[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*|\b[A-Za-z]:\\[^\s\"<>|]+)",
            rf"(?P<domain>(?<![A-Za-z0-9_.\-@])[A-Za-z0-9][A-Za-z0-9\-]*(?:\.[A-Za-z0-9\-]+)*\.(?:{TOP_DOMAINS})(?![A-Za-z0-9])(?:/[!#-;=?-\[\]_a-z~]*)?"
            rf"|[{_HAN}]+\.(?:{TOP_DOMAINS})(?![A-Za-z0-9]))",
        )
    ),
    re.DOTALL,
)
# A file name in Chinese starts after the verb or particle before it.
_BEFORE_FILE = re.compile("[是在请看见的和与了把到有为开载存叫问]")
_SENTENCE = re.compile(r"[。！？!?；;\n]|\.(?=\s|$)")


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


def view_of(text: str) -> tuple[str, list[int]]:
    """The folded text without joiners and spaces, and for each of its characters where it stands in `text`."""
    if text.isascii():
        kept = [i for i, c in enumerate(text) if c not in "-_. "]
        folded = text.lower()
        return "".join([folded[i] for i in kept]), kept
    chars: list[str] = []
    places: list[int] = []
    for i, char in enumerate(text):
        if char in JOINERS or char in SPACES:
            continue
        for c in fold(char):
            chars.append(c)
            places.append(i)
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
    zones = _zones(text)
    for slot in slots:
        word = next(group for group in slot.groups() if group)
        target = rules.slots.get(SLOTS.get(word.lower(), word.lower()))
        zone = _zone_at(zones, slot.start(), slot.end())
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
        zone = _zone_at(zones, start, end)
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
    view, places = view_of(text)
    spans: list[tuple[int, int, Name]] = []
    at = 0
    while True:
        first = rules.pattern.search(view, at)
        if first is None:
            return spans
        at = first.start()
        step = 1
        for key in rules.by_first[view[at]]:
            if not view.startswith(key, at):
                continue
            name = rules.by_key[key]
            if _inside_one(places, at) or _inside_one(places, at + len(key)):
                continue
            start, end = places[at], places[at + len(key) - 1] + 1
            while end < len(text) and not fold(text[end]):
                end += 1
            verdict = _stands(text, start, end, places[at : at + len(key)], name)
            if verdict == "yes":
                spans.append((start, end, name))
                step = len(key)
                break
            if verdict == "spaced" and name.target is not None:
                found.left.append(Note(start, end, "spaced", text[start:end]))
                break
        at += step


def _stands(text: str, start: int, end: int, places: list[int], name: Name) -> str:
    """Whether a spelling at these places is the name: "yes", "no", or "spaced" when only a person can tell."""
    if _latin(text[places[0]]) and start and _wordy(text[start - 1]):
        return "no"
    if _latin(text[places[-1]]) and end < len(text) and _wordy(text[end]):
        return "no"
    if name.exact_case and _cased(text[start:end]) != _cased(name.text):
        return "no"
    spaced = False
    for i in range(1, len(places)):
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


def _inside_one(places: list[int], at: int) -> bool:
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


def _zones(text: str) -> list[tuple[int, int, str]]:
    """Stretches in which names are left alone, each with its kind."""
    zones = []
    for match in _ZONES.finditer(text):
        kind = match.lastgroup or "code"
        kind = next((name for name, value in match.groupdict().items() if value is not None), kind)
        start, end = match.span()
        run = match.group()
        if kind in ("file", "domain") and any(is_cjk(c) for c in run):
            cuts = [m.end() for m in _BEFORE_FILE.finditer(run)]
            start += max((cut for cut in cuts if cut < run.rindex(".")), default=0)
            if kind == "domain":
                start = max(start, match.end() - run[::-1].index(".") - 1 - 8)
        zones.append((start, end, kind))
    return zones


def _zone_at(zones: list[tuple[int, int, str]], start: int, end: int) -> str:
    return next((kind for a, b, kind in zones if a < end and start < b), "")


def _resolve(text: str, changes: list[tuple[int, int, Name]]) -> list[Edit]:
    """What each span becomes: the target for its sentence's language, articles and possessives put right."""
    edits: list[Edit] = []
    for start, end, name in changes:
        target = name.target
        assert target is not None
        new = target.zh if target.zh == target.en else _for_sentence(text, start, end, changes, target, name)
        edit = Edit(start, end, new, name.text)
        edit = possessive_edit(text, edit)
        edit = article_edit(text, edit, edits[-1].end if edits else 0)
        edits.append(edit)
    return edits


def _for_sentence(
    text: str, start: int, end: int, changes: list[tuple[int, int, Name]], target: Target, name: Name
) -> str:
    """The target in the language of the sentence, names not counted; else of the text, else of the name."""
    first = max((m.end() for m in _SENTENCE.finditer(text, 0, start)), default=0)
    stop = _SENTENCE.search(text, end)
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
