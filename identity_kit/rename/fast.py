"""Rename plain lines on their bytes, several hundred megabytes a second, and hand every other line to the exact path.

A line is plain when each name in it stands as it was given, in a value whose text cannot be a URL, code, a file name or
JSON, with nothing beside it that would have to change too. What is decided here is what `cells` and `match` decide;
a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections import Counter

from identity_kit.rename.cells import left_alone
from identity_kit.rename.match import EXTENSIONS, TOP_DOMAINS
from identity_kit.rename.rewrite import Rewriter
from identity_kit.rename.rules import Name, Rules, is_cjk
from identity_kit.rename.scan import GAP, INVISIBLE, any_of, line_pattern, spellings
from identity_kit.text import cjk_share

# A dot in a line is harmless unless a file ending, a domain or www stands by it.
_DOTTED = re.compile(
    rb"\.(?:" + EXTENSIONS.encode() + b"|" + TOP_DOMAINS.encode() + rb")(?![A-Za-z0-9])|www\.", re.IGNORECASE
)
# Beside a Latin name only these bytes are safe: space, quotes, simple punctuation, and anything that is not ASCII.
_SAFE = frozenset(b' ,!?;:()"\n') | frozenset(range(0x80, 0x100))
_ENDS = tuple(mark.encode() for mark in ("。", "！", "？", "；", "!", "?", ";", "\\n"))
_END = re.compile('。|！|？|；|[!?;"]|\\\\n|\\.(?=[ "]|\\\\n)'.encode())
_LETTER = re.compile(rb"[A-Za-z]")
_ESCAPED = re.compile(rb"\\.")
_PAIRS = (b"\\u", b"{{")
_SLOT_ENDS = (b"NAME]", b"OWNER]", "公司名]".encode())
_TAGS = re.compile(rb"<(?:NAME|AUTHOR|OWNER|name|author|owner)>")


class FastRewriter(Rewriter):
    """A `Rewriter` for JSONL in UTF-8 with a way around the exact path for plain lines."""

    def __init__(self, rules: Rules, path: str, *, rows: bool, large: bool = False) -> None:
        super().__init__(rules, path, rows=rows)
        self.plain = [name for name in rules.names if name.target is not None]
        self.han: dict[bytes, tuple[tuple[bytes, Name], ...]] = {}
        self.loose: dict[bytes, re.Pattern[bytes]] = {}
        self.latin: re.Pattern[bytes] | None = None
        self.latin_names: dict[bytes, Name] = {}
        self.fields: dict[bytes, str | None] = {}
        self.tallies: Counter[tuple[str, str]] = Counter()
        self.pair_numbers: tuple[int, ...] = ()
        if large:
            self.pair_numbers = tuple(int.from_bytes(pair, "little") for pair in _PAIRS)
        self.beside = {name.text: self._beside(name) for name in self.plain}
        self._group()

    def _beside(self, name: Name) -> tuple[re.Pattern[bytes] | None, re.Pattern[bytes]]:
        """What before and after a plain name makes it part of a word that stays, or leaves marks to take along."""
        before, after = set(), set()
        for kept, other in self.rules.by_key.items():
            for key in name.keys if other is not name else ():
                at = kept.find(key)
                while at >= 0:
                    before.update(spellings(kept[at - 1]) if at else ())
                    after.update(spellings(kept[at + len(key)]) if at + len(key) < len(kept) else ())
                    at = kept.find(key, at + 1)
        lead = re.compile(any_of(tuple(sorted(before))) + GAP + rb"\Z", re.DOTALL) if before else None
        follow = (GAP + any_of(tuple(sorted(after))) + b"|") if after else b""
        return lead, re.compile(follow + INVISIBLE, re.DOTALL)

    def _group(self) -> None:
        """Spellings by their first character, as bytes."""
        by_first: dict[str, list[tuple[str, Name]]] = {}
        others: dict[str, Name] = {}
        for key, name in self.rules.by_key.items():
            (by_first.setdefault(key[0], []) if is_cjk(key[0]) else []).append((key, name))
            if not is_cjk(key[0]):
                others[key] = name
        for first, keys in by_first.items():
            if all(name.target is None for _, name in keys):
                continue
            keys.sort(key=lambda pair: -len(pair[0]))
            only = Rules((), {}, dict(keys), {}, re.compile(""), False)
            pattern = re.compile(line_pattern(only).pattern.rpartition(rb"|\\u|")[0] or rb"(?!)", re.DOTALL)
            for char in spellings(first):
                self.han[char.encode()] = tuple((key.encode(), name) for key, name in keys) if char == first else ()
                self.loose[char.encode()] = pattern
        renamed = {key: name for key, name in others.items() if name.target is not None}
        if renamed:
            only = Rules((), {}, renamed, {}, re.compile(""), False)
            self.latin = re.compile(line_pattern(only).pattern.rpartition(rb"|\\u|")[0], re.DOTALL)
            self.latin_names = {key.encode(): name for key, name in others.items()}

    def block(self, block: bytes) -> bytes:
        """As `Rewriter.block`."""
        hits, exact = self._hits(block)
        if not hits and not exact:
            self.report.lines += block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
            return block
        pieces: list[bytes] = []
        done = counted = 0
        lines = self.report.lines
        exact.append(len(block) + 1)
        next_exact = i = 0
        count = len(hits)
        tallies = self.tallies
        while i < count or exact[next_exact] <= len(block):
            at = hits[i][0] if i < count else exact[next_exact]
            at = min(at, exact[next_exact])
            start = block.rfind(b"\n", done, at) + 1 or done
            end = block.find(b"\n", at)
            end = len(block) if end < 0 else end
            first = i
            while i < count and hits[i][0] < end:
                i += 1
            plain = exact[next_exact] >= end
            while exact[next_exact] < end:
                next_exact += 1
            made = self._plain_line(block, start, end, hits, first, i) if plain else None
            if made is None or len(self.report.diffs) < 20:
                lines += block.count(b"\n", counted, start)
                counted = start
                if made is None:
                    new = self.line(block[start:end], lines + 1)
                    if new is not None:
                        pieces += (block[done:start], new)
                        done = end
                    continue
                self.report.show(lines + 1, block[start:end].decode(), "")
            for at, stop, new, tally in made:
                pieces += (block[done:at], new)
                done = stop
                tallies[tally] += 1
            self.report.changed_lines += 1
            if len(self.report.diffs) <= 20 and self.report.diffs and not self.report.diffs[-1].second:
                self._finish_diff(made, start)
        self.report.lines += block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        pieces.append(block[done:])
        return b"".join(pieces)

    def _finish_diff(self, made: list[tuple[int, int, bytes, tuple[str, str]]], start: int) -> None:
        example = self.report.diffs[-1]
        raw, at = example.first.encode(), 0
        out: list[bytes] = []
        for first, stop, new, _ in made:
            out += (raw[at : first - start], new)
            at = stop - start
        example.second = b"".join([*out, raw[at:]]).decode()

    def close(self) -> None:
        """Put the counts of plain lines into the report."""
        for (name, field), count in self.tallies.items():
            self.report.changed[name][field] += count
        self.tallies.clear()

    def _hits(self, block: bytes) -> tuple[list[tuple[int, int, Name]], list[int]]:
        """Plain names in order (place, end, name), and places whose lines need the exact path."""
        hits: list[tuple[int, int, Name]] = []
        exact: list[int] = []
        find, starts = block.find, block.startswith
        for first, keys in self.han.items():
            loose = self.loose[first].match
            step = len(first)
            at = find(first)
            while at >= 0:
                for key, name in keys:
                    if starts(key, at):
                        if name.target is None:
                            exact.append(at)
                        else:
                            hits.append((at, at + len(key), name))
                        at += len(key) - step
                        break
                else:
                    if loose(block, at):
                        exact.append(at)
                at = find(first, at + step)
        if self.latin is not None:
            self._latin_hits(block, hits, exact)
        if len(self.han) > 1 or self.latin is not None:
            hits.sort(key=lambda hit: hit[0])
        self._suspects(block, exact)
        exact.sort()
        return hits, exact

    def _latin_hits(self, block: bytes, hits: list[tuple[int, int, Name]], exact: list[int]) -> None:
        assert self.latin is not None
        names = sorted(self.latin_names.items(), key=lambda pair: -len(pair[0]))
        for match in self.latin.finditer(block):
            at = match.start()
            for key, name in names:
                end = at + len(key)
                if block[at:end].lower() == key:
                    before, after = block[at - 1 : at], block[end : end + 1]
                    safe = (not before or before[0] in _SAFE) and (not after or after[0] in _SAFE)
                    if safe and name.target is not None and not name.exact_case:
                        hits.append((at, end, name))
                    else:
                        exact.append(at)
                    break
            else:
                exact.append(at)

    def _suspects(self, block: bytes, exact: list[int]) -> None:
        """Places of escapes and template slots, which the exact path must see."""
        if not self.pair_numbers or _any_pair(block, self.pair_numbers):
            for pair in _PAIRS:
                at = block.find(pair)
                while at >= 0:
                    exact.append(at)
                    at = block.find(b"\n", at)
                    at = block.find(pair, at) if at >= 0 else -1
        if block.find(b"<") >= 0:
            exact += [match.start() for match in _TAGS.finditer(block)]
        for ending in _SLOT_ENDS:
            at = block.find(ending)
            while at >= 0:
                exact.append(at)
                at = block.find(ending, at + 1)

    def _plain_line(
        self, block: bytes, start: int, end: int, hits: list[tuple[int, int, Name]], first: int, last: int
    ) -> list[tuple[int, int, bytes, tuple[str, str]]] | None:
        """The changes to one line (place, end, new bytes, what to count), or None when it is not plain."""
        find, rfind = block.find, block.rfind
        if (
            find(b"`", start, end) >= 0
            or find(b"@", start, end) >= 0
            or find(b"<", start, end) >= 0
            or block[start] != 123
            or block[end - 1] != 125
        ):
            return None
        if find(b"/", start, end) >= 0 and (self.latin is not None or find(b"://", start, end) >= 0):
            return None
        if find(b".", start, end) >= 0 and _DOTTED.search(block, start, end):
            return None
        if self.latin is not None and find(b"\\\\", start, end) >= 0:
            return None
        made = []
        opened, field = -1, ""
        covered = -1
        for at, stop, name in hits[first:last]:
            if at < covered:
                return None
            covered = stop
            quote = rfind(b'"', start, at)
            if quote != opened:
                named = self._field(block, start, quote)
                if named is None:
                    return None
                opened, field = quote, named
            beside = block[stop]
            if beside == 39 or block[at - 1] == 32 or (beside == 0xE2 and block[stop : stop + 3] == b"\xe2\x80\x99"):
                return None
            lead, follow = self.beside[name.text]
            if follow.match(block, stop) or (lead and lead.search(block[max(start, at - 24) : at])):
                return None
            target = name.target
            assert target is not None
            new = target.zh
            if target.en != new and not self._chinese(block, quote, at, stop, hits, first, last):
                return None
            if '"' in new or "\\" in new or not new.isprintable():
                return None
            made.append((at, stop, new.encode(), (name.text, field)))
        return made

    def _field(self, block: bytes, start: int, quote: int) -> str | None:
        """The key of the value that opens at this quote; None when it is no plain value of a renamed field."""
        if block[quote - 1] == 92 or block[quote + 1] in b"{[":
            return None
        colon = quote - 1
        while block[colon] == 32:
            colon -= 1
        if block[colon] != 58:
            return None
        close = block.rfind(b'"', start, colon)
        key = block[block.rfind(b'"', start, close) + 1 : close]
        known = self.fields.get(key, 0)
        if known == 0:
            text = key.decode()
            known = None if left_alone(text) or "\\" in text or block[close + 1 : colon].strip() else text
            self.fields[key] = known
        return known  # type: ignore[return-value]

    def _chinese(
        self, block: bytes, quote: int, at: int, stop: int, hits: list[tuple[int, int, Name]], first: int, last: int
    ) -> bool:
        """Whether the sentence around a name is surely Chinese; names do not count."""
        begin = max([block.rfind(mark, quote, at) for mark in _ENDS])
        begin = max(begin, block.rfind(b". ", quote, at), quote) + 1
        ending = _END.search(block, stop)
        finish = ending.start() if ending else len(block)
        pieces, done = [], begin
        for other, other_stop, _ in hits[first:last]:
            if begin <= other and other_stop <= finish:
                pieces.append(block[done:other])
                done = other_stop
        pieces.append(block[done:finish])
        around = b" ".join(pieces)
        if _LETTER.search(around) is None:
            return any(byte >= 0xE4 for byte in around)
        text = _ESCAPED.sub(b" ", around).decode(errors="ignore")
        return cjk_share(text) >= 0.4


def _any_pair(block: bytes, pairs: tuple[int, ...]) -> bool:
    """Whether any of some two-byte sequences, given as little-endian numbers, occurs."""
    import numpy as np

    for offset in (0, 1):
        words = np.frombuffer(block, "<u2", (len(block) - offset) // 2, offset)
        for pair in pairs:
            if (words == pair).any():
                return True
    return False
