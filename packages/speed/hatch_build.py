"""Build hook: compiles the extension module."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "hubbub_speed._stack_chunks"


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled module into the wheel, or beside its source for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure ends the build with the compiler's words."""
        refuse_other_pythons()
        package = Path(self.root, "src", MODULE.partition(".")[0])
        self.scratch = tempfile.mkdtemp()
        built = compile_extension(package, self.scratch)
        if version == "editable":
            put(built, package / built.name)
        else:
            build_data["force_include"][str(built)] = f"{package.name}/{built.name}"
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what compiling left behind."""
        shutil.rmtree(self.scratch)


def refuse_other_pythons() -> None:
    """Says so early that there is nothing here for other Pythons."""
    if sys.implementation.name != "cpython":
        raise RuntimeError(f"hubbub-speed speeds up CPython; on {sys.implementation.name} go without it")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise RuntimeError("hubbub-speed is not for free-threaded builds of CPython: go without it")


def put(built: Path, target: Path) -> None:
    """Replaces the module as a whole: a process that has the old one mapped keeps it."""
    fresh = target.with_suffix(".new")
    shutil.copy(built, fresh)
    fresh.replace(target)


def compile_extension(package: Path, scratch: str) -> Path:
    """Compiles the C of ``package`` in the folder ``scratch``; returns the path of the module."""
    ffi = FFI()
    ffi.cdef((package / "stack_chunks.cdef.h").read_text())
    ffi.set_source(
        MODULE,
        '#include "stack_chunks.cdef.h"',
        sources=[str(package / "stack_chunks.c")],
        include_dirs=[str(package)],
        define_macros=[("_CFFI_NO_LIMITED_API", "1")],  # the arena allocator is not in the limited API
        extra_compile_args=["-Wall", "-Wextra", "-fvisibility=hidden"],
    )
    return Path(ffi.compile(tmpdir=scratch))
