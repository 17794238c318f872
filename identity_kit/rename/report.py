"""What a rename did, as counts and examples; parts from several processes add up."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from identity_kit.rename.match import Findings

# How many examples of each kind a report keeps.
SHOWN = 20
SKIPPED_FOR_GOOD = ("protected", "url", "email", "code", "file", "handle", "domain", "field", "key")


@dataclass
class Example:
    """One place to show: where, and what (a reason and the text; or the line before and after)."""

    line: int
    first: str
    second: str
    path: str = ""

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"


@dataclass
class Report:
    """Counts of a rename.

    `changed` counts spans by old name and field, `skipped` names left alone by reason, `left` what a person must look
    at (placeholders without a value, names that only context can tell). Lines are those of the files read.
    """

    lines: int = 0
    changed_lines: int = 0
    changed: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    skipped: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    skipped_examples: list[Example] = field(default_factory=list)
    left_examples: list[Example] = field(default_factory=list)
    diffs: list[Example] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: int = 0

    @property
    def total(self) -> int:
        """How many spans were changed."""
        return sum(sum(fields.values()) for fields in self.changed.values())

    def note(self, name: str, findings: Findings, line: int) -> None:
        """Count what was found in one field of one line."""
        for edit in findings.edits:
            self.changed[edit.name][name] += 1
        for notes, counts, examples in (
            (findings.skipped, self.skipped, self.skipped_examples),
            (findings.left, self.left, self.left_examples),
        ):
            for note in notes:
                counts[note.reason] += 1
                if len(examples) < SHOWN:
                    examples.append(Example(line, note.reason, note.text))

    def show(self, line: int, before: str, after: str) -> None:
        """Keep one of the first changed lines for the diff."""
        if len(self.diffs) < SHOWN:
            self.diffs.append(Example(line, before, after))

    def add(self, other: Report) -> None:
        """Take in the report on the lines that follow these."""
        for examples, others in (
            (self.skipped_examples, other.skipped_examples),
            (self.left_examples, other.left_examples),
            (self.diffs, other.diffs),
        ):
            for example in others[: SHOWN - len(examples)]:
                examples.append(Example(example.line + self.lines, example.first, example.second, example.path))
        self.lines += other.lines
        self.changed_lines += other.changed_lines
        self.files += other.files
        for name, fields in other.changed.items():
            self.changed[name].update(fields)
        self.skipped.update(other.skipped)
        self.left.update(other.left)
        self.remarks += [remark for remark in other.remarks if remark not in self.remarks]

    def locate(self, path: str) -> None:
        """Say which file the examples are from."""
        for example in (*self.skipped_examples, *self.left_examples, *self.diffs):
            example.path = example.path or path

    def add_file(self, other: Report) -> None:
        """Take in the report on another file, whose lines are counted from one."""
        lines, self.lines = self.lines, 0
        self.add(other)
        self.lines += lines

    def as_json(self) -> dict[str, Any]:
        """The report as `--report` writes it."""

        def places(examples: list[Example]) -> list[dict[str, str]]:
            return [{"where": e.where, "reason": e.first, "text": e.second} for e in examples]

        return {
            "files": self.files,
            "lines": self.lines,
            "changed_lines": self.changed_lines,
            "changed": {name: dict(fields) for name, fields in self.changed.items()},
            "skipped": dict(self.skipped),
            "left": dict(self.left),
            "skipped_examples": places(self.skipped_examples),
            "left_examples": places(self.left_examples),
            "remarks": self.remarks,
        }
