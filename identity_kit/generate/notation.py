"""Names within code: an answer form that is JSON, a call, markup or a table row stays one, whatever the name holds."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping

import yaml

_SLOT = r"\{\{\s*(\w+)\s*\}\}"
_CODE = re.compile(rf"[=(]\s*[\"']{_SLOT}|\{{\s*\"|\": ?\"|\breturn \"|-> \"|[{{,] ?\w+: '{_SLOT}'|^\('{_SLOT}'")
_SQL = re.compile(r"\bVALUES ?\(|^\('")
_APOSTROPHES = re.compile(rf"'{_SLOT}'")
_ANY_SLOT = re.compile(_SLOT)
_TAG = re.compile(r"^<\w")
_CSV_LINE = re.compile(rf"^{_SLOT}(?:,{_SLOT})+$", re.MULTILINE)
_YAML_LINE = re.compile(rf"(?<=: ){_SLOT}$", re.MULTILINE)
_YAML = re.compile(rf"(?:^\s*[a-z_]+: {_SLOT}$\n?)+|^\w+:\n  \w+: {_SLOT}$", re.MULTILINE)
_HASHTAG = re.compile(rf"#{_SLOT}")


def written(form: str, values: Mapping[str, str]) -> str | None:
    """The form with its `{{slots}}` replaced, each as the form's notation writes it; None where that cannot be done.

    Args:
        form: an answer form all of whose slots have a value.
        values: the slots' values, in plain words.
    """
    if any(not values[found[1]].replace("_", "").isalnum() for found in _HASHTAG.finditer(form)):
        return None  # a hashtag ends at the first space or sign
    if _CODE.search(form):
        return _code(form, values)
    if _TAG.search(form):
        return _ANY_SLOT.sub(lambda slot: html.escape(values[slot[1]], quote=False), form)
    if form.startswith("|"):
        return _ANY_SLOT.sub(lambda slot: _cells(slot[1], values), form)
    form = _CSV_LINE.sub(lambda line: _ANY_SLOT.sub(lambda slot: _csv(values[slot[1]]), line[0]), form)
    if _YAML.fullmatch(form):
        form = _YAML_LINE.sub(lambda slot: _yaml(values[slot[1]]), form)
    return _ANY_SLOT.sub(lambda slot: values[slot[1]], form)


def _code(form: str, values: Mapping[str, str]) -> str | None:
    def apostrophes(slot: re.Match[str]) -> str:
        value = values[slot[1]]
        if "'" not in value:
            return f"'{_escaped(value) if chr(92) in value else value}'"
        # SQL doubles it; all others that write '…' have "…" as well.
        return "'" + value.replace("'", "''") + "'" if _SQL.search(form) else f'"{_escaped(value)}"'

    text = _ANY_SLOT.sub(lambda slot: _escaped(values[slot[1]]), _APOSTROPHES.sub(apostrophes, form))
    if form.startswith(('{"', '["')):
        try:
            json.loads(text)
        except ValueError:
            return None
    return text


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _cells(slot: str, values: Mapping[str, str]) -> str:
    # What fills whole rows has cells of its own.
    return values[slot] if slot.endswith("_rows") else values[slot].replace("|", "\\|")


def _csv(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if re.search(r'[",]', value) else value


def _yaml(value: str) -> str:
    try:
        plain = yaml.safe_load(f"key: {value}") == {"key": value}
    except yaml.YAMLError:
        plain = False
    return value if plain else f'"{_escaped(value)}"'


def read_plainly(text: str) -> str:
    """The text with the marks gone that `written` puts into names, so that these can be found in it."""
    return html.unescape(re.sub(r'\\([\\"|])', r"\1", text).replace("''", "'").replace('""', '"'))
