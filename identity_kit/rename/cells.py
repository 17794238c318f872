"""The texts inside JSON and CSV, found in the raw text, so that a change touches nothing but its own characters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from identity_kit.errors import BadInput
from identity_kit.rename.match import Edit, Findings, Note, find
from identity_kit.rename.rules import Rules
from identity_kit.ui import tr

# Values that are no prose: they name things for programs.
LEFT_FIELDS = frozenset(
    [
        "id",
        "uuid",
        "role",
        "from",
        "facet",
        "kind",
        "language",
        "lang",
        "source",
        "model",
        "prompt_hash",
        "sha256",
        "hash",
        "url",
        "image",
        "images",
        "audio",
        "video",
        "videos",
        "audios",
        "path",
        "file",
        "file_name",
        "filename",
        "type",
        "created_at",
        "timestamp",
        "date",
    ]
)
# A string, its plain stretches taken in one step each, or a mark of JSON's structure.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
# What a string without a name may have to be read for: escapes behind which there is one, and slots.
_MAY_HIDE = re.compile(r"[\\{<\[]")
_DEPTH = 4


@dataclass(frozen=True)
class FieldFindings:
    """What was found in one value: its field's name, and findings whose places are in the raw text."""

    field: str
    findings: Findings


def left_alone(field: str) -> bool:
    """Whether a field's value is never renamed: roles, ids, paths and the like."""
    name = field.lower()
    return name in LEFT_FIELDS or name.endswith(("_id", "_hash", "_url", "_path"))


def decode_string(raw: str) -> str:
    """The inside of a JSON string literal, its escapes resolved.

    Raises:
        ValueError: an escape that JSON does not know.
    """
    return raw if "\\" not in raw else str(json.loads(f'"{raw}"', strict=False))


def string_places(raw: str, base: int) -> Sequence[int]:
    """For each character of a decoded string, and its end, where it stands in the raw text that starts at `base`."""
    if "\\" not in raw:
        return range(base, base + len(raw) + 1)
    places: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(raw):
        places += range(base + at, base + match.start())
        places.append(base + match.start())
        at = match.end()
    places += range(base + at, base + len(raw) + 1)
    return places


def json_findings(text: str, rules: Rules, where: str, *, depth: int = 0, key: str = "") -> Iterator[FieldFindings]:
    """What to change in a piece of JSON text: whole values, or lines of an array.

    Args:
        key: the last key before the piece, whose list may go on in it.

    Raises:
        BadInput: a string with an escape that JSON does not know.
    """
    stack: list[str] = [key]
    tokens = list(_TOKEN.finditer(text))
    for i, token in enumerate(tokens):
        mark = token.group()
        if mark in "{[":
            stack.append(key)
        elif mark in "}]":
            key = stack.pop() if len(stack) > 1 else key
        elif mark[0] == '"':
            is_key = i + 1 < len(tokens) and tokens[i + 1].group() == ":"
            if is_key:
                key = mark[1:-1]
            start = token.start() + 1
            found = string_findings(mark[1:-1], start, key, rules, where, depth, is_key=is_key)
            yield from found


def string_findings(
    raw: str, start: int, field: str, rules: Rules, where: str, depth: int, *, is_key: bool
) -> Iterator[FieldFindings]:
    if not rules.starts.search(raw) and not _MAY_HIDE.search(raw):
        return  # most strings of a line; a broken escape was met before, when the line was parsed
    try:
        value = decode_string(raw)
    except ValueError:
        raise BadInput(
            tr(f"字段 “{field}” 里有无效的转义", f'an invalid escape in field "{field}"'), where=where
        ) from None
    if not is_key and depth < _DEPTH and value[:1] in ("{", "[") and value[-1:] in ("}", "]") and _is_json(value):
        places = string_places(raw, start)
        for inner in json_findings(value, rules, where, depth=depth + 1):
            yield FieldFindings(
                f"{field}.{inner.field}" if inner.field else field, _to_raw(inner.findings, places, raw)
            )
        return
    found = find(value, rules)
    if is_key or left_alone(field):
        reason = "key" if is_key else "field"
        notes = [Note(e.start, e.end, reason, value[e.start : e.end]) for e in found.edits]
        found = Findings([], notes, [])
    if found.edits or found.skipped or found.left:
        yield FieldFindings(field, _to_raw(found, string_places(raw, start), raw))


def _is_json(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict | list)
    except ValueError:
        return False


def _to_raw(found: Findings, places: Sequence[int], raw: str) -> Findings:
    """The findings with their places in the raw text, new texts escaped the way the string is."""
    ascii_only = raw.isascii() and "\\u" in raw

    def escape(text: str) -> str:
        return json.dumps(text, ensure_ascii=ascii_only)[1:-1]

    return Findings(
        [Edit(places[e.start], places[e.end], escape(e.new), e.name) for e in found.edits],
        [Note(places[n.start], places[n.end], n.reason, n.text) for n in found.skipped],
        [Note(places[n.start], places[n.end], n.reason, n.text) for n in found.left],
    )


_CELL = re.compile(r'"((?:[^"]|"")*)"|([^,"\r\n\t][^,\r\n]*|)')
_TSV_CELL = re.compile(r'"((?:[^"]|"")*)"|([^"\r\n\t][^\r\n\t]*|)')


def csv_findings(record: str, header: list[str], rules: Rules, where: str, separator: str) -> Iterator[FieldFindings]:
    """What to change in one CSV record (its raw text without the line end).

    A cell whose new text needs quotes is replaced whole.

    Raises:
        BadInput: the record is not CSV, or has more cells than the header.
    """
    pattern = _TSV_CELL if separator == "\t" else _CELL
    at, column = 0, 0
    while True:
        cell = pattern.match(record, at)
        if cell is None or column >= len(header):
            raise BadInput(
                tr(f"CSV 有错：第 {column + 1} 列", f"broken CSV: cell {column + 1}"),
                where=where,
                fix=tr("检查引号和列数", "check the quotes and the number of cells"),
            )
        field = header[column]
        quoted = cell[1] is not None
        raw = cell[1] if quoted else cell[2]
        if raw:
            yield from _cell_findings(raw, cell.start() + quoted, quoted, field, rules, where, separator)
        at, column = cell.end(), column + 1
        if at >= len(record):
            return
        if record[at] != separator:
            raise BadInput(tr(f"CSV 有错：第 {column} 列", f"broken CSV: cell {column}"), where=where)
        at += 1


def _cell_findings(
    raw: str, start: int, quoted: bool, field: str, rules: Rules, where: str, separator: str
) -> Iterator[FieldFindings]:
    text: list[str] = []
    places: list[int] = []
    i = 0
    while i < len(raw):
        text.append(raw[i])
        places.append(start + i)
        i += 2 if quoted and raw.startswith('""', i) else 1
    value = "".join(text)
    places.append(start + len(raw))
    if value[:1] in ("{", "[") and _is_json(value):
        parts = list(json_findings(value, rules, where, depth=1))
    else:
        parts = [FieldFindings("", find(value, rules))]
    for part in parts:
        found, name = part.findings, f"{field}.{part.field}" if part.field else field
        if left_alone(field):
            notes = [Note(e.start, e.end, "field", value[e.start : e.end]) for e in found.edits]
            found = Findings([], notes, [])
        if not (found.edits or found.skipped or found.left):
            continue
        needs = not quoted and any(c in edit.new for edit in found.edits for c in (separator, '"', "\n"))
        edits = []
        for k, edit in enumerate(found.edits):
            new = edit.new.replace('"', '""') if quoted or needs else edit.new
            first, last = places[edit.start], places[edit.end]
            if needs and k == 0:
                new, first = '"' + raw[: first - start].replace('"', '""') + new, start
            if needs and k == len(found.edits) - 1:
                new, last = new + raw[last - start :].replace('"', '""') + '"', start + len(raw)
            edits.append(Edit(first, last, new, edit.name))
        yield FieldFindings(
            name,
            Findings(
                edits,
                [Note(places[n.start], places[n.end], n.reason, n.text) for n in found.skipped],
                [Note(places[n.start], places[n.end], n.reason, n.text) for n in found.left],
            ),
        )
