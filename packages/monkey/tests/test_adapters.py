"""What is known of each CPython's threading, and what happens on one that is not known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import hubbub_monkey
import pytest
from hubbub_monkey import _adapter
from hubbub_monkey._adapter import Adapter

Python = Callable[..., Any]

# Run before patching: the same adapter is asked for whatever version this says.
NEWER = """
import sys, warnings
sys.version_info = (3, 99, 1, "final", 0)
"""
NEWEST = sys.version_info[:2] == _adapter._KNOWN[-1]
WHOLE = """
import threading, hubbub.thread
locks = threading.Lock(), threading.RLock(), threading.Condition()._lock, threading.Event()._cond._lock
print(all(isinstance(lock, hubbub.thread.LockType | hubbub.thread.RLock) for lock in locks))
seen = []
thread = threading.Thread(target=lambda: seen.append(threading.get_native_id()))
thread.start(); thread.join()
print(seen == [threading.get_native_id()], threading.get_ident.__module__)
"""


def test_every_known_version_has_one() -> None:
    """There is an adapter for each version of the list, of under 150 lines, and for no other."""
    folder = Path(_adapter.__file__).parent
    files = {path.stem: path for path in folder.glob("_cpython_*.py")}
    assert sorted(files) == [f"_cpython_{major}{minor}" for major, minor in _adapter._KNOWN]
    assert all(len(path.read_text().splitlines()) < 150 for path in files.values())


def test_it_fits() -> None:
    """The adapter of this version finds everything that it leans on."""
    assert _adapter.choose().version == sys.version_info[:2]
    assert _adapter.choose().faults() == []


@pytest.mark.parametrize("version", _adapter._KNOWN)
def test_others_do_not_fit(version: tuple[int, int]) -> None:
    """An adapter of versions that join threads in another way says so, in words."""
    if (version < (3, 13)) == (sys.version_info < (3, 13)):
        pytest.skip("joins threads in the same way")
    if version >= (3, 13) and sys.version_info < (3, 13):
        pytest.skip("cannot be loaded where there are no handles")
    adapter = import_module("hubbub_monkey._cpython_{}{}".format(*version)).ADAPTER
    assert "threading._set_sentinel is not there" in adapter.faults()


@pytest.mark.skipif(not NEWEST, reason="only the newest adapter is taken for later versions")
def test_later_version(python: Python) -> None:
    """A later CPython in which the newest adapter finds what it needs is patched whole, with a warning that says so."""
    source = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import hubbub_monkey
    hubbub_monkey.patch_all()
print([str(item.message) for item in caught])
"""
    lines = python(NEWER + source + WHOLE).stdout.splitlines()
    known = "{}.{}".format(*_adapter._KNOWN[-1])
    assert lines[0].startswith("['CPython 3.99.1 is not known to this hubbub-monkey.")
    assert f"patched as those of {known}" in lines[0]
    assert lines[1:] == ["True", "True hubbub.thread"]


BREAK = {
    "a name is gone": "del threading._active",
    "a function is gone": "del threading._after_fork",
    "a function is gone that others import": "del threading.current_thread",
    "a function looks elsewhere": "exec(compile('def _after_fork(): 0', threading.__file__, 'exec'), vars(threading))",
    "a method is gone": "del threading.Thread._delete",
}


@pytest.mark.parametrize("damage", BREAK.values(), ids=BREAK.keys())
@pytest.mark.parametrize("newer", [False, True])
def test_not_as_known(python: Python, damage: str, newer: bool) -> None:
    """Where something is missing that the adapter leans on, nothing is patched; the error says what, and a way."""
    source = f"""
import threading, time
import hubbub_monkey
before = vars(time).copy()
{damage}
damaged = vars(threading).copy()
try: hubbub_monkey.patch_all()
except hubbub_monkey.PatchError as error: print(error)
print(hubbub_monkey.is_anything_patched(), vars(threading) == damaged, vars(time) == before)
print("socket" in hubbub_monkey.patch_all(thread=False).patched, vars(threading) == damaged)
"""
    lines = python((NEWER if newer else "") + source).stdout.splitlines()
    assert lines[0].startswith("threads cannot be patched: the adapter for CPython 3.")
    assert "CPython 3.99.1" in lines[0] or not newer
    assert "threading." in lines[0]
    assert "thread=False" in lines[0]
    assert lines[1:] == ["False True True", "True True"]


def test_another_implementation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that is not CPython is refused, and named."""

    class Other:
        name = "pypy"

    monkeypatch.setattr(sys, "implementation", Other)
    with pytest.raises(hubbub_monkey.PatchError, match="this is pypy"):
        _adapter.choose()


def test_wrapped_functions_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that has wrapped a function of threading, with or without saying so, does not prevent patching."""
    import threading

    original = threading.Thread.start

    def wrapper(self: threading.Thread) -> None:
        original(self)

    monkeypatch.setattr(threading.Thread, "start", wrapper)
    assert _adapter.choose().faults() == []


def test_faults_name_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter says each of its faults: names that are not there, and names that functions do not use."""
    adapter = Adapter(
        (3, 0),
        lambda: {"threading": {"Lock": None, "_nothing": None}},
        lambda: lambda: None,
        {"Thread.start": ("_limbo", "_no_such"), "Thread.nowhere": ()},
    )
    assert adapter.faults() == [
        "threading._nothing is not there",
        "threading.Thread.start does not use _no_such",
        "threading.Thread.nowhere is not there",
    ]
