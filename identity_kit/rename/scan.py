"""Which lines of a file may hold a name at all, told from their bytes before anything is parsed.

The pattern finds every spelling that `match.find` accepts, and more; a line without a hit is copied as it is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from identity_kit.rename.rules import JOINERS, SPACES, Rules, fold, is_cjk

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
    found: defaultdict[str, list[str]] = defaultdict(list)
    for first, last in _HAN_RANGES if han else _LATIN_RANGES:
        for code in range(first, last + 1):
            folded = fold(chr(code))
            if folded:
                found[folded[0]].append(chr(code))
    return {key: tuple(chars) for key, chars in found.items()}


def spellings(folded: str) -> tuple[str, ...]:
    """The characters that a folded character may stand for."""
    return tuple(dict.fromkeys((folded, *_folds_to(is_cjk(folded)).get(folded, ()))))


def any_of(chars: tuple[str, ...]) -> bytes:
    """A bytes pattern for any of some characters in UTF-8."""
    single = b"".join(re.escape(c.encode()) for c in chars if c.isascii())
    rest = [re.escape(c.encode()) for c in chars if not c.isascii()]
    options = ([b"[" + single + b"]"] if single else []) + rest
    return options[0] if len(options) == 1 else b"(?:" + b"|".join(options) + b")"


# What may stand between two letters of a name: a joiner, a space, or bytes of invisible and combining marks.
INVISIBLE = (
    rb"\xc2\xad|[\xcc-\xcd].|\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xaf]|\x83.)|\xe1(?:\xaa|\xab|\xb7).|\xd8\x9c|"
    rb"\xe3\x82[\x99\x9a]|\xe1\xa0[\x8b-\x8f]|\xef(?:\xb8[\x80-\xaf]|\xbb\xbf)|\xf3\xa0.."
)  # fmt: skip
GAP = (
    b"(?:[" + re.escape("".join(c for c in JOINERS + SPACES if c.isascii()).encode()) + b"]|"
    + b"|".join(re.escape(c.encode()) for c in JOINERS + SPACES if not c.isascii())
    + b"|" + INVISIBLE + b"){0,6}"
)  # fmt: skip

# Slots of templates, and the escapes behind which anything may hide.
SUSPECTS = rb"\\u|\{\{|<(?:NAME|AUTHOR|OWNER|name|author|owner)>|\[(?:NAME|OWNER|" + "公司名".encode() + rb")\]"


def line_pattern(rules: Rules) -> re.Pattern[bytes]:
    """A pattern that hits in every line that may need a change or a note."""
    starts: dict[bytes, None] = {}
    for key in rules.by_key:
        if rules.by_key[key].target is None:
            continue
        first = any_of(spellings(key[0]))
        if len(key) == 1:
            starts[first] = None
            continue
        wide = tuple(c for c in spellings(key[0]) if len(fold(c)) > 1)
        starts[first + GAP + any_of(spellings(key[1]))] = None
        if wide:
            starts[any_of(wide)] = None
    return re.compile(b"|".join([*starts, SUSPECTS]), re.DOTALL)
