"""Rename plain lines on their bytes, and hand every other line to the exact path.

A block of lines is marked (`marks`), then each line with a mark is judged by its shape: the line's ASCII characters.
The shape of a JSON line is JSON, and most lines with a name have one of a few shapes, so the judgement is looked up.
A line is plain when the exact path would rename all its marks and nothing else: each is in a value that is text and
that cannot hold a URL, code, a file name or JSON, in a sentence that is surely Chinese where that matters. Everything
between is copied in one piece. A test holds text and reports against those of the exact path.

All that holds for lines of JSON in UTF-8, so each block is parsed first, at once and without making objects of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from identity_kit.rename.cells import left_alone, string_findings
from identity_kit.rename.marks import EDGE, LOOK, Marker
from identity_kit.rename.match import SENTENCE, apply
from identity_kit.rename.report import SHOWN
from identity_kit.rename.rewrite import Rewriter, not_an_object
from identity_kit.rename.rules import Rules, is_cjk
from identity_kit.rename.scan import SUSPECT_MARKS, SUSPECTS
from identity_kit.rename.zones import EXTENSIONS, TOP_DOMAINS
from identity_kit.text import cjk_share

# An array of which only the length is asked.
_parse_all: Callable[[bytes], Any]
try:
    from simdjson import Parser

    _parse_all = Parser().parse
except ImportError:  # no wheel for this Python; the same answers, a fifth as fast
    _parse_all = orjson.loads

_EDGE = EDGE.decode()
_NOT_ASCII = bytes(range(0x80, 0x100))
_SUSPECT = re.compile(SUSPECTS)
_MARK = re.compile(r"\x7f(\d+)~?\x7f")
_FIELD = re.compile(r"[\w\-]+", re.ASCII)
# ASCII that means nothing beside a Chinese name: no letter, nothing that a URL, code, a path or a file name needs.
_MEANS_NOTHING = r"\n0-9 \",:;!?()+\-*=%#$&|^_}\]'>\x7f"
# What a file name or a domain around a Chinese name has to have.
_DOTTED = re.compile(rf"\.(?=[a-z0-9中公])(?:{EXTENSIONS}|{TOP_DOMAINS})(?![A-Za-z0-9])")
_LETTER = re.compile("[A-Za-z]")
_ARTICLE = re.compile("[AaNn][ \u00a0]+\x7f")
# Of prose, for bytes: what it may be made of, and the ends of sentences.
_PROSE = bytes(
    i for i in range(128) if re.fullmatch(rf"[{_MEANS_NOTHING}A-Za-z.'\\]", chr(i)) and chr(i) not in '"\x7f'
)
_LETTER_BYTE = re.compile(rb"[A-Za-z]")
_ENDS = tuple(end.encode() for end in "。！？；!?;")
_MOST_SHAPES = 20_000
_LONG = 300  # characters of a shape


@dataclass(frozen=True, eq=False)
class Plain:
    """What is renamed in a plain line: how often each name (its number) in each field.

    `fields` are the keys of these fields, and how often they stand in the shape: a line must have them as often, or its
    field is called `"中key"`. `edges` is how many `EDGE` there are.
    """

    counts: tuple[tuple[tuple[int, str], int], ...]
    fields: tuple[tuple[bytes, int], ...] = ()
    edges: int = 0

    def fits(self, line: bytes) -> bool:
        """Whether a line of that shape has these fields."""
        return all(line.count(field) == times for field, times in self.fields)


# Lines without a mark, of which many have one shape too.
_UNTOUCHED = Plain(())


class FastRewriter(Rewriter):
    """A `Rewriter` for JSONL in UTF-8 with a way around the exact path for plain lines."""

    def __init__(self, rules: Rules, path: str, *, rows: bool) -> None:
        super().__init__(rules, path, rows=rows)
        self.marker = Marker(rules)
        targets = [name.target for _, name in self.marker.names if name.target]
        self.articles = any(not text or not is_cjk(text[0]) for target in targets for text in (target.zh, target.en))
        letters = "" if rules.per_language or self.articles else "A-Za-z"
        self.plain = re.compile(f"[{_MEANS_NOTHING}{letters}]*")
        self.shapes: dict[bytes, Plain | None] = {}

    def block(self, block: bytes) -> bytes:
        """As `Rewriter.block`. Until there are examples enough to show, each changed line takes the exact path."""
        if EDGE in block or not _well_formed(block):
            return super().block(block)
        marked = self.marker.mark(block)
        shape_of, seen = self._shapes(marked)
        unseen = b"\n".join([shape for shape, plain in zip(shape_of, seen, strict=True) if plain is None])
        if any(mark in unseen for mark in SUSPECT_MARKS):
            marked = _SUSPECT.sub(LOOK.replace(b"\\", rb"\\") + rb"\g<0>", marked)
            shape_of, seen = self._shapes(marked)
        self._count_seen(seen)
        pieces = marked.split(EDGE)
        self._by_line(pieces, shape_of, seen)
        self.report.lines += len(shape_of) - (not shape_of[-1])
        return self.marker.rename(pieces)

    def _shapes(self, marked: bytes) -> tuple[list[bytes], list[Plain | None]]:
        """The shape of each line of a block, and which are known to be plain. Nothing here is done by the line.

        What `Plain.fields` asks of each line is asked of the block: a line cannot have more of them than its shape.
        """
        shapes = marked.translate(None, _NOT_ASCII)
        shape_of = shapes.split(b"\n")
        if len(self.report.diffs) >= SHOWN:
            seen = list(map(self.shapes.get, shape_of))
            fields = {field for plain in set(seen) if plain for field, _ in plain.fields}
            if all(marked.count(field) == shapes.count(field) for field in fields):
                return shape_of, seen
        return shape_of, [None] * len(shape_of)

    def _count_seen(self, seen: list[Plain | None]) -> None:
        tallies: Counter[Any] = Counter(seen)
        for plain, times in tallies.items():
            if plain is not None and plain is not _UNTOUCHED:
                self._count(plain, times)

    def _by_line(self, pieces: list[bytes], shape_of: list[bytes], seen: list[Plain | None]) -> None:
        """Judges the lines that are not `seen`; one that takes the exact path is put back with its marks emptied.

        Args:
            pieces: the block cut at each `EDGE`: text, mark, text, mark, text.

        Raises:
            BadInput: a line is no JSON object.
        """
        first = 0  # the piece in which a line starts, or one that ends in a line without marks right before it
        for number, (shape, plain) in enumerate(zip(shape_of, seen, strict=True), start=self.report.lines + 1):
            if plain is not None:
                first += plain.edges
                continue
            if shape.lstrip()[:1] not in (b"{", b""):
                raise not_an_object(f"{self.path}:{number}")
            edges = shape.count(EDGE)
            if not edges:
                if len(shape) <= _LONG:
                    _keep(self.shapes, shape, _UNTOUCHED)
                continue
            last = first + edges
            start = pieces[first].rfind(b"\n") + 1
            end = pieces[last].find(b"\n")
            end = len(pieces[last]) if end < 0 else end
            line = EDGE.join([pieces[first][start:], *pieces[first + 1 : last], pieces[last][:end]])
            new = self._renamed(line, shape, number)
            if new is not None:
                pieces[first] = pieces[first][:start] + new
                pieces[first + 1 : last] = [b""] * (edges - 1)
                pieces[last] = pieces[last][end:]
            first = last

    def _renamed(self, line: bytes, shape: bytes, number: int) -> bytes | None:
        """A marked line, renamed; None when it is enough to rename its marks."""
        plain = None
        if LOOK not in shape:
            plain = self._plain_by_shape(shape, line) or self._plain_by_shape(*self._without_prose(shape, line))
        values = [] if plain else _marked_values(_parsed(line))
        if plain is None and LOOK not in shape:
            plain = self._judge(line, values)
        if plain is not None and len(self.report.diffs) >= SHOWN:
            self._count(plain, 1)
            return None
        return self._by_value(line, values, number) or self._by_exact_path(line, number)

    def _by_exact_path(self, line: bytes, number: int) -> bytes:
        """A marked line by the exact path; as it was when nothing changes."""
        raw = self.marker.unmark(line)
        new = self.line(raw, number)
        return raw if new is None else new

    def _by_value(self, line: bytes, values: list[tuple[str, str]], number: int) -> bytes | None:
        """A marked line, only its `_marked_values` put through the exact path; None when that cannot be told apart.

        Without escapes a value stands in the line as it is read, so one that comes once is found by its text.
        """
        if b"\\" in line or len(self.report.diffs) < SHOWN:
            return None
        if sum(text.count(_EDGE) for _, text in values) != line.count(EDGE):
            return None
        raw = self.marker.unmark(line)
        places: list[tuple[int, str, str]] = []
        for field, marked in values:
            value = self.marker.unmark(marked.encode())
            if raw.count(b'"%s"' % value) != 1 or value[:1] in b"{[":
                return None
            places.append((raw.find(b'"%s"' % value) + 1, value.decode(), field))
        pieces, done, changed = list[bytes](), 0, False
        for at, text, field in sorted(places):
            for part in string_findings(text, 0, field, self.rules, "", 0, is_key=False):
                self.report.note(part.field, part.findings, number)
                if part.findings.edits:
                    pieces += (raw[done:at], apply(text, part.findings.edits).encode())
                    done, changed = at + len(text.encode()), True
        self.report.changed_lines += changed
        return b"".join(pieces) + raw[done:]

    def _count(self, plain: Plain, times: int) -> None:
        self.report.changed_lines += times
        for (name, field), count in plain.counts:
            self.report.changed[self.marker.names[name][1].text][field] += count * times

    def _plain_by_shape(self, shape: bytes, line: bytes) -> Plain | None:
        """What is renamed in lines of a shape, kept for the next one. A long shape is prose, and will not come again."""
        if len(shape) > _LONG:
            return None
        if shape not in self.shapes:
            _keep(self.shapes, shape, self._judge(shape, _marked_values(_parsed(shape)), self.plain))
        plain = self.shapes[shape]
        return plain if plain and plain.fits(line) else None

    def _without_prose(self, shape: bytes, line: bytes) -> tuple[bytes, bytes]:
        """Both without the words between the last mark and the end of its value, if these mean nothing."""
        start, begin = shape.rfind(EDGE) + 1, line.rfind(EDGE) + 1
        stop, end = shape.find(b'"', start), line.find(b'"', begin)
        letters, words = shape[start:stop], line[begin:end]
        new_lines = words.count(b"\\n")
        if (
            letters.translate(None, _PROSE)
            or letters.count(b"\\") != new_lines
            or letters.count(b".") != words.count(b". ") + words.endswith(b".") + (new_lines and words.count(b".\\n"))
            or (self.rules.per_language and not _sentence_ends_first(words))
        ):
            return shape, line
        return shape[:start] + shape[stop:], line[:begin] + line[end:]

    def _judge(self, line: bytes, values: list[tuple[str, str]], plain: re.Pattern[str] | None = None) -> Plain | None:
        """What is renamed in a line, judged by itself or by its shape alone; None when that does not tell.

        Args:
            values: its `_marked_values`.
            plain: what each value of a shape must be.

        A key that comes twice in an object hides a value, so the marks that were met are counted against all.
        """
        if plain and line.count(b"\\") != line.count(b"\\n") + line.count(b'\\"'):
            return None
        counts: dict[tuple[int, str], int] = {}
        edges = line.count(EDGE)
        marks = edges // 2
        for field, text in values:
            # a mark with `~` is no part of a plain shape
            if not (_FIELD.fullmatch(field) and plain.fullmatch(text) if plain else self._plain_text(text)):
                return None
            if left_alone(field):
                return None
            for number in _MARK.findall(text):
                counts[int(number), field] = counts.get((int(number), field), 0) + 1
                marks -= 1
        if marks:
            return None
        # of a shape the keys, with the marks of JSON around them: a long word is found faster than a short one
        fields = set[bytes]()
        for _, field in counts if plain else ():
            fields.update(re.findall(rb'(?:", ?)?"%s"[ :\[]*"?' % field.encode(), line))
        return Plain(tuple(counts.items()), tuple((field, line.count(field)) for field in fields), edges)

    def _plain_text(self, text: str) -> bool:
        """Whether a value is plain, and each of its marks in a sentence that the exact path calls Chinese."""
        if text[0] in "{[" or "`" in text or "@" in text or "\\" in text or "<" in text or "://" in text:
            return False
        if "." in text and ("www." in text or _DOTTED.search(text)):
            return False
        if self.articles and _ARTICLE.search(text):
            return False
        return not self.rules.per_language or _surely_chinese(text)


def _well_formed(block: bytes) -> bool:
    """Whether a block is JSON in UTF-8, one value a line."""
    text = block.rstrip(b"\n")
    try:
        return len(_parse_all(b"[%b]" % text.replace(b"\n", b","))) == text.count(b"\n") + 1
    except (ValueError, RuntimeError):  # simdjson's word for numbers that other parsers take
        return False


def _keep(known: dict[bytes, Plain | None], shape: bytes, plain: Plain | None) -> None:
    if len(known) >= _MOST_SHAPES:
        known.clear()
    known[shape] = plain


def _sentence_ends_first(words: bytes) -> bool:
    """Whether the end of a sentence comes before all letters."""
    letter = _LETTER_BYTE.search(words)
    before = words[: letter.start()] if letter else b""
    return letter is None or before.endswith(b"\\") or any(end in before for end in _ENDS)


def _surely_chinese(text: str) -> bool:
    """Whether the exact path would call each sentence with a mark Chinese: the names apart, 40 % of its words are."""
    last, letter = text.rfind(_EDGE), _LETTER.search(text)
    if "~" + _EDGE not in text and (letter is None or SENTENCE.search(text, last, letter.start())):
        return True  # a Chinese character in each such sentence, and no letters up to the end of the last one
    if "." + _EDGE in text:  # whether a sentence ends there depends on which name is asked about
        return False
    sentences = (sentence for sentence in SENTENCE.split(text) if _EDGE in sentence)
    return all(cjk_share(_MARK.sub(" ", sentence)) >= 0.4 for sentence in sentences)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _marked_values(tree: Any) -> list[tuple[str, str]]:
    """The texts with marks in a JSON object, with their fields; keys have none, and so their marks stay uncounted."""
    found: list[tuple[str, str]] = []
    rest: list[tuple[str, Any]] = [("", tree)] if isinstance(tree, dict) else []
    while rest:
        field, value = rest.pop()
        for key, item in value.items() if type(value) is dict else ((field, item) for item in value):
            if type(item) is str:
                if _EDGE in item:
                    found.append((key, item))
            elif type(item) is dict or type(item) is list:
                rest.append((key, item))
    return found
