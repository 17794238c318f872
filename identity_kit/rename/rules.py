"""What is to be renamed: old names, their written variants, new names per language, and words that must stay."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from identity_kit.errors import BadInput
from identity_kit.resources import protected_words
from identity_kit.text import cjk_share
from identity_kit.ui import tr

# Between the letters of a name these may stand: at most one of them, or one space.
JOINERS = "-‐‑‒–—_·•・‧∙⋅.＿－．"
SPACES = " \u00a0\u2002\u2003\u2009\u202f\u3000"
# Which slot of a template asks for which part of an identity; "AUTHOER" is in a data set that many people start from.
SLOTS = {
    "name": "name",
    "model_name": "name",
    "assistant": "name",
    "author": "developer",
    "authoer": "developer",
    "developer": "developer",
    "model_author": "developer",
    "owner": "owner",
    "company": "owner",
}
# `[NAME](` is a link of Markdown, not a slot.
SLOT = re.compile(r"\{\{\s*(\w{1,24})\s*\}\}|<(NAME|AUTHOR|OWNER|name|author|owner)>|\[(NAME|AUTHOR)\](?!\()")


@dataclass(frozen=True)
class Target:
    """What a name becomes, in Chinese and in English sentences."""

    zh: str
    en: str


@dataclass(frozen=True)
class Name:
    """An old name, or with `target` None a word that stays.

    `keys` are its folded spellings; `humps` are the places in each spelling where a Latin name may be parted.
    """

    text: str
    target: Target | None
    kind: str
    keys: tuple[str, ...]
    humps: frozenset[int]
    exact_case: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Rules:
    """Everything the matcher needs, ready to use.

    `by_key` maps a folded spelling to its name, `by_first` a first character to the spellings that start with it, longest
    first; `starts` finds where in a text one may start, and `reach` is how far it may go from there.
    """

    names: tuple[Name, ...]
    slots: dict[str, Target]
    by_key: dict[str, Name]
    by_first: dict[str, tuple[str, ...]]
    starts: re.Pattern[str]
    reach: int
    per_language: bool


@lru_cache(maxsize=65536)
def fold(char: str) -> str:
    """One character as the matcher sees it: width, case, accents, ligatures and invisible marks taken off."""
    if char in JOINERS:
        return char
    decomposed = unicodedata.normalize("NFKD", char)
    kept = [c for c in decomposed if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    return unicodedata.normalize("NFKC", "".join(kept)).casefold()


def fold_name(text: str) -> str:
    """A name as the matcher sees it: folded, joiners and spaces out."""
    return "".join(fold(c) for c in text if c not in JOINERS and c not in SPACES)


def humps(text: str) -> frozenset[int]:
    """Where a name may be parted, as positions in its folded form: at joiners, spaces, case humps and script changes.

    >>> sorted(humps("OpenAI")), sorted(humps("Wen Xin"))
    ([4], [3])
    """
    places, folded, previous = set(), 0, ""
    parted = False
    for char in text:
        if char in JOINERS or char in SPACES:
            parted = True
            continue
        if previous and (parted or (previous.islower() and char.isupper()) or is_cjk(previous) or is_cjk(char)):
            places.add(folded)
        folded += len(fold(char))
        previous, parted = char, False
    return frozenset(places)


def is_cjk(char: str) -> bool:
    """Whether a character is written without spaces around it: Han, kana."""
    return bool(char) and ("\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\u3040" <= char <= "\u30ff")


@cache
def _variant_table(name: str) -> dict[str, list[str]]:
    """One of OpenCC's character tables: a character and the characters it may become."""
    text = resources.files("opencc").joinpath("dictionary", name).read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in text.splitlines() if "\t" in line)
    return {pair[0]: pair[1].split() for pair in pairs if len(pair) == 2}


def script_variants(name: str) -> tuple[str, ...]:
    """The name and its simplified and traditional spellings (mainland, Taiwan, Hong Kong), by OpenCC's tables.

    A name of many characters that each have several spellings yields the 64 likeliest.
    """
    if not any(is_cjk(c) for c in name):
        return (name,)
    choices: list[list[str]] = []
    for char in name:
        options = [char]
        for table in ("TSCharacters.txt", "STCharacters.txt", "TWVariants.txt", "HKVariants.txt"):
            for option in list(options):
                options += [other for other in _variant_table(table).get(option, ()) if other not in options]
        choices.append(options)
    spellings = [""]
    for options in choices:
        spellings = [spelling + option for spelling in spellings for option in options][:64]
    return tuple(dict.fromkeys([name, *spellings]))


def make_name(
    text: str, target: Target | None, kind: str = "name", *, exact_case: bool = False, quiet: bool = False
) -> Name:
    """An old name with its spellings.

    Raises:
        BadInput: it is empty once punctuation is taken off.
    """
    keys = tuple(dict.fromkeys(key for key in map(fold_name, script_variants(text)) if key))
    if not keys or not any(c.isalnum() for c in keys[0]):
        raise BadInput(tr(f"名称 “{text}” 是空的", f'the name "{text}" is empty'), where="--from")
    return Name(text, target, kind, keys, humps(text), exact_case, quiet)


def make_rules(
    pairs: Sequence[tuple[str, str, str | None]],
    *,
    slots: dict[str, Target] | None = None,
    protect: Iterable[str] = (),
    match_case: bool = False,
    kinds: Sequence[str] = (),
) -> Rules:
    """Rules from pairs (old, new, new in English sentences or None).

    A new name that contains an old one is protected, so that it does not grow when the result is renamed again. An old
    name written as a slot, `{{author}}`, fills that slot.

    Args:
        slots: what fills `name`, `owner` and `developer` slots.
        protect: words that stay although they contain an old name.
        match_case: Latin names only in the case in which they were given.
        kinds: what each pair names, for the report; "name" where missing.

    Raises:
        BadInput: an empty name, or two new names for one old one.
    """
    filled = dict(slots or {})
    names: list[Name] = []
    for i, (old, new, english) in enumerate(pairs):
        if not new:
            raise BadInput(tr(f"“{old}” 没有新名称", f'"{old}" has no new name'), where="--to")
        target = Target(new, english or new)
        slot = SLOT.fullmatch(old.strip())
        if slot:
            word = next(group for group in slot.groups() if group).lower()
            filled[SLOTS.get(word, word)] = target
            continue
        names.append(make_name(old, target, kinds[i] if i < len(kinds) else "name", exact_case=match_case))
    if not names and not filled:
        raise BadInput(
            tr("没有要改的名称", "no name to change"), fix=tr("加上 --from 旧名 --to 新名", "give --from OLD --to NEW")
        )
    by_key: dict[str, Name] = {}
    for name in names:
        for key in name.keys:
            other = by_key.get(key)
            if other and other.target != name.target and key == name.keys[0] and key == other.keys[0]:
                raise BadInput(
                    tr(f"“{name.text}” 有两个不同的新名称", f'"{name.text}" is to become two different names'),
                    where="--to",
                )
            if other is None or key == name.keys[0]:
                by_key[key] = name
    _add_kept(by_key, names, [*protect, *protected_words()])
    by_first: dict[str, list[str]] = {}
    for key in sorted(by_key, key=len, reverse=True):
        by_first.setdefault(key[0], []).append(key)
    return Rules(
        names=tuple(dict.fromkeys(by_key.values())),
        slots=filled,
        by_key=by_key,
        by_first={first: tuple(keys) for first, keys in by_first.items()},
        starts=start_pattern(by_key),
        reach=8 * max(map(len, by_key), default=1),
        per_language=any(name.target.zh != name.target.en for name in names if name.target),
    )


def _add_kept(by_key: dict[str, Name], names: list[Name], protect: Iterable[str]) -> None:
    """Protected words and new names that contain an old name; an old name itself is never protected."""
    old_keys = [key for name in names for key in name.keys]
    new = [text for name in names if name.target for text in (name.target.zh, name.target.en)]
    for text, quiet in [*((word, False) for word in protect), *((text, True) for text in new)]:
        key = fold_name(text)
        if key and key not in by_key and any(old in key for old in old_keys):
            for spelling in make_name(text, None, "kept").keys:
                by_key.setdefault(spelling, make_name(text, None, "new" if quiet else "protected", quiet=quiet))


def slots_for(name: Target | None, owner: Target | None, developer: Target | None) -> dict[str, Target]:
    """The fillings of template slots; the developer is the owner where not given."""
    found = {"name": name, "owner": owner, "developer": developer or owner}
    return {slot: target for slot, target in found.items() if target is not None}


# Where characters live that fold to others: accents, ligatures, width and letter-like forms, compatibility Han.
_LATIN_RANGES = (
    (0x20, 0x24F), (0x2B0, 0x2FF), (0x1D00, 0x1DBF), (0x1E00, 0x1EFF), (0x2070, 0x218F), (0x2460, 0x24FF),
    (0x2C60, 0x2C7F), (0x3200, 0x33FF), (0xA720, 0xA7FF), (0xFB00, 0xFB06), (0xFE50, 0xFFEF), (0x1D400, 0x1D7FF),
    (0x1F100, 0x1F1FF),
)  # fmt: skip
_HAN_RANGES = ((0x2E80, 0x2FDF), (0x3190, 0x33FF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))


@cache
def _folds_to(han: bool) -> dict[str, tuple[str, ...]]:
    """For each folded character, the characters whose fold starts with it."""
    found: dict[str, list[str]] = {}
    for first, last in _HAN_RANGES if han else _LATIN_RANGES:
        for code in range(first, last + 1):
            folded = fold(chr(code))
            if folded:
                found.setdefault(folded[0], []).append(chr(code))
    return {key: tuple(chars) for key, chars in found.items()}


def spellings(folded: str) -> tuple[str, ...]:
    """The characters that a folded character may stand for."""
    return tuple(dict.fromkeys((folded, *_folds_to(is_cjk(folded)).get(folded, ()))))


def start_pattern(keys: Iterable[str]) -> re.Pattern[str]:
    """A pattern for the first character of any spelling that has the second one near enough after it."""
    seconds: dict[str, set[str]] = {}
    for key in keys:
        seconds.setdefault(key[0], set()).update(spellings(key[1]) if len(key) > 1 else "")
    options = []
    for first, after in seconds.items():
        chars = "".join(map(re.escape, spellings(first)))
        wide = "".join(re.escape(c) for c in spellings(first) if len(fold(c)) > 1)
        alone = any(key == first for key in keys)
        gap = (
            rf"[^\w\n]{{0,6}}[\u0300-\u036f]{{0,6}}[^\n]{{0,6}}?[{''.join(map(re.escape, sorted(after)))}]"
            if after
            else ""
        )
        options.append(f"[{chars}]" if alone else f"[{chars}](?={gap})" + (f"|[{wide}]" if wide else ""))
    return re.compile("|".join(options) or r"(?!)")


def language_of_name(text: str) -> str:
    """The script a name is written in."""
    return "zh" if cjk_share(text) > 0 else "en"
