"""Where the shipped prompts, data and recipes lie: inside the installed package, or at the root of a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from identity_kit.errors import BadInput
from identity_kit.ui import tr

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """The path of a shipped file or folder, e.g. `resource("data", "vendors.yaml")`.

    Raises:
        BadInput: the file does not exist in this installation.
    """
    for root in (_PACKAGE / "_resources", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    name = "/".join(parts)
    raise BadInput(
        tr(f"安装中缺少文件 {name}", f"this installation lacks {name}"),
        fix=tr("请重新安装 identity-kit", "reinstall identity-kit"),
    )


@cache
def protected_words() -> tuple[str, ...]:
    """The words of data/protected.txt: each holds what may be somebody's name, and is something else."""
    lines = resource("data", "protected.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
