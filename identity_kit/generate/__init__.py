"""Write a data set for a persona: plan the rows, compose or ask for them, pass them through gates.

`from identity_kit.generate import GenerateSettings, generate` is all that other code needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from identity_kit.generate.engine import GenerateResult, generate
    from identity_kit.generate.settings import GenerateSettings, settings_for

__all__ = ["GenerateResult", "GenerateSettings", "generate", "settings_for"]

_HOME = {"GenerateResult": "engine", "generate": "engine"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that importing one part does not load the HTTP client."""
    if name not in __all__:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"identity_kit.generate.{_HOME.get(name, 'settings')}"), name)
