"""How a native backend is compiled: for build hooks, where hubbub, cffi and setuptools are build requirements."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hubbub.loop.native.headers import cdef, include_folder

__all__ = ["Library", "compile_backend", "has_stable_abi", "loaded_version", "put", "stable_tag"]

_ASK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location(sys.argv[1], sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.ffi.string(module.lib.hb_version()).decode())
"""


@dataclass(frozen=True)
class Library:
    """A library of the operating system."""

    name: str
    """What the linker calls it: ``ev`` for ``libev.so``."""
    pkg_config_name: str
    """What pkg-config calls it."""

    def compiler_flags(self) -> list[str]:
        """Flags of the compiler that find its header."""
        return self._pkg_config("--cflags") or [f"-I{prefix}/include" for prefix in _brew_prefixes()]

    def linker_flags(self) -> list[str]:
        """Flags of the linker that find it."""
        found = self._pkg_config("--libs")
        return found or [*(f"-L{prefix}/lib" for prefix in _brew_prefixes()), f"-l{self.name}"]

    def _pkg_config(self, question: str) -> list[str]:
        """What pkg-config knows of the library; nothing if there is no pkg-config, or if it does not know it."""
        tool = shutil.which("pkg-config")
        if tool is None:
            return []
        answer = subprocess.run([tool, question, self.pkg_config_name], capture_output=True, text=True, check=False)
        return shlex.split(answer.stdout) if answer.returncode == 0 else []


def _brew_prefixes() -> list[Path]:
    """Where Homebrew installs, on a Mac."""
    prefixes = [Path("/opt/homebrew"), Path("/usr/local")] if sys.platform == "darwin" else []
    return [prefix for prefix in prefixes if prefix.is_dir()]


def has_stable_abi() -> bool:
    """Whether a module that is compiled on this Python runs on later versions too."""
    return sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def compile_backend(module: str, source: Path, library: Library, scratch: str | Path) -> Path:
    """Compile an implementation of the C table.

    :param module: the full name of the extension module.
    :param source: the C file, which includes ``hb.cdef.h``.
    :param scratch: a folder for what the compiler makes.
    :returns: the path of the compiled module. One of the stable ABI has the name that all versions look for.
    :raises cffi.VerificationError: the compiler fails; with its messages.
    """
    ffi = import_module("cffi").FFI()
    ffi.cdef(cdef())
    ffi.set_source(
        module,
        '#include "hb.cdef.h"',
        sources=[str(source)],
        include_dirs=[include_folder(), str(source.parent)],
        define_macros=[("_GNU_SOURCE", "1")],
        extra_compile_args=[*_flags(), *library.compiler_flags()],
        extra_link_args=library.linker_flags(),
        py_limited_api=has_stable_abi(),
    )
    return _named_for_all(Path(ffi.compile(tmpdir=str(scratch))))


def _flags() -> list[str]:
    """For any library. CFLAGS replace Python's own flags; where they do not say how to optimize, this does."""
    given = os.environ.get("CFLAGS", "-O").split()
    optimize = [] if any(flag.startswith("-O") for flag in given) else ["-O2", "-DNDEBUG"]
    return ["-Wall", "-Wextra", "-fvisibility=hidden", *optimize]


def _named_for_all(built: Path) -> Path:
    """From CPython 3.15 on the platform is in the name; earlier versions would not find it."""
    stem, _, rest = built.name.partition(".")
    return built.rename(built.with_name(f"{stem}.abi3.so")) if rest.startswith("abi3-") else built


def loaded_version(module: str, built: Path) -> str:
    """Ask a compiled backend, in a process of its own, for the version of its library.

    :param module: the full name of the extension module.
    :param built: its path.
    :raises subprocess.CalledProcessError: it cannot be loaded, for instance because it is for another machine.
    """
    command = [sys.executable, "-c", _ASK, module, str(built)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def stable_tag(requires_python: str) -> str:
    """The tag of a wheel for the oldest version of CPython that the package takes, and all later ones.

    :param requires_python: for instance ``>=3.11``.
    """
    oldest = requires_python.removeprefix(">=").replace(".", "")
    platform = next(import_module("packaging.tags").sys_tags()).platform
    return f"cp{oldest}-abi3-{platform}"


def put(built: Path, package: Path) -> None:
    """Put a compiled module into ``package``, as a whole: a process that has the old one mapped keeps it."""
    fresh = package / f"{built.name}.new"
    shutil.copy(built, fresh)
    fresh.replace(package / built.name)
    if ".abi3." in built.name:
        # Python would find a build for one version before it.
        for other in package.glob(f"{built.name.partition('.')[0]}.*-*.so"):
            other.unlink()
