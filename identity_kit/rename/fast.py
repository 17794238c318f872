"""Rename plain values on their bytes, and hand everything else to the exact path.

A value is plain when each name in it stands as it was given, in a text that cannot hold a URL, code, a file name or JSON,
with nothing beside the name that would have to change too. What is decided here is what `cells` and `match` decide; a
test holds the two against each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from identity_kit.errors import BadInput
from identity_kit.rename.cells import FieldFindings, left_alone, string_findings
from identity_kit.rename.match import apply
from identity_kit.rename.rewrite import Rewriter
from identity_kit.rename.rules import Name, Rules, is_cjk, spellings
from identity_kit.rename.scan import GAP, INVISIBLE, any_of, loose_pattern
from identity_kit.rename.zones import EXTENSIONS, TOP_DOMAINS
from identity_kit.text import cjk_share

# Bytes that mean nothing to the renaming of Chinese names: Chinese itself, digits, spaces, most punctuation.
_BORING = bytes(range(0x80, 0x100)) + b" 0123456789,:;!?()+-*=%#$&|~^_}]'>"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# A dot by which a name may be part of a file name or a domain.
_DOTTED = re.compile(rb"\.(?:" + EXTENSIONS.encode() + b"|" + TOP_DOMAINS.encode() + rb")(?![A-Za-z0-9])")
_SENTENCE = re.compile(r"[。！？!?；;\n]|\.(?=\s|$)")
_ENDS = ("。", "！", "？", "!", "?", "；", ";", "\n", ". ")
_LETTER = re.compile("[A-Za-z]")
_KEY = re.compile(rb'"([^"\\]*)" ?: ?')
_PAIRS = (b"\\u", b"{{")
_TAG = re.compile(rb"<(?:NAME|AUTHOR|OWNER|name|author|owner)>")
_SHOWN = 20

# First bytes of what most often follows a name, Chinese characters, and of nothing in `INVISIBLE`.
_NEVER_FOLLOW = frozenset(range(0xE4, 0xEA))

# Changes of one line: where each value's text starts and ends, and its new text.
Made = list[tuple[int, int, bytes]]
Matcher = Callable[[bytes], "re.Match[bytes] | None"]


class FastRewriter(Rewriter):
    """A `Rewriter` for JSONL in UTF-8 with a way around the exact path for plain values.

    Args:
        large: whether the file is worth loading numpy for.
    """

    def __init__(self, rules: Rules, path: str, *, rows: bool, large: bool = False) -> None:
        super().__init__(rules, path, rows=rows)
        renamed = {key: name for key, name in rules.by_key.items() if name.target is not None}
        self.pairs = tuple(int.from_bytes(pair, "little") for pair in _PAIRS) if large else ()
        self.fields: dict[bytes, str | None] = {}
        self.tallies: Counter[tuple[str, str]] = Counter()
        self.han = all(is_cjk(key[0]) and is_cjk(key[-1]) for key in renamed)
        self.loose = loose_pattern(renamed)
        firsts = {char.encode(): None for key in renamed for char in spellings(key[0])}
        self.first = next(iter(firsts)) if len(firsts) == 1 else None
        self.names = {key.encode(): (name, name.target.zh.encode()) for key, name in renamed.items() if name.target}
        self.plain = re.compile(b"|".join(map(re.escape, sorted(self.names, key=len, reverse=True))) or rb"(?!)")
        self.article = re.compile(rb"\b[Aa][Nn]?[ \xa0\xc2]+(?:" + self.plain.pattern + b")")
        self.plain_text = re.compile(self.plain.pattern.decode())
        self.follow, self.lead, self.beside = _beside(rules, renamed)
        self.never = _NEVER_FOLLOW if not any(name.target is None for name in rules.names) else frozenset()
        self.single = next(iter(self.names)) if len(self.names) == 1 else None
        texts = [text for name in renamed.values() if name.target for text in (name.target.zh, name.target.en)]
        self.simple = self.han and all(text.isprintable() and '"' not in text and "\\" not in text for text in texts)
        self.ascii_new = any(text.isascii() or not is_cjk(text[0]) for text in texts)

    def close(self) -> None:
        """Put the counts of plain values into the report."""
        for (name, field), count in self.tallies.items():
            fields = self.report.changed[name]
            fields[field] += count
            if not fields[field]:  # it turned out to be left alone, and was counted back to none
                del fields[field]
            if not fields:
                del self.report.changed[name]
        self.tallies.clear()

    def block(self, block: bytes) -> bytes:
        """As `Rewriter.block`. The first blocks go line by line, for the sake of the examples that they show."""
        suspects = self._suspects(block)
        if self.simple and not suspects and len(self.report.diffs) >= _SHOWN:
            return self._in_bulk(block)
        return self._by_line(block, suspects)

    def _in_bulk(self, block: bytes) -> bytes:
        """All plain values of a block at once; what is not plain by the line."""
        spans, fields, odd = self._values(block)
        values = [block[start:end] for start, end in spans]
        joined = b"\n".join(values)
        rests = joined.translate(None, _BORING).replace(b"\\n", b"").split(b"\n")
        old = self.single
        if old is not None:
            news = joined.replace(old, self.names[old][1]).split(b"\n")
        else:
            news = self.plain.sub(lambda match: self.names[match.group()][1], joined).split(b"\n")
        doubtful = {i for i, rest in enumerate(rests) if rest}
        if self.beside.search(joined):
            doubtful.update(i for i, value in enumerate(values) if self.beside.search(value))
        total = joined.count(old) if old is not None else -1
        if self.first is None or total != joined.count(self.first):
            spare = self.plain.sub(b'"', joined)
            if self.loose.search(spare):
                doubtful.update(i for i, value in enumerate(spare.split(b"\n")) if self.loose.search(value))
        bad: list[int] = []
        counts: list[tuple[tuple[str, str], int]] = []
        noted: list[tuple[int, list[FieldFindings]]] = []
        for i in sorted(doubtful) if values else ():
            new = self._value(values[i], fields[i], counts)
            if new is None:
                parts: list[FieldFindings] = []
                new = self._exact_value(values[i], fields[i], parts)
                noted.append((spans[i][0], parts))
            if new is None:
                bad.append(i)
            else:
                news[i] = new
        if old is not None:
            name = self.names[old][0].text
            if len(set(fields)) == 1:
                counts.append(((name, fields[0]), total - sum(values[i].count(old) for i in doubtful)))
            else:
                tally = Counter[str]()
                for i, value in enumerate(values):
                    if i not in doubtful:
                        tally[fields[i]] += value.count(old)
                counts += [((name, field), count) for field, count in tally.items()]
        else:
            for i, value in enumerate(values):
                if i not in doubtful:
                    counts += [((self.names[found][0].text, fields[i]), 1) for found in self.plain.findall(value)]
        if odd or bad:
            return self._mixed(block, [*odd, *(spans[i][0] for i in bad)])
        return self._assembled(block, spans, news, counts, noted)

    def _values(self, block: bytes) -> tuple[list[tuple[int, int]], list[str], list[int]]:
        """Values that hold a name (where their text starts and ends, their fields), and places in lines that are odd."""
        spans: list[tuple[int, int]] = []
        fields: list[str] = []
        odd: list[int] = []
        find_next, find, rfind, known = self._finder(block), block.find, block.rfind, self.fields.get
        size = len(block)
        at = find_next(0)
        while at < size:
            quote = rfind(b'"', 0, at)
            stop = find(b'"', at)
            if stop < 0 or quote < 0 or block[quote - 1] == 92 or block[stop - 1] == 92:
                end = find(b"\n", at)
                end = size if end < 0 else end
                if stop < 0 or quote < 0 or find(b"\\\\", block.rfind(b"\n", 0, at) + 1, end) >= 0:
                    odd.append(at)
                    at = find_next(end)
                    continue
                while quote > 0 and block[quote - 1] == 92:
                    quote = rfind(b'"', 0, quote)
                while 0 <= stop < end and block[stop - 1] == 92:
                    stop = find(b'"', stop + 1)
            lead = block[rfind(b'"', 0, quote - 3) : quote]
            field = known(lead)
            if field is None:
                field = self._field(lead)
            if field is None or stop < 0:
                odd.append(at)
                end = find(b"\n", at)
                at = find_next(end) if end >= 0 else size
                continue
            spans.append((quote + 1, stop))
            fields.append(field)
            at = find_next(stop)
        return spans, fields, odd

    def _assembled(
        self,
        block: bytes,
        spans: list[tuple[int, int]],
        news: list[bytes],
        counts: list[tuple[tuple[str, str], int]],
        noted: list[tuple[int, list[FieldFindings]]],
    ) -> bytes:
        """The block with its new values put in and counted."""
        report, find, size = self.report, block.find, len(block)
        pieces, done, line_end, changed, counted = list[bytes](), 0, -1, 0, False
        for (start, end), new in zip(spans, news, strict=False):
            pieces += (block[done:start], new)
            done = end
            if start > line_end:
                line_end = find(b"\n", end)
                if line_end < 0:
                    line_end = size
                if block[line_end - 1] not in b"}\r":
                    return self._by_line(block, [])
                counted = False
            if not counted and new != block[start:end]:
                changed, counted = changed + 1, True
        for tally, count in counts:
            self.tallies[tally] += count
        for at, parts in noted:
            for part in parts:
                wanted = part.findings.left or (part.findings.skipped and len(report.skipped_examples) < _SHOWN)
                line = report.lines + block.count(b"\n", 0, at) + 1 if wanted else 0
                report.note(part.field, part.findings, line)
        report.changed_lines += changed
        report.lines += block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        if not pieces:
            return block
        pieces.append(block[done:])
        return b"".join(pieces)

    def _mixed(self, block: bytes, places: list[int]) -> bytes:
        """A block cut around the lines that are not plain: these line by line, the stretches between them in bulk."""
        pieces = []
        done = 0
        for at in sorted(places):
            if at < done:
                continue
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at) + 1 or len(block)
            if start > done:
                pieces.append(self._in_bulk(block[done:start]))
            pieces.append(self._by_line(block[start:end], []))
            done = end
        if done < len(block):
            pieces.append(self._in_bulk(block[done:]))
        return b"".join(pieces)

    def _by_line(self, block: bytes, suspects: list[int]) -> bytes:
        """Line by line, each by its plain values or by the exact path."""
        suspects.append(len(block) + 1)
        report, pieces, s, counted = self.report, list[bytes](), 0, 0
        lines, size, done = report.lines, len(block), 0
        find_next = self._finder(block)
        rfind, find = block.rfind, block.find
        at = find_next(0)
        while True:
            suspect = suspects[s]
            at = min(at, suspect)
            if at >= size:
                break
            start = rfind(b"\n", 0, at) + 1
            end = find(b"\n", at)
            if end < 0:
                end = size
            made, at = self._plain_line(block, start, end, at, find_next) if suspect >= end else (None, at)
            if made is None or (made and len(report.diffs) < _SHOWN):
                lines += block.count(b"\n", counted, start)
                counted = start
            if made is None:
                new = self.line(block[start:end], lines + 1)
                if new is not None:
                    pieces += (block[done:start], new)
                    done = end
                while suspects[s] < end:
                    s += 1
                at = find_next(end)
            elif made:
                if len(report.diffs) < _SHOWN:
                    report.show(lines + 1, block[start:end].decode(), _patched(block, start, end, made).decode())
                for first, last, new in made:
                    pieces += (block[done:first], new)
                    done = last
                report.changed_lines += 1
        report.lines += block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        if not pieces:
            return block
        pieces.append(block[done:])
        return b"".join(pieces)

    def _finder(self, block: bytes) -> Callable[[int], int]:
        """A function from a place to the next one at which a name may start, past the end when there is none."""
        none = len(block) + 1
        if self.first is not None:
            find, first, loose = block.find, self.first, self.loose.match

            def next_han(at: int) -> int:
                at = find(first, at)
                while at >= 0 and not loose(block, at):
                    at = find(first, at + 1)
                return at if at >= 0 else none

            old, length = self.single, len(self.single or b"")
            if old is None:
                return next_han

            def next_single(at: int) -> int:
                at = find(first, at)
                while at >= 0 and block[at : at + length] != old and not loose(block, at):
                    at = find(first, at + 1)
                return at if at >= 0 else none

            return next_single
        search = self.loose.search

        def next_any(at: int) -> int:
            hit = search(block, at)
            return hit.start() if hit else none

        return next_any

    def _suspects(self, block: bytes) -> list[int]:
        """Places of escapes and template slots, whose lines the exact path must see."""
        found: list[int] = []
        if not self.pairs or _any_pair(block, self.pairs):
            for pair in _PAIRS:
                at = block.find(pair)
                while at >= 0:
                    found.append(at)
                    at = block.find(b"\n", at)
                    at = block.find(pair, at) if at >= 0 else -1
        if block.find(b"<") >= 0:
            found += [match.start() for match in _TAG.finditer(block)]
        found.sort()
        return found

    def _plain_line(
        self, block: bytes, start: int, end: int, at: int, find_next: Callable[[int], int]
    ) -> tuple[Made | None, int]:
        """The changes to one line (None when only the exact path can tell), and where the next name may start."""
        find, rfind = block.find, block.rfind
        if block[start] != 123 or block[end - 1] not in b"}\r":
            return None, at
        made: Made = []
        counts: list[tuple[tuple[str, str], int]] = []
        noted: list[FieldFindings] = []
        while at < end:
            quote = rfind(b'"', start, at)
            stop = find(b'"', at, end)
            if block[quote - 1] == 92 or block[stop - 1] == 92:
                if find(b"\\\\", start, end) >= 0:
                    return None, at
                while quote > start and block[quote - 1] == 92:
                    quote = rfind(b'"', start, quote)
                while stop >= 0 and block[stop - 1] == 92:
                    stop = find(b'"', stop + 1, end)
            if quote < 0 or stop < 0:
                return None, at
            lead = block[rfind(b'"', start, quote - 3) : quote]
            field = self.fields.get(lead)
            if field is None:
                field = self._field(lead)
                if field is None:
                    return None, at
            value = block[quote + 1 : stop]
            new = self._value(value, field, counts)
            if new is None:
                new = self._exact_value(value, field, noted)
                if new is None:
                    return None, at
            if new is not value:
                made.append((quote + 1, stop, new))
            at = find_next(stop)
        for tally, count in counts:
            self.tallies[tally] += count
        report = self.report
        for part in noted:
            wanted = part.findings.left or (part.findings.skipped and len(report.skipped_examples) < _SHOWN)
            line = report.lines + block.count(b"\n", 0, start) + 1 if wanted else 0
            report.note(part.field, part.findings, line)
        return made, at

    def _field(self, lead: bytes) -> str | None:
        """The field whose value follows `"key": `; None when it is no such thing, or a field that is left alone."""
        match = _KEY.fullmatch(lead)
        if match is None:
            return None
        field = match[1].decode(errors="replace")
        if left_alone(field):
            return None
        self.fields[lead] = field
        return field

    def _value(self, value: bytes, field: str, counts: list[tuple[tuple[str, str], int]]) -> bytes | None:
        """A value's new text, counted; None when it is not plain."""
        if not self.simple:
            return None
        rest = value.translate(None, _BORING).replace(b"\\n", b"")
        if rest:
            if b"\\" in rest:
                rest = rest.replace(b'\\"', b"").replace(b"\\t", b"").replace(b"\\r", b"")
            if rest.translate(None, _LETTERS + b"./"):
                return None
            if b"/" in rest and b"://" in value:
                return None
            if b"." in rest and (_DOTTED.search(value) or b"www." in value.lower()):
                return None
            if self.ascii_new and self.article.search(value):
                return None
            if self.rules.per_language and not self._chinese(value):
                return None
        if self.single is None:
            return self._several(value, field, counts)
        parts = value.split(self.single)
        spare = self.first is None or value.count(self.first) >= len(parts)
        if spare and self.loose.search(b'"'.join(parts)):
            return None
        follow, lead, never = self.follow, self.lead, self.never
        for part in parts[1:]:
            if part and (part[0] not in never and follow(part)):
                return None
        if lead is not None and any(lead(part[-24:]) for part in parts[:-1]):
            return None
        name, new = self.names[self.single]
        counts.append(((name.text, field), len(parts) - 1))
        return new.join(parts)

    def _several(self, value: bytes, field: str, counts: list[tuple[tuple[str, str], int]]) -> bytes | None:
        """As `_value`, for more than one name."""
        if self.beside.search(value) or self.loose.search(self.plain.sub(b'"', value)):
            return None
        for old in self.plain.findall(value):
            counts.append(((self.names[old][0].text, field), 1))
        return self.plain.sub(lambda match: self.names[match.group()][1], value)

    def _chinese(self, value: bytes) -> bool:
        """Whether every sentence with a name is surely Chinese, the names themselves not counted."""
        text = value.decode(errors="ignore").replace("\\n", "\n").replace('\\"', '"')
        done = 0
        for match in self.plain_text.finditer(text):
            if match.start() < done:
                continue
            begin = max([text.rfind(mark, done, match.start()) for mark in _ENDS]) + 1
            ending = _SENTENCE.search(text, match.end())
            done = ending.start() if ending else len(text)
            sentence = text[begin:done]
            if _LETTER.search(sentence) and cjk_share(self.plain_text.sub(" ", sentence)) < 0.4:
                return False
        return True

    def _exact_value(self, value: bytes, field: str, noted: list[FieldFindings]) -> bytes | None:
        """A value's new text by the exact path, what was found added to `noted`; None when it is broken."""
        try:
            text = value.decode()
            parts = list(string_findings(text, 0, field, self.rules, "", 0, is_key=False))
        except (UnicodeDecodeError, BadInput):
            return None
        edits = [edit for part in parts for edit in part.findings.edits]
        noted += parts
        return apply(text, edits).encode() if edits else value


def _beside(rules: Rules, renamed: dict[str, Name]) -> tuple[Matcher, Matcher | None, re.Pattern[bytes]]:
    """What, beside a name, makes it part of a word that stays, or is a mark that goes with it.

    Returns:
        What hits in the bytes right after a name; in those right before it (None when nothing can); and a pattern for
        any name with either.
    """
    follows, leads, both = [INVISIBLE, rb"'|\xe2\x80\x99"], [], []
    for key, name in renamed.items():
        old = re.escape(key.encode())
        before, after = set[str](), set[str]()
        for kept, other in rules.by_key.items():
            at = kept.find(key) if other is not name and len(kept) > len(key) else -1
            while at >= 0:
                before.update(spellings(kept[at - 1]) if at else ())
                after.update(spellings(kept[at + len(key)]) if at + len(key) < len(kept) else ())
                at = kept.find(key, at + 1)
        if after:
            follows.append(GAP + any_of(tuple(sorted(after))))
        if before:
            leads.append(any_of(tuple(sorted(before))) + GAP)
            both.append(leads[-1] + old)
        both.append(old + b"(?:" + b"|".join(follows) + b")")
    follow = re.compile(b"|".join(follows), re.DOTALL).match
    lead = re.compile(b"(?:" + b"|".join(leads) + rb")\Z", re.DOTALL).search if leads else None
    return follow, lead, re.compile(b"|".join(both) or rb"(?!)", re.DOTALL)


def _patched(block: bytes, start: int, end: int, made: Made) -> bytes:
    pieces: list[bytes] = []
    done = start
    for first, last, new in made:
        pieces += (block[done:first], new)
        done = last
    return b"".join([*pieces, block[done:end]])


def _any_pair(block: bytes, pairs: tuple[int, ...]) -> bool:
    """Whether any of some two-byte sequences, given as little-endian numbers, occurs."""
    import numpy as np

    for offset in (0, 1):
        words = np.frombuffer(block, "<u2", (len(block) - offset) // 2, offset)
        for pair in pairs:
            if (words == pair).any():
                return True
    return False
