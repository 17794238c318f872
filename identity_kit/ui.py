"""What a person sees: the language of messages, and the one console for everything that is not data.

Data goes to stdout; every word of ours goes to stderr through `console`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

Language = Literal["zh", "en"]

_language: Language = "en"
_quiet = False
_verbose = False
_console: Console | None = None


def detect_language() -> Language:
    """The interface language: IDKIT_UI, else the locale's, else English."""
    for variable in ("IDKIT_UI", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(variable, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def configure(language: Language | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
    """Set the interface language and how much is said, once, at the start of a command."""
    global _language, _quiet, _verbose
    _language = language or detect_language()
    _quiet, _verbose = quiet, verbose


def tr(zh: str, en: str) -> str:
    """The text in the interface language. Both stand side by side in the code so that neither goes stale."""
    return zh if _language == "zh" else en


def language() -> Language:
    """The interface language in force."""
    return _language


def console() -> Console:
    """The console for words, on stderr."""
    global _console
    if _console is None or _console.file is not sys.stderr:
        from rich.console import Console

        _console = Console(stderr=True, highlight=False)
    return _console


def say(text: str, *, style: str = "") -> None:
    """One line for the user, silent under `-q`. Square brackets in `text` are text, not markup."""
    if not _quiet:
        console().print(text, style=style or None, markup=False, soft_wrap=True)


def detail(text: str) -> None:
    """One line that only `-v` shows."""
    if _verbose:
        say(text, style="dim")


def quiet() -> bool:
    """Whether `-q` was given: no progress bars, no remarks."""
    return _quiet
