"""Rename plain lines in compiled code (`_scan.c`), and hand every other line to the exact path.

`_scan` is built where there is a C compiler when the package is installed; without it every line with a name takes the
exact path, with the same result. A test holds text and reports against those of the exact path.

What `_scan` does holds for lines of JSON in UTF-8, so each block is parsed first, at once and without making objects
of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from identity_kit.rename.cells import left_alone
from identity_kit.rename.report import SHOWN
from identity_kit.rename.rewrite import Rewriter
from identity_kit.rename.rules import Name, Rules, fold, is_cjk, spellings

COMPILED = True
try:
    from identity_kit.rename._scan import Scanner
except ImportError:  # no compiler when it was installed
    COMPILED = False

# An array of which only the length is asked.
_parse_all: Callable[[bytes], Any]
try:
    from simdjson import Parser

    _parse_all = Parser().parse
except ImportError:  # no wheel for this Python; the same answers, a fifth as fast
    _parse_all = orjson.loads

_FIELD = re.compile(rb"[\w\-]+")


class FastRewriter(Rewriter):
    """A `Rewriter` for JSONL in UTF-8 with a way around the exact path for plain lines."""

    def __init__(self, rules: Rules, path: str, *, rows: bool) -> None:
        super().__init__(rules, path, rows=rows)
        self.keys = _plain_keys(rules)
        self.scanner = _scanner(rules, self.keys) if COMPILED else None

    def __reduce__(self) -> Any:
        return _again, (self.rules, self.path, self.rows)

    def block(self, block: bytes) -> bytes:
        """As `Rewriter.block`. Until there are examples enough to show, each changed line takes the exact path."""
        if self.scanner is None or (values := _values(block)) < 0:
            return super().block(block)
        found = self.scanner.scan(block, SHOWN - len(self.report.diffs))
        if found is None or found[2] != values:
            return super().block(block)
        pieces, numbers, lines, changed, counts = found
        for i, number in enumerate(numbers):
            raw = pieces[2 * i + 1]
            new = self.line(raw, self.report.lines + number + 1)
            pieces[2 * i + 1] = raw if new is None else new
        self.report.lines += lines
        self.report.changed_lines += changed
        for (key, field), times in counts.items():
            self.report.changed[self.keys[key][1].text][field.decode()] += times
        return b"".join(pieces)


def _again(rules: Rules, path: str, rows: bool) -> FastRewriter:
    """A rewriter in another process."""
    return FastRewriter(rules, path, rows=rows)


def _plain_keys(rules: Rules) -> list[tuple[str, Name]]:
    """The keys that, met in a text as they are, are always the name, and whose new name can stand in JSON as it is.

    They begin and end in Chinese characters: such a name needs no word boundaries, and in its spelling as given there is
    nothing between its letters. Longest first.
    """

    def plain(key: str, name: Name) -> bool:
        if name.target is None or not (is_cjk(key[0]) and is_cjk(key[-1]) and key.isalnum()):
            return False
        new = name.target.zh
        return new.isprintable() and not set('"\\') & set(new) and (not name.exact_case or key == name.text)

    return sorted((item for item in rules.by_key.items() if plain(*item)), key=lambda item: -len(item[0].encode()))


def _scanner(rules: Rules, keys: list[tuple[str, Name]]) -> Scanner:
    renamed = [key for key, name in rules.by_key.items() if name.target is not None]
    texts = [text for _, name in keys if name.target for text in (name.target.zh, name.target.en)]
    follows, leads = _beside(rules, [key for key, _ in keys])
    return Scanner(
        keys=[key.encode() for key, _ in keys],
        news=[name.target.zh.encode() for _, name in keys if name.target],
        starts=_starts(renamed),
        follows=follows,
        leads=leads,
        per_language=rules.per_language,
        articles=any(not text or not is_cjk(text[0]) for text in texts),
        allows=lambda field: bool(_FIELD.fullmatch(field)) and not left_alone(field.decode()),
    )


def _starts(renamed: list[str]) -> list[tuple[bytes, list[bytes], bool]]:
    """Each spelling of a first character, those of the second ones, and whether the first is enough to look closer."""
    seconds: dict[str, set[str]] = {}
    for key in renamed:
        seconds.setdefault(key[0], set()).update(spellings(key[1]) if len(key) > 1 else ())
    found = []
    for first, after in seconds.items():
        for spelling in spellings(first):
            alone = first in renamed or len(fold(spelling)) > 1
            found.append((spelling.encode(), sorted(char.encode() for char in after), alone))
    return found


def _beside(rules: Rules, keys: list[str]) -> tuple[list[bytes], list[bytes]]:
    """What may make a key part of a longer word, or of one that begins before it: right after, right before."""
    after, before = set[str](), set[str]()
    for key in keys:
        for word in rules.by_key:
            for at in range(len(word)):
                rest = word[at:]
                if (word == key and at == 0) or not (rest.startswith(key) or key.startswith(rest)):
                    continue
                before.update(spellings(word[at - 1]) if at else ())
                after.update(spellings(rest[len(key)]) if len(rest) > len(key) else ())
    return sorted(char.encode() for char in after), sorted(char.encode() for char in before)


def _values(block: bytes) -> int:
    """How many JSON values stand in a block of lines, with a comma between them; -1 when it is not such, or not UTF-8."""
    end = b"0]" if block.endswith(b"\n") else b",0]"
    try:
        return len(_parse_all(b"[%b%b" % (block.replace(b"\n", b","), end))) - 1
    except (ValueError, RuntimeError):  # simdjson's word for numbers that other parsers take
        return -1
