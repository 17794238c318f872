"""Which lines of a file may hold a name at all, told from their bytes before anything is parsed.

The pattern finds every spelling that `match.find` accepts, and more; a line without a hit is copied as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from identity_kit.rename.rules import JOINERS, SPACES, fold, spellings


def any_of(chars: tuple[str, ...]) -> bytes:
    """A bytes pattern for any of some characters in UTF-8."""
    single = b"".join(re.escape(c.encode()) for c in chars if c.isascii())
    rest = [re.escape(c.encode()) for c in chars if not c.isascii()]
    options = ([b"[" + single + b"]"] if single else []) + rest
    return options[0] if len(options) == 1 else b"(?:" + b"|".join(options) + b")"


# Bytes of characters that folding drops: invisible and combining marks, and a few others that share their first bytes.
INVISIBLE = (
    rb"\xc2\xad|[\xcc-\xdf].|[\xe0\xe1\xea]..|\xe2(?:\x80[\x8b-\x8f\xaa-\xae]|\x81[\xa0-\xaf]|\x83.|[\xb3\xb5\xb7].)|"
    rb"\xe3(?:\x80[\xaa-\xaf]|\x82[\x99\x9a])|\xef(?:\xac\x9e|\xbe[\x9e\x9f]|[\xb8\xb9\xbb\xbf].)|[\xf0\xf3]..."
)
# What may stand between two letters of a name: a joiner, a space, or such a mark.
GAP_CHAR = (
    b"(?:[" + re.escape("".join(c for c in JOINERS + SPACES if c.isascii()).encode()) + b"]|"
    + b"|".join(re.escape(c.encode()) for c in JOINERS + SPACES if not c.isascii())
    + b"|" + INVISIBLE + b")"
)  # fmt: skip
GAP = GAP_CHAR + b"{0,6}"

# Slots of templates, and the escapes behind which anything may hide.
SUSPECTS = rb"\\u|\{\{|<(?:NAME|AUTHOR|OWNER|name|author|owner)>|\[(?:NAME|AUTHOR)\](?!\()"


def line_pattern(keys: Iterable[str]) -> re.Pattern[bytes]:
    """A pattern that hits in every line that may need a change or a note."""
    return re.compile(b"|".join([*_starts(keys), SUSPECTS]), re.DOTALL)


def _starts(keys: Iterable[str]) -> list[bytes]:
    starts: dict[bytes, None] = {}
    for key in keys:
        first = any_of(spellings(key[0]))
        if len(key) == 1:
            starts[first] = None
            continue
        wide = tuple(c for c in spellings(key[0]) if len(fold(c)) > 1)
        starts[first + GAP + any_of(spellings(key[1]))] = None
        if wide:
            starts[any_of(wide)] = None
    return list(starts)
