"""How native packages are built with sanitizers, what their tests run under, and what threads may do to a loop."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools import twins
from tools.packages import Package, packages

__all__ = ["FLAGS", "races", "reports", "settings", "tests"]

# No red zones on the stack: greenlet copies it as a whole.
FLAGS = {
    "CFLAGS": "-fsanitize=address,undefined -fno-sanitize-recover=undefined --param asan-stack=0 "
    "-fno-omit-frame-pointer -g -O1",
    "LDFLAGS": "-fsanitize=address,undefined",
    # The build loads what it has made, to ask for the version of the library, in a process without the sanitizers.
    "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0",
}
# Three frames tell who allocated; what has the interpreter or an extension of others among them is not ours.
# Nor is what OpenSSL has there: nothing of ours calls it but through the interpreter, whose sessions leak.
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:malloc_context_size=3:log_path={folder}/report",
    "LSAN_OPTIONS": "suppressions={folder}/not-ours:print_suppressions=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:log_path={folder}/report",
}
SERVED = ("attacks", "faults", "lent", "wsgi")
"""Tests of the server, by the names of their files, that serve requests in C."""
ENCRYPTED = ("ssl", "tls_wire")
"""Tests of hubbub-net that read and write TLS in C."""
_NOT_OURS = ("libpython", "bin/python", "greenlet", "_cffi_backend", "cryptography", "libcrypto")

# Said of a thread that ended while the memory of its process was searched for leaks; the search goes on without it.
_NO_FINDING = re.compile(r"==\d+==Unable to get registers from thread \d+\.\n")


def settings(folder: Path, compiler: str, built: Path) -> dict[str, str]:
    """The environment variables of a process that runs what was built.

    :param folder: where reports go.
    :param built: the folder of the packages, which comes before the environment's.
    """
    (folder / "not-ours").write_text("".join(f"leak:{name}\n" for name in _NOT_OURS))
    # The C++ library comes along for greenlet: the sanitizer must meet its exceptions from the start.
    preloaded = [_path(compiler, name) for name in ("libasan.so", "libstdc++.so")]
    found = {name: value.format(folder=folder) for name, value in _OPTIONS.items()}
    return found | {"LD_PRELOAD": " ".join(preloaded), "PYTHONPATH": str(built), "PYTHONMALLOC": "malloc"}


def _path(compiler: str, name: str) -> str:
    """The path of a library as the compiler knows it."""
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def tests(native: Iterable[Package]) -> list[Path]:
    """The tests of these packages, for hubbub-speed those of core that run its methods, for hubbub-server-speed
    those of the server's requests, for hubbub-asyncio-speed those of the event loop, and for hubbub-net-speed those of
    TLS.

    Those that sanitizers get in the way of are marked ``unsanitized``.
    """
    found = [package.folder / "tests" for package in native]
    if any(package.short == "speed" for package in native):
        found += twins.rooms(packages()["core"].folder)
    if any(package.short == "server-speed" for package in native):
        found += [packages()["server"].folder / "tests" / f"test_{name}.py" for name in SERVED]
    if any(package.short == "asyncio-speed" for package in native):
        found.append(packages()["asyncio"].folder / "tests" / "test_loop.py")
    if any(package.short == "net-speed" for package in native):
        found += [packages()["net"].folder / "tests" / f"test_{name}.py" for name in ENCRYPTED]
    return found


def reports(folder: Path) -> list[str]:
    """What the sanitizers have found."""
    found = (_NO_FINDING.sub("", path.read_text()).strip() for path in sorted(folder.glob("report*")))
    return [report for report in found if report]


def races(package: Package, compiler: str, folder: Path) -> str:
    """What the thread sanitizer finds when threads use, wake, take over and destroy a native loop; nothing, if all is
    well.

    It needs a program of its own: it knows neither greenlets nor an interpreter that it was not compiled with.

    :param folder: where the program is put.
    """
    if not package.loops:
        return ""
    (source,) = package.folder.glob("src/*/*.c")
    headers = packages()["core"].folder / "src" / "hubbub" / "loop" / "native"
    (library,) = re.findall(r'^LIBRARY = "(\w+)"', (package.folder / "hatch_build.py").read_text(), re.MULTILINE)
    program = folder / f"threads-{package.short}"
    flags = ["-fsanitize=thread", "-g", "-O1", "-D_GNU_SOURCE", f"-I{headers}"]
    sources = [str(Path(__file__).with_name("threads.c")), str(source)]
    libraries = [f"-l{library}", "-lpthread", "-lm"]
    subprocess.run([compiler, *flags, *sources, *libraries, "-o", str(program)], check=True)
    environment = os.environ | {"TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=300)
    return done.stderr or (f"{program.name} ended with {done.returncode}" if done.returncode else "")
