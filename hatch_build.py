"""Builds the one compiled module, `identity_kit/rename/_scan.c`, when the package is installed.

It goes by Python's stable interface, so one file serves every version from 3.11 on. Where there is no C compiler, or no
headers of Python, the package is installed without it: `idkit rename` then does the same more slowly.
"""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, HEADER = "identity_kit/rename/_scan.c", "identity_kit/rename/_plain.h"


class CustomBuildHook(BuildHookInterface):
    """Compiles beside the source, where an editable install and the tests look for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            built = _compile(Path(self.root))
        except Exception as error:  # whatever is missing, the package works without
            self.app.display_warning(f"without the compiled part of idkit rename: {error}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        build_data["artifacts"].append(built)


def _compile(root: Path) -> str:
    """The compiled module's path, relative to the project."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    flags = [] if sysconfig.get_platform().startswith("win") else ["-O3"]
    name = SOURCE.removesuffix(".c").replace("/", ".")
    extension = Extension(
        name, [str(root / SOURCE)], depends=[str(root / HEADER)], py_limited_api=True, extra_compile_args=flags
    )
    command = build_ext(
        Distribution({"name": "identity_kit", "ext_modules": [extension], "package_dir": {"": str(root)}})
    )
    command.inplace = True
    with tempfile.TemporaryDirectory() as folder:
        command.build_temp = folder
        command.ensure_finalized()
        command.run()
    return Path(command.get_ext_fullpath(name)).resolve().relative_to(root.resolve()).as_posix()
