"""Making ``import gevent`` mean hubbub, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hubbub_gevent
import pytest

Python = Callable[..., Any]


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Runs a script in a process of its own; what it printed."""

    def run(source: str, *arguments: str, install: bool = True, status: int = 0, **environment: str) -> str:
        first = "import hubbub_gevent; hubbub_gevent.install()\n" if install else ""
        done = subprocess.run(
            [sys.executable, *arguments, "-c", first + source],
            capture_output=True,
            text=True,
            timeout=50,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    return run


def test_spawn(python: Python, loop_name: str) -> None:
    """After install(), ``import gevent`` runs greenlets on hubbub."""
    script = "import gevent; print(gevent.spawn(lambda: 6 * 7).get(), type(gevent.get_hub().loop).name)"
    assert python(script, HUBBUB_LOOP=loop_name) == f"42 {loop_name}\n"


def test_names(python: Python) -> None:
    """Modules have gevent's names, and say that they are hubbub."""
    script = """
import gevent, gevent.event, importlib, sys
print(gevent.__name__, gevent.__version__, gevent.__implementation__)
print(gevent.event.__name__, gevent.event.__spec__.name, importlib.import_module("gevent.event") is gevent.event)
"""
    assert python(script).splitlines() == ["gevent 26.9.0 hubbub", "gevent.event gevent.event True"]


@pytest.mark.parametrize(("one", "other"), [("gevent", "hubbub_gevent"), ("hubbub_gevent", "gevent")])
def test_one_object(python: Python, one: str, other: str) -> None:
    """``gevent.event`` and ``hubbub_gevent.event`` are one module, whichever is imported first."""
    script = f"""
import {one}.event
import {other}.event
print({one}.event is {other}.event, {one}.event.__spec__.name)
"""
    assert python(script) == "True gevent.event\n"


def test_imported_before_install(python: Python) -> None:
    """What was imported under hubbub's name before install() is what gevent's name means after it."""
    script = """
import hubbub_gevent.event, hubbub_gevent
hubbub_gevent.install()
import gevent.event
print(gevent.event is hubbub_gevent.event)
"""
    assert python(script, install=False) == "True\n"


def test_twice(python: Python) -> None:
    """A second install() does nothing."""
    script = "import sys; n = len(sys.meta_path); hubbub_gevent.install(); print(len(sys.meta_path) - n)"
    assert python(script) == "0\n"


def test_real_gevent(python: Python, tmp_path: Path) -> None:
    """If gevent was imported already, install() fails and says where it came from."""
    (tmp_path / "gevent.py").write_text("")
    script = """
import gevent, hubbub_gevent
try:
    hubbub_gevent.install()
except hubbub_gevent.RealGeventImported as error:
    print(error)
"""
    assert f"gevent was imported already, from {tmp_path / 'gevent.py'}" in python(script, install=False)


def test_real_gevent_installed(python: Python, tmp_path: Path) -> None:
    """A gevent that is installed and not imported yet is passed over."""
    (tmp_path / "gevent.py").write_text("1 / 0")
    assert python("import gevent; print(gevent.__implementation__)") == "hubbub\n"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("gevent.nonsense", "AttributeError: module 'gevent', which is hubbub's, has no attribute 'nonsense'"),
        ("gevent.event.nonsense", "AttributeError: module 'gevent.event', which is hubbub's, has no attribute"),
        ("import gevent.nonsense", "ModuleNotFoundError: No module named 'gevent.nonsense' in hubbub"),
        ("from gevent.event import nonsense", "ImportError: cannot import name 'nonsense' from 'gevent.event'"),
    ],
)
def test_unknown(python: Python, statement: str, error: str) -> None:
    """A name that the facade has not is an error that names it and hubbub."""
    script = f"""
import gevent.event
try:
    {statement}
except Exception as error:
    print(type(error).__name__, error, sep=": ")
"""
    said = python(script)
    assert error in said
    assert "hubbub" in said


def test_later_finders(python: Python) -> None:
    """A finder that was added behind the facade still gets asked for what the facade has not."""
    script = """
import sys
from importlib.machinery import ModuleSpec
class Loader:
    def create_module(self, spec): return None
    def exec_module(self, module): module.answer = 42
class Finder:
    def find_spec(self, name, path, target=None): return ModuleSpec(name, Loader()) if name == "gevent.extra" else None
sys.meta_path.append(Finder())
import gevent.extra
print(gevent.extra.answer)
"""
    assert python(script) == "42\n"


def test_in_an_archive(tmp_path: Path) -> None:
    """The package may lie in a zip file, as in any place from which Python can import."""
    folder = Path(hubbub_gevent.__file__).parent
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in sorted(folder.rglob("*.py")):
            archive.write(file, Path("hubbub_gevent", file.relative_to(folder)))
    script = """
import sys
sys.path.insert(0, "all.zip")
import hubbub_gevent; hubbub_gevent.install()
import gevent, gevent.resolver.thread, gevent.monkey, inspect
print("all.zip" in gevent.__file__, "all.zip" in gevent.resolver.thread.__file__, gevent.spawn(int).get())
print(gevent.resolver.thread.__spec__.name, "class Event" in inspect.getsource(gevent.event))
"""
    environment = {name: value for name, value in os.environ.items() if name != "HUBBUB_GEVENT"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, cwd=tmp_path, env=environment
    )
    assert done.stdout.splitlines() == ["True True 0", "gevent.resolver.thread True"], done.stderr


@pytest.mark.parametrize("package", ["hubbub", "hubbub_gevent"])
def test_hooks_for_pyinstaller(package: str) -> None:
    """PyInstaller is told by an entry point where the hook of the package is."""
    (entry,) = (entry for entry in entry_points(group="pyinstaller40") if entry.module == f"{package}._pyinstaller")
    (folder,) = entry.load()()
    assert Path(folder, f"hook-{package}.py").is_file()
    assert entry.name == "hook-dirs"
