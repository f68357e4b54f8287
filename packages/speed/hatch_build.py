"""Build hook: compiles the extension modules."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import greenlet
from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension

PACKAGE = "hubbub_speed"
WARNINGS = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fvisibility=hidden"]


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel, or beside their sources for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure ends the build with the compiler's words."""
        refuse_other_pythons()
        package = Path(self.root, "src", PACKAGE)
        self.scratch = tempfile.mkdtemp()
        for built in (compile_stack_chunks(package, self.scratch), compile_methods(package, self.scratch)):
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


def compile_stack_chunks(package: Path, scratch: str) -> Path:
    """Compiles the cache of stack chunks in the folder ``scratch``; returns the path of the module."""
    ffi = FFI()
    ffi.cdef((package / "stack_chunks.cdef.h").read_text())
    ffi.set_source(
        f"{PACKAGE}._stack_chunks",
        '#include "stack_chunks.cdef.h"',
        sources=[str(package / "stack_chunks.c")],
        include_dirs=[str(package)],
        define_macros=[("_CFFI_NO_LIMITED_API", "1")],  # the arena allocator is not in the limited API
        extra_compile_args=WARNINGS,
    )
    return Path(ffi.compile(tmpdir=scratch))


def compile_methods(package: Path, scratch: str) -> Path:
    """Compiles the methods of core, which need the headers of greenlet; otherwise as the other."""
    extension = Extension(
        f"{PACKAGE}._methods",
        sources=sorted(map(str, package.glob("native/*.c"))),
        include_dirs=[str(Path(greenlet.__file__).parent.parent)],
        extra_compile_args=WARNINGS,
    )
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = scratch
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(extension.name))
