"""What the report says, references that were taken too early among it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import hubbub_monkey
import pytest


@pytest.fixture
def early(target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that took a reference before patching, on its third line."""
    file = tmp_path / "early_bird.py"
    file.write_text('"""Too early."""\n\nfrom hb_target import function as mine\n\n\nclass User:\n    call = mine\n')
    monkeypatch.syspath_prepend(tmp_path)
    import early_bird  # type: ignore[import-not-found]  # made above

    monkeypatch.setitem(sys.modules, "early_bird", early_bird)
    module: ModuleType = early_bird
    return module


def test_replacements(patches: dict[str, Any], target: Any) -> None:
    """The report has every name with old and new value and the patch that did it."""
    old = target.function
    report = hubbub_monkey.patch_all()
    first = report.replacements[0]
    assert (first.module, first.name, first.old, first.new, first.patch) == (
        "hb_target",
        "function",
        old,
        target.function,
        "first",
    )
    assert [item.name for item in report.replacements] == ["function", "Kind.method", "added"]
    assert report.replacements[2].old is not None
    assert "hb_target.added: (nothing) -> " in str(report)


def test_early_references(patches: dict[str, Any], early: ModuleType) -> None:
    """A module, or a class of it, that took the original before is named with file, line and name."""
    report = hubbub_monkey.patch_all()
    mine = {(item.holder, item.name): item for item in report.stale if item.file == early.__file__}
    assert set(mine) == {("early_bird", "mine"), ("early_bird.User", "call")}
    found = mine["early_bird", "mine"]
    assert (found.line, found.original, found.library) == (3, "hb_target.function", False)
    assert f"{early.__file__}:3: early_bird holds hb_target.function as mine" in str(report)


def test_subclass(patches: dict[str, Any], target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass of a class that is replaced is named: it keeps the old base."""

    class Old:
        pass

    Old.__module__ = "hb_target"
    target.Old = Old
    from hubbub.patches import ModulePatch

    patches["third"] = ModulePatch("hb_target", lambda: {"hb_target": {"Old": type("New", (), {})}})

    class Derived(Old):
        pass

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or ModuleType(__name__))
    report = hubbub_monkey.patch_all()
    assert [item.name for item in report.stale if item.holder.endswith("Derived")] == ["(base class)"]


def test_nothing(patches: dict[str, Any]) -> None:
    """The report of a call that changed nothing is false, and prints something all the same."""
    patches.clear()
    report = hubbub_monkey.patch_all()
    assert not report
    assert "left socket: hubbub-net is not installed" in str(report)
    assert str(hubbub_monkey.Report()) == "nothing to patch"


def test_early_objects(python: Callable[..., Any]) -> None:
    """Sockets, thread-local data and locks that are older than the patches, and stay what they are, are warned of."""
    source = """
import hubbub_monkey, socket, threading, warnings
class Holder: pass
holder = Holder()
holder.sock = socket.socket()
local = threading.local()
held = threading.Lock()
held.acquire()
free = threading.Lock()
pair = (threading.Lock(),)
warnings.simplefilter("ignore")
for text in hubbub_monkey.patch_all().warnings: print(text)
print(type(free).__module__)
"""
    assert python(source).stdout.splitlines() == [
        "locks stay native that are held, or kept where they cannot be exchanged: __main__.held, __main__.pair (tuple)",
        "objects of _thread._local that were made before patching stay as they are: __main__.local",
        "objects of socket.socket that were made before patching stay as they are: "
        "an object of __main__.Holder, as sock",
        "hubbub.thread",
    ]


def test_no_early_objects(python: Callable[..., Any]) -> None:
    """The standard library's own objects, and those of hubbub, are nothing to warn of."""
    source = """
import asyncio, concurrent.futures.process, http.client, logging, multiprocessing.pool, ssl, urllib.request
import hubbub, hubbub_net.socket, hubbub_net.ssl
hubbub.sleep(0)
import hubbub_monkey
print(hubbub_monkey.patch_all().warnings)
"""
    assert python(source).stdout == "()\n"


def test_public_names_in_the_report(python: Callable[..., Any]) -> None:
    """What was taken early is called by its public name, in its own module."""
    source = """
from threading import Lock
from socket import create_connection
import hubbub_monkey
report = hubbub_monkey.patch_all()
print(sorted(item.original for item in report.stale if item.holder == "__main__"))
"""
    assert python(source).stdout == "['socket.create_connection', 'threading.Lock']\n"
