"""The errors that a user is meant to read: one line, what, where and how to mend.

Exit codes: 0 done; 1 checked and found wanting; 2 usage or bad input; 3 stopped part-way, resumable; 130 interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

DONE, WANTING, BAD_INPUT, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


class IdkitError(Exception):
    """A failure with a known cause.

    Args:
        what: what is wrong, without a final full stop.
        where: the place, as `file:line`, a key or an address; empty where `what` already names it.
        fix: the command or the edit that mends it.
    """

    exit_code = BAD_INPUT

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(f"{line}; {self.fix}".split() if self.fix else line.split())


class BadInput(IdkitError):
    """The user's file, option or environment is wrong (exit 2)."""


class Stopped(IdkitError):
    """Work stopped part-way with everything so far kept; `fix` says how to go on (exit 3)."""

    exit_code = STOPPED


@contextlib.contextmanager
def resumed_by(advice: str) -> Iterator[None]:
    """Within a longer command, a stage that stops names that command, not its own, as the way on."""
    try:
        yield
    except Stopped as error:
        raise Stopped(error.what, where=error.where, fix=advice) from error
