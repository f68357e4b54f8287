"""Build hook: compiles the extension module on the system's libev."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cffi import FFI
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "hubbub_loop_libev._libev"
SOURCE = "libev.c"
LIBRARY = "ev"
PKG_CONFIG_NAME = "libev"


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled module into the wheel, or beside its source for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles; a failure ends the build with the compiler's words."""
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


def put(built: Path, target: Path) -> None:
    """Replaces the module as a whole: a process that has the old one mapped keeps it."""
    fresh = target.with_suffix(".new")
    shutil.copy(built, fresh)
    fresh.replace(target)


def compile_extension(package: Path, scratch: str) -> Path:
    """Compiles the C of ``package`` in the folder ``scratch``; returns the path of the module."""
    ffi = FFI()
    ffi.cdef((package / "hb.cdef.h").read_text())
    ffi.set_source(
        MODULE,
        '#include "hb.cdef.h"',
        sources=[str(package / SOURCE)],
        include_dirs=[str(package)],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=["-Wall", "-Wextra", "-fvisibility=hidden", *where_headers_are()],
        extra_link_args=where_library_is(),
    )
    return Path(ffi.compile(tmpdir=scratch))


def where_headers_are() -> list[str]:
    """Flags of the compiler that find the library's header."""
    return pkg_config("--cflags") or [f"-I{prefix}/include" for prefix in brew_prefixes()]


def where_library_is() -> list[str]:
    """Flags of the linker that find the library."""
    return pkg_config("--libs") or [*(f"-L{prefix}/lib" for prefix in brew_prefixes()), f"-l{LIBRARY}"]


def pkg_config(question: str) -> list[str]:
    """What pkg-config knows of the library; nothing where there is no pkg-config, or it knows nothing."""
    tool = shutil.which("pkg-config")
    if tool is None:
        return []
    answer = subprocess.run([tool, question, PKG_CONFIG_NAME], capture_output=True, text=True, check=False)
    return shlex.split(answer.stdout) if answer.returncode == 0 else []


def brew_prefixes() -> list[Path]:
    """Where Homebrew installs, on a Mac."""
    prefixes = [Path("/opt/homebrew"), Path("/usr/local")] if sys.platform == "darwin" else []
    return [prefix for prefix in prefixes if prefix.is_dir()]
