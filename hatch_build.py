"""Builds the two compiled modules, `identity_kit/rename/_scan.c` and `identity_kit/models/_fused.c`, on installation.

They go by Python's stable interface, so one file serves every version from 3.11 on. Where there is no C compiler, or no
headers of Python, the package is installed without them: `idkit rename` and `idkit train` then do the same more slowly.
"""

from __future__ import annotations

import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Sums may be taken in any order, so that they fill the processor's registers; the flags change nothing else that matters
# there, and unlike -ffast-math nothing outside the module.
_ANY_ORDER = ["-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math"]
# Each source with the headers that it reads and the flags that it wants.
MODULES: list[tuple[str, list[str], list[str]]] = [
    ("identity_kit/rename/_scan.c", ["identity_kit/rename/_plain.h"], []),
    ("identity_kit/models/_fused.c", [], _ANY_ORDER),
]


class CustomBuildHook(BuildHookInterface):
    """Compiles beside the source, where an editable install and the tests look for it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        built = []
        for module in MODULES:
            try:
                built.append(_compile(Path(self.root), *module))
            except Exception as error:  # whatever is missing, the package works without
                self.app.display_warning(f"without {module[0]}, compiled, which makes things faster: {error}")
        if not built:
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
        build_data["artifacts"].extend(built)


def _compile(root: Path, source: str, headers: list[str], flags: list[str]) -> str:
    """The compiled module's path, relative to the project."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension(
        name := source.removesuffix(".c").replace("/", "."),
        [str(root / source)],
        depends=[str(root / header) for header in headers],
        py_limited_api=True,
        extra_compile_args=[] if sysconfig.get_platform().startswith("win") else ["-O3", *flags],
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
