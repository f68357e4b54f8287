"""Build hook: compiles the extension module on the system's libev."""

from __future__ import annotations

import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

MODULE = "hubbub_loop_libev._libev"
SOURCE = "libev.c"
LIBRARY = "ev"
PKG_CONFIG_NAME = "libev"


class ExtensionHook(BuildHookInterface[Any]):
    """Puts the compiled module into the wheel, or beside its source for an editable install.

    Where there is nothing to compile, the wheel has none, and is for such Pythons alone.
    """

    scratch: str | None = None

    @property
    def package(self) -> Path:
        """The folder of the package."""
        return Path(self.root, "src", MODULE.partition(".")[0]).resolve()

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
        built = named_for_all(compile_extension(self.package, self.scratch))
        if version == "editable":
            put(built, self.package)
        else:
            build_data["force_include"][str(built)] = f"{self.package.name}/{built.name}"
        if ".abi3." in built.name:
            build_data["infer_tag"] = False
            build_data["tag"] = stable_tag(self.metadata.core.requires_python)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what compiling left behind."""
        if self.scratch:
            shutil.rmtree(self.scratch)


def unsupported(package: Path) -> str:
    """Why there is nothing for this Python, as the package itself will say; empty where there is."""
    reason: str = runpy.run_path(str(package / "_support.py"))["unsupported"]()
    return reason


def has_stable_abi() -> bool:
    """Whether what is compiled on this Python runs on later versions too."""
    return sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def stable_tag(requires_python: str) -> str:
    """The tag of a wheel for the oldest version of CPython that the package takes, and all later ones.

    :param requires_python: for instance ``>=3.11``.
    """
    oldest = requires_python.removeprefix(">=").replace(".", "")
    platform = next(sys_tags()).platform
    return f"cp{oldest}-abi3-{platform}"


def named_for_all(built: Path) -> Path:
    """Gives a module of the stable ABI the name that all versions look for: from 3.15 on the platform is in it."""
    stem, _, rest = built.name.partition(".")
    return built.rename(built.with_name(f"{stem}.abi3.so")) if rest.startswith("abi3-") else built


def put(built: Path, package: Path) -> None:
    """Replaces the module as a whole: a process that has the old one mapped keeps it."""
    fresh = package / f"{built.name}.new"
    shutil.copy(built, fresh)
    fresh.replace(package / built.name)
    if ".abi3." in built.name:
        # A build for one version would be found before it.
        for other in package.glob(f"{built.name.partition('.')[0]}.*-*.so"):
            other.unlink()


def compile_extension(package: Path, scratch: str) -> Path:
    """Compiles the C of ``package`` in the folder ``scratch``; returns the path of the module."""
    from cffi import FFI  # not to be had everywhere

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
        py_limited_api=has_stable_abi(),
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
