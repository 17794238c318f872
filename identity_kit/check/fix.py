"""A cleaned copy of a data set: the rows that an audit found wanting left out, the others as they were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from identity_kit.check.audit import ISSUES, Audit
from identity_kit.errors import BadInput
from identity_kit.formats.containers import open_rows
from identity_kit.formats.dataset import raw_rows
from identity_kit.ui import tr

# Kinds whose rows go: what is broken or wrong, and repeats. Lengths, near duplicates and cuts by length stay.
DROPPED = (
    "broken", "not_text", "roles", "empty", "placeholder", "garbled", "vendor", "owner", "human", "probe", "bleed",
    "duplicate", "cut", "echo",
)  # fmt: skip


@dataclass
class Fixed:
    """How many rows stay, and how many were left out for each reason (a row counts once, for its first reason)."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def fix(source: Path | str, target: Path, audit: Audit) -> Fixed:
    """Write the rows of `source` that the audit has nothing serious against, all their fields kept, as UTF-8.

    Raises:
        BadInput: the target is the source.
        Stopped: the disk is full.
    """
    if Path(source).exists() and target.exists() and Path(source).samefile(target):
        raise BadInput(
            tr("输出就是输入", "the output is the input"),
            where=str(target),
            fix=tr("给 --fix 另一个文件名", "give --fix another name"),
        )
    reasons: dict[int, str] = {}
    for kind in DROPPED:
        for issue in audit.issues:
            if issue.kind == kind:
                reasons.setdefault(issue.row, kind)
    result = Fixed()
    with open_rows(target) as out:
        for number, (_, row, _) in enumerate(raw_rows(source, audit.format), start=1):
            reason = reasons.get(number)
            if reason is not None:
                result.dropped[tr(*ISSUES[reason][1])] += 1
            elif isinstance(row, BadInput):
                result.dropped[tr(*ISSUES["broken"][1])] += 1
            else:
                out.write(row)
                result.kept += 1
    return result
