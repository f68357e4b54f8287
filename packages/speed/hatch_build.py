"""Build hook: compiles the extension modules."""

from __future__ import annotations

import os
import runpy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "hubbub_speed"
WARNINGS = ["-Wall", "-Wextra", "-Wno-missing-field-initializers", "-fvisibility=hidden"]


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled modules into the wheel, or beside their sources for an editable install.

    Where there is nothing to compile, the wheel has none, and is for such Pythons alone.
    """

    scratch: str | None = None

    @property
    def package(self) -> Path:
        """The folder of the package."""
        return Path(self.root, "src", PACKAGE).resolve()

    def dependencies(self) -> list[str]:
        """What compiling takes, where there is something to compile."""
        return [] if unsupported(self.package) else list(self.config["compiling"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure ends the build with the compiler's words."""
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if reason := unsupported(self.package):
            self.app.display_warning(reason)
            return
        self.scratch = tempfile.mkdtemp()
        for built in (compile_stack_chunks(self.package, self.scratch), compile_methods(self.package, self.scratch)):
            if version == "editable":
                put(built, self.package / built.name)
            else:
                build_data["force_include"][str(built)] = f"{self.package.name}/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what compiling left behind."""
        if self.scratch:
            shutil.rmtree(self.scratch)


def unsupported(package: Path) -> str:
    """Why there is nothing for this Python, as the package itself will say; empty where there is."""
    reason: str = runpy.run_path(str(package / "_support.py"))["unsupported"]()
    return reason


def flags() -> list[str]:
    """For the compiler. CFLAGS replace Python's own flags; where they do not say how to optimize, this does."""
    given = os.environ.get("CFLAGS", "-O").split()
    return WARNINGS if any(flag.startswith("-O") for flag in given) else [*WARNINGS, "-O2", "-DNDEBUG"]


def put(built: Path, target: Path) -> None:
    """Replaces the module as a whole: a process that has the old one mapped keeps it."""
    fresh = target.with_suffix(".new")
    shutil.copy(built, fresh)
    fresh.replace(target)


def compile_stack_chunks(package: Path, scratch: str) -> Path:
    """Compiles the cache of stack chunks in the folder ``scratch``; returns the path of the module."""
    from cffi import FFI  # not to be had everywhere, like what is imported below

    ffi = FFI()
    ffi.cdef((package / "stack_chunks.cdef.h").read_text())
    ffi.set_source(
        f"{PACKAGE}._stack_chunks",
        '#include "stack_chunks.cdef.h"',
        sources=[str(package / "stack_chunks.c")],
        include_dirs=[str(package)],
        define_macros=[("_CFFI_NO_LIMITED_API", "1")],  # the arena allocator is not in the limited API
        extra_compile_args=flags(),
    )
    return Path(ffi.compile(tmpdir=scratch))


def compile_methods(package: Path, scratch: str) -> Path:
    """Compiles the methods of core, which need the headers of greenlet; otherwise as the other."""
    import greenlet
    from setuptools import Distribution, Extension

    extension = Extension(
        f"{PACKAGE}._methods",
        sources=sorted(map(str, package.glob("native/*.c"))),
        include_dirs=[str(Path(greenlet.__file__).parent.parent)],
        extra_compile_args=flags(),
    )
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = scratch
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(extension.name))
