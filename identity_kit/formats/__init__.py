"""Data sets in the formats that trainers read, to and from the one record.

`detect`, `read`, `write` and `convert` are the whole interface, made in `dataset`; every format is one small module. They
are loaded when first used, for `idkit rename` needs nothing but `encoding` from here and starts in a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from identity_kit.formats.dataset import (
        STYLES,
        Written,
        convert,
        detect,
        detect_row,
        read,
        read_placed,
        read_tolerant,
        write,
    )

FORMATS = ("messages", "xtuner", "alpaca", "sharegpt", "swift", "openai", "llamafactory", "dpo", "kto")

__all__ = [
    "FORMATS",
    "STYLES",
    "Written",
    "convert",
    "detect",
    "detect_row",
    "read",
    "read_placed",
    "read_tolerant",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    from identity_kit.formats import dataset

    return getattr(dataset, name)
