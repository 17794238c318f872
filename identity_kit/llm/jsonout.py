"""A JSON object out of what a model wrote: as it stands, else mended, and which mends were needed."""

from __future__ import annotations

import json
import re
from typing import Any

from identity_kit.text import split_thoughts

_FENCE = re.compile(r"```(?:json|JSON)?\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_TRAILING = re.compile(r",(\s*[}\]])")
_QUOTES = str.maketrans({"“": '"', "”": '"', "：": ":", "，": ","})


def parse_object(text: str, keys: tuple[str, ...]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The object with all of `keys` in a model's reply, and the repairs it took; None where there is none.

    Repairs, in this order: reasoning cut out, a code fence taken off, words around the object dropped, comments and
    trailing commas removed, raw line breaks in strings escaped, full-width quotation marks made plain, an object that
    was cut short closed.
    """
    value = _load(text, keys)
    if value is not None:
        return value, ()
    repairs: list[str] = []
    body = text
    for name, mend in (
        ("reasoning cut out", lambda t: split_thoughts(t)[1]),
        ("fence taken off", lambda t: found[1] if (found := _FENCE.search(t)) and "{" in found[1] else t),
        ("words around dropped", _object_in),
        ("trailing comma removed", lambda t: _TRAILING.sub(r"\1", t)),
        ("line break escaped", _escape_breaks),
        ("quotation marks made plain", _plain_quotes),
        ("cut object closed", _close),
    ):
        mended = mend(body)
        if mended != body:
            repairs.append(name)
            body = mended
            value = _load(body, keys)
            if value is not None:
                return value, tuple(repairs)
    return None, tuple(repairs)


def _load(text: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=True)
    except (json.JSONDecodeError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict) or any(key not in value for key in keys):
        return None
    return value


def _object_in(text: str) -> str:
    """From the first brace to its partner, or to the end where it has none."""
    start = text.find("{")
    if start < 0:
        return text
    depth, quoted, escaped = 0, False, False
    for place in range(start, len(text)):
        c = text[place]
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = quoted
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "{[":
            depth += 1
        elif not quoted and c in "}]":
            depth -= 1
            if depth == 0:
                return text[start : place + 1]
    return text[start:]


def _escape_breaks(text: str) -> str:
    out, quoted, escaped = [], False, False
    for c in text:
        if quoted and not escaped and c in "\n\r\t":
            out.append({"\n": "\\n", "\r": "", "\t": "\\t"}[c])
            continue
        if c == '"' and not escaped:
            quoted = not quoted
        escaped = c == "\\" and not escaped
        out.append(c)
    return "".join(out)


def _plain_quotes(text: str) -> str:
    """Full-width marks made plain, where no ASCII quotation mark stands at all."""
    return text if '"' in text else text.translate(_QUOTES)


def _close(text: str) -> str:
    """Close what a cut-off object left open; a string that was being written ends where it was cut."""
    stack: list[str] = []
    quoted = escaped = False
    for c in text:
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = quoted
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "{[":
            stack.append("}" if c == "{" else "]")
        elif not quoted and c in "}]" and stack:
            stack.pop()
    if not stack:
        return text
    body = text[:-1] if escaped else text
    if quoted:
        body += '"'
    body = body.rstrip().rstrip(",")
    if body.endswith(":"):
        body += "null"
    return body + "".join(reversed(stack))
