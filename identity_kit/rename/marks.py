"""A block of bytes with a mark at each place where a name may stand.

A mark is `EDGE`, a word, and `EDGE` again. The word tells what is there:

    3    the key of that number, spelled as it was given; the mark stands in its place
    3~   the same, with no Chinese character beside it to show the language of its sentence
    !    what follows is for the exact path to read; nothing was taken out

`EDGE` is a byte that JSON allows in a string and that no text uses, so the marked block is JSON where the block was.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise

from identity_kit.rename.rules import Name, Rules, is_cjk, spellings
from identity_kit.rename.scan import GAP_CHAR, any_of, loose_pattern

EDGE = b"\x7f"
LOOK = b"\x7f!\x7f"
_MARK = re.compile(rb"\x7f(?:(\d+)~?|!)\x7f")
# After one of these a name ends where its last letter ends: no invisible mark goes with it, and no possessive.
_CLEAN = re.compile(
    rb"[\x00-\x26\x28-\x7e]|[\xe4-\xe9]|\xe3\x80[\x80-\xa9\xb0-\xbf]|\xef[\xbc\xbd]|"
    rb"\xe2\x80[\x90-\x98\x9a-\xa9\xb0-\xbf]"
)
# U+4E00 to U+9FFF: Chinese characters and nothing else.
_HAN = re.compile(rb"[\xe5-\xe9]|\xe4[\xb8-\xbf]")
_HAN_END = re.compile(rb"(?:[\xe5-\xe9][\x80-\xbf]|\xe4[\xb8-\xbf])[\x80-\xbf]\Z")
_MOST = 50_000


class Marker:
    """Marks blocks, and puts back or renames what is marked.

    Only keys that begin and end in Chinese characters get numbers: such a name needs no word boundaries, and in its
    spelling as given there is nothing between its letters. Anything else that may be a name is marked to be looked at.
    """

    def __init__(self, rules: Rules) -> None:
        renamed = {key: name for key, name in rules.by_key.items() if name.target is not None}
        self.names = [(key, name) for key, name in renamed.items() if _numbered(key, name)]
        self.keys = [key.encode() for key, _ in self.names]
        news = [name.target.zh.encode() for _, name in self.names if name.target]
        self._news = {b"%d%s" % (i, sure): new for i, new in enumerate(news) for sure in (b"", b"~")} | {b"": b""}
        self._numbers = {key: i for i, key in enumerate(self.keys)}
        self._loose = loose_pattern(renamed)
        self._plain = re.compile(b"|".join(map(re.escape, sorted(self.keys, key=len, reverse=True))) or rb"(?!)")
        self._follows, self._leads = _beside(rules, self.keys)
        self._per_language = rules.per_language
        firsts = {char.encode() for key in renamed for char in spellings(key[0])}
        first = firsts.pop() if len(firsts) == 1 else b""
        rests = [key.encode()[len(first) :] for key in renamed]
        self._first = first if not any(first in rest for rest in rests) else b""
        self._longest = max(map(len, rests), default=0)
        seconds = [any_of(spellings(key[1])) for key in renamed if len(key) > 1]
        self._may_go_on = re.compile(b"|".join([GAP_CHAR, *seconds]), re.DOTALL)
        self._known: dict[tuple[bytes, bytes], tuple[bytes, int]] = {}

    def mark(self, block: bytes) -> bytes:
        """The block with its marks. It must not hold `EDGE`."""
        return self._by_first(block) if self._first else self._by_pattern(block)

    def unmark(self, text: bytes) -> bytes:
        """Marked text as it was."""
        return _MARK.sub(lambda mark: self.keys[int(mark[1])] if mark[1] else b"", text)

    def rename(self, pieces: list[bytes]) -> bytes:
        """Marked text, cut at each `EDGE`, with the new names. Its marks are numbers, or empty."""
        pieces[1::2] = map(self._news.__getitem__, pieces[1::2])
        return b"".join(pieces)

    def _by_first(self, block: bytes) -> bytes:
        """As `mark`, where all names begin with one character.

        Cutting the block at that character is one pass at the speed of `memchr`; what a cut means is told by the few
        bytes on its two sides, which come again and again, so it is looked up.
        """
        parts = block.split(self._first)
        reach = self._longest + 4
        sides = [(before[-reach:], after[:reach]) for before, after in pairwise(parts)]
        marks = [self._known.get(side) or self._read_sides(*side) for side in sides]
        pieces = [parts[0]]
        for (mark, taken), part in zip(marks, islice(parts, 1, None), strict=True):
            pieces += (mark, part[taken:])
        return b"".join(pieces)

    def _read_sides(self, before: bytes, after: bytes) -> tuple[bytes, int]:
        """The mark for a cut between these bytes, and how many of those after it belong to the name.

        Bytes fewer than asked for mean that the next cut is as near, so the first character stands there; before it
        the name of that cut may reach as far as this one, and then a Chinese character there may be the name's own.
        """
        text = self._first + after + (self._first if len(after) < self._longest + 4 else b"")
        found = self._plain.match(text)
        if found:
            free = before if len(before) == self._longest + 4 else b""
            rest = found.end() - len(self._first)
            answer = self._mark(found, self._first + before, free, after[rest:] or self._first, after[rest:])
            if answer.startswith(LOOK):
                answer, rest = LOOK + self._first, 0
        else:
            may = self._may_go_on.match(text, len(self._first))
            answer, rest = (LOOK if may else b"") + self._first, 0
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[before, after] = answer, rest
        return answer, rest

    def _by_pattern(self, block: bytes) -> bytes:
        """As `mark`, for names of any kind."""
        pieces: list[bytes] = []
        done = 0
        for hit in self._loose.finditer(block):
            at = hit.start()
            if at < done:
                continue
            found = self._plain.match(block, at)
            mark = LOOK
            before, done = done, at
            if found:
                end = found.end()
                free = b"" if self._loose.match(block, end) else block[end : end + 4]
                mark = self._mark(found, block[max(at - 4, 0) : at], block[before:at][-4:], block[end : end + 4], free)
                done = at if mark == LOOK else end
            pieces += (block[before:at], mark)
        return b"".join(pieces) + block[done:] if pieces else block

    def _mark(
        self, found: re.Match[bytes], before: bytes, free_before: bytes, after: bytes, free_after: bytes
    ) -> bytes:
        """The mark for a name spelled as given.

        Args:
            before: the bytes before it, at least its last character; `after` those after it.
            free_before: the same, or less, without such as may be part of another name.
        """
        if not _CLEAN.match(after) or self._follows.match(after) or self._leads.search(before):
            return LOOK
        sure = not self._per_language or _HAN.match(free_after) or _HAN_END.search(free_before)
        return b"\x7f%d%s\x7f" % (self._numbers[found.group()], b"" if sure else b"~")


def _numbered(key: str, name: Name) -> bool:
    """Whether a key, met in a text as it is, is always the name, and its new name can stand in JSON as it is."""
    if name.target is None or not (is_cjk(key[0]) and is_cjk(key[-1]) and key.isalnum()):
        return False
    new = name.target.zh
    return new.isprintable() and not set('"\\') & set(new) and (not name.exact_case or key == name.text)


def _beside(rules: Rules, keys: list[bytes]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """What may make a numbered key part of a longer word, or of one that begins before it: right after, right before.

    A gap may come between a word's letters, so where there are such words, a gap character hits too.
    """
    after, before = set[str](), set[str]()
    for key in (key.decode() for key in keys):
        for word in rules.by_key:
            for at in range(len(word)):
                rest = word[at:]
                if (word == key and at == 0) or not (rest.startswith(key) or key.startswith(rest)):
                    continue
                before.update(spellings(word[at - 1]) if at else ())
                after.update(spellings(rest[len(key)]) if len(rest) > len(key) else ())
    return (
        re.compile(any_of(tuple(sorted(after))) + b"|" + GAP_CHAR if after else rb"(?!)", re.DOTALL),
        re.compile(
            b"(?:" + any_of(tuple(sorted(before))) + b"|" + GAP_CHAR + rb")\Z" if before else rb"(?!)", re.DOTALL
        ),
    )
