"""The coloured diff of a dry run: the first changed lines, cut to what changed."""

from __future__ import annotations

import difflib

from identity_kit.rename.report import Report
from identity_kit.ui import console

_CONTEXT = 12
_FIRST = 8


def show_diffs(report: Report) -> None:
    """Print the first changed lines with the old text struck out in red and the new in green."""
    from rich.text import Text

    for example in report.diffs[:_FIRST]:
        line = Text(f"{example.where}  ", style="dim")
        for old, new, kept in _pieces(example.first, example.second):
            line.append(kept, style="default")
            line.append(old, style="red strike")
            line.append(new, style="green")
        console().print(line, soft_wrap=True)


def _pieces(before: str, after: str) -> list[tuple[str, str, str]]:
    """(removed, added, text before them) for each change, long unchanged stretches cut to their ends."""
    pieces: list[tuple[str, str, str]] = []
    kept = ""
    for tag, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            kept = _cut(before[a:b], first=not pieces, last=b == len(before))
        else:
            pieces.append((before[a:b], after[c:d], kept))
            kept = ""
    return [*pieces, ("", "", kept)]


def _cut(text: str, *, first: bool, last: bool) -> str:
    if len(text) <= 2 * _CONTEXT:
        return text
    head = "" if first else text[:_CONTEXT]
    tail = "" if last else text[-_CONTEXT:]
    return f"{head}…{tail}"
