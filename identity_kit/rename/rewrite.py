"""Rename in whole files: blocks of lines in, blocks out, lines without a name copied as they are."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import orjson

from identity_kit.errors import BadInput
from identity_kit.formats.encoding import Encoding, open_bytes, text_lines
from identity_kit.rename.cells import FieldFindings, csv_findings, json_findings
from identity_kit.rename.match import Edit, apply
from identity_kit.rename.report import Report
from identity_kit.rename.rules import Rules
from identity_kit.rename.scan import line_pattern
from identity_kit.ui import tr

BLOCK = 1 << 20
# Longer than this no row is; a JSON array on one line may be, and is cut before it fills the memory.
_LONGEST_ROW, _LONGEST_PIECE = 256 << 20, 16 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
_OUTSIDE = re.compile(rb'"(?:[^"\\]|\\.)*"|[^"]', re.DOTALL)


class Rewriter:
    """Renames in blocks of whole lines of JSON text, and counts."""

    def __init__(self, rules: Rules, path: str, *, rows: bool) -> None:
        self.rules, self.path, self.rows = rules, path, rows
        self.pattern = line_pattern([key for key, name in rules.by_key.items() if name.target is not None])
        self.report = Report()
        self.longest = _LONGEST_ROW if rows else _LONGEST_PIECE

    def block(self, block: bytes) -> bytes:
        """One block, renamed.

        Raises:
            BadInput: a line that is not a JSON object or not UTF-8, with its number.
        """
        if self.rows:
            self._check_lines(block)
        pieces: list[bytes] = []
        done = 0
        counted, lines = 0, self.report.lines
        for hit in self.pattern.finditer(block):
            if hit.start() < done:
                continue
            start = block.rfind(b"\n", done, hit.start()) + 1 or done
            end = block.find(b"\n", hit.end())
            end = len(block) if end < 0 else end
            lines += block.count(b"\n", counted, start)
            counted = start
            key = "" if self.rows else _last_key(block, start)
            new = self.line(block[start:end], lines + 1, key)
            if new is not None:
                pieces += (block[done:start], new)
                done = end
            else:
                pieces.append(block[done:end])
                done = end
        self.report.lines += block.count(b"\n") + (not block.endswith(b"\n") and bool(block))
        return b"".join(pieces) + block[done:] if pieces else block

    def line(self, raw: bytes, number: int, key: str = "") -> bytes | None:
        """One line, renamed, or None when nothing changes. `key` is the last key on the lines before it."""
        where = f"{self.path}:{number}"
        text = decode_line(raw, where)
        return self.record(text, json_findings(text, self.rules, where, key=key), number)

    def _check_lines(self, block: bytes) -> None:
        """Refuses what is no row, with the line's number."""
        for number, raw in enumerate(block.split(b"\n"), start=self.report.lines + 1):
            text = decode_line(raw, f"{self.path}:{number}")
            if text.strip():
                check_json(text, f"{self.path}:{number}")

    def record(self, text: str, parts: Iterable[FieldFindings], number: int) -> bytes | None:
        """A line's text with what was found in it applied and counted, or None when nothing changes."""
        edits: list[Edit] = []
        for part in parts:
            self.report.note(part.field, part.findings, number)
            edits += part.findings.edits
        if not edits:
            return None
        new = apply(text, edits)
        self.report.changed_lines += 1
        self.report.show(number, text, new)
        return new.encode("utf-8")


_LAST_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:')


def _last_key(block: bytes, end: int) -> str:
    """The last key that ends before a place in a block."""
    colon = block.rfind(b'":', 0, end)
    begin = block.rfind(b"\n", 0, max(colon, 0)) + 1
    keys = _LAST_KEY.findall(block, begin, colon + 2) if colon >= 0 else []
    return str(keys[-1].decode(errors="replace")) if keys else ""


def decode_line(raw: bytes, where: str) -> str:
    """A line's text.

    Raises:
        BadInput: it is not UTF-8.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(
            tr("不是有效的 UTF-8 文本", "not valid UTF-8 text"),
            where=where,
            fix=tr("把文件另存为 UTF-8", "save the file as UTF-8"),
        ) from None


def check_json(text: str, where: str) -> None:
    """Refuse a line that is not one JSON object.

    Raises:
        BadInput: with the column.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        from identity_kit.formats.containers import parse_json

        value = parse_json(text.strip("\r\n"), where)
    if not isinstance(value, dict):
        raise not_an_object(where)


def check_values(text: str, path: str) -> None:
    """Refuse text that is not JSON values one after the other.

    Raises:
        BadInput: with the line.
    """
    decoder, at = json.JSONDecoder(), 0
    try:
        while (at := _SPACE.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            _, at = decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise BadInput(
            tr(f"不是有效的 JSON（{error.msg}）", f"not valid JSON ({error.msg})"), where=f"{path}:{error.lineno}"
        ) from None


def not_an_object(where: str) -> BadInput:
    """The error for a line of another kind."""
    return BadInput(tr("应为 JSON 对象 {…}", "expected a JSON object {…}"), where=where)


def blocks_of(stream: IO[bytes], start: int, end: int, longest: int) -> Iterator[bytes]:
    """The bytes [start, end) of a file in blocks of whole lines; one over `longest` bytes is cut between JSON values."""
    if start:
        stream.seek(start)
    left, kept = end - start, b""
    while left > 0:
        piece = stream.read(min(max(BLOCK, len(kept)), left))
        if not piece:
            break
        left -= len(piece)
        cut = piece.rfind(b"\n") + 1
        if not cut and left and len(kept) + len(piece) > longest:
            kept += piece
            cut = _cut_outside(kept)
            yield kept[:cut]
            kept = kept[cut:]
        elif not cut:
            kept += piece
        else:
            yield kept + piece[:cut] if kept else piece[:cut]
            kept = piece[cut:]
    if kept:
        yield kept


def _cut_outside(text: bytes) -> int:
    """The place after the last comma that is outside a JSON string; the end when there is none."""
    last, at = 0, 0
    for match in _OUTSIDE.finditer(text):
        if match.start() != at:
            break
        at = match.end()
        if match.group() == b",":
            last = at
    return last or len(text)


def text_blocks(path: Path, encoding: Encoding) -> Iterator[bytes]:
    """The lines of a packed or foreign-encoded file as blocks of UTF-8."""
    if encoding.name == "utf-8":
        with open_bytes(path) as stream:
            stream.read(len(encoding.mark))
            yield from _regrouped(iter(lambda: stream.read(BLOCK), b""))
        return
    yield from _regrouped(line.encode("utf-8") for _, line in text_lines(path, encoding))


def _regrouped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    kept: list[bytes] = []
    held = 0
    for piece in pieces:
        cut = piece.rfind(b"\n") + 1
        kept.append(piece[:cut] if cut else piece)
        held += len(piece)
        if cut and held >= BLOCK:
            yield b"".join(kept)
            kept, held = [], 0
        if cut:
            if piece[cut:]:
                kept.append(piece[cut:])
            if len(piece) > cut and held == 0:
                held = len(piece) - cut
    if kept:
        yield b"".join(kept)


def csv_records(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """CSV records as raw text with the number of their first line; quoted line ends stay inside."""
    held, first = "", 1
    for number, line in enumerate(lines, start=1):
        if not held:
            first = number
        held += line
        if held.count('"') % 2 == 0:
            yield first, held
            held = ""
    if held:
        yield first, held


def rewrite_csv(rewriter: Rewriter, lines: Iterable[str], out: IO[bytes] | None, separator: str) -> None:
    """Rename in the cells of a CSV file below its header.

    Raises:
        BadInput: broken CSV, with the line.
    """
    import csv

    header: list[str] | None = None
    for number, record in csv_records(lines):
        body = record.rstrip("\r\n")
        new: bytes | None = None
        if header is None and body.strip():
            header = [name.strip().lstrip("\ufeff") for name in next(csv.reader([body], delimiter=separator))]
        elif header is not None and body.strip():
            where = f"{rewriter.path}:{number}"
            new = rewriter.record(body, csv_findings(body, header, rewriter.rules, where, separator), number)
        rewriter.report.lines = number + record.count("\n") - 1
        if out is not None:
            out.write(record.encode("utf-8") if new is None else new + record[len(body) :].encode("utf-8"))


def packed(stream: IO[bytes]) -> gzip.GzipFile:
    """A gzip writer into a stream, the same bytes on every run."""
    return gzip.GzipFile(fileobj=stream, mode="wb", mtime=0)
