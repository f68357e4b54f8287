"""Patching and unpatching, on a made-up module."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import hubbub_monkey
import pytest
from greenlet import greenlet
from hubbub.patches import ModulePatch
from hubbub_monkey import PatchError, PatchWarning, Veto, events


def test_patch_all(patches: dict[str, Any], target: Any) -> None:
    """patch_all replaces every name of every installed patch."""
    report = hubbub_monkey.patch_all()
    assert report.patched == ("first", "second")
    assert target.function() == "new"
    assert target.Kind.method is target.added
    assert target.other() == "old"


def test_twice(patches: dict[str, Any], target: Any) -> None:
    """A second call changes nothing and says so."""
    hubbub_monkey.patch_all()
    again = hubbub_monkey.patch_all()
    assert not again
    assert again.already == ("first", "second")
    assert again.replacements == ()
    assert hubbub_monkey.get_original("hb_target", "function")() == "old"


def test_unpatch(patches: dict[str, Any], target: Any) -> None:
    """unpatch_all puts back every original, and removes what was not there before."""
    before = dict(vars(target))
    kind = dict(vars(target.Kind))
    hubbub_monkey.patch_all()
    assert hubbub_monkey.unpatch_all() == ("second", "first")
    assert vars(target) == before
    assert dict(vars(target.Kind)) == kind
    assert not hubbub_monkey.is_anything_patched()
    assert hubbub_monkey.unpatch_all() == ()


def test_all_or_nothing(patches: dict[str, Any], target: Any) -> None:
    """A failure half-way puts back what was replaced before it, and reaches the caller."""

    class Failing(ModulePatch):
        def installed(self) -> None:
            raise ZeroDivisionError

    patches["third"] = Failing("hb_target", lambda: {"hb_target": {"other": new}}, ("second",))
    with pytest.raises(ZeroDivisionError):
        hubbub_monkey.patch_all()
    assert target.function is target.other
    assert target.function() == "old"
    assert not hasattr(target, "added")
    assert not hubbub_monkey.is_anything_patched()


def test_warnings_as_errors(patches: dict[str, Any], target: Any) -> None:
    """Where warnings are errors, one of patching's undoes it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PatchWarning, match="in a greenlet"):
            greenlet(hubbub_monkey.patch_all).switch()
    assert target.function() == "old"
    assert not hubbub_monkey.is_anything_patched()


def new() -> str:
    """Another replacement."""
    return "newer"


def test_import_error(patches: dict[str, Any], target: Any) -> None:
    """A patch that cannot be loaded shows its own error, and nothing is replaced."""

    def broken() -> dict[str, dict[str, Any]]:
        raise ImportError("no such library")

    patches["third"] = ModulePatch("hb_target", broken)
    with pytest.raises(ImportError, match="no such library"):
        hubbub_monkey.patch_all()
    assert target.function() == "old"


def test_leave_out(patches: dict[str, Any], target: Any) -> None:
    """A module that is not asked for is left alone and listed."""
    report = hubbub_monkey.patch_all(second=False)
    assert report.patched == ("first",)
    assert "second: not asked for" in [str(item) for item in report.left]
    assert not hasattr(target, "added")


def test_unknown(patches: dict[str, Any], target: Any) -> None:
    """A name that nobody knows is an error that lists what there is."""
    with pytest.raises(PatchError, match="no patch is called 'thrid'; installed are: first, second"):
        hubbub_monkey.patch_all(thrid=False)
    assert target.function() == "old"


def test_not_installed(patches: dict[str, Any]) -> None:
    """Insisting on a patch that is not installed names the package that brings it."""
    with pytest.raises(PatchError, match="hubbub-net is not installed"):
        hubbub_monkey.patch_ssl()
    report = hubbub_monkey.patch_all(ssl=False)
    assert "ssl: hubbub-net is not installed" in [str(item) for item in report.left]


def test_threads_without_sockets(patches: dict[str, Any]) -> None:
    """patch_all that makes threads greenlets while nobody sees to sockets warns, and names the package that would."""
    patches["threading"] = ModulePatch("hb_target", dict)
    with pytest.warns(
        PatchWarning, match="select, selectors, socket, ssl will stop all .* hubbub-net is not installed"
    ):
        hubbub_monkey.patch_all()
    hubbub_monkey.unpatch_all()
    patches["socket"] = patches["select"] = ModulePatch("hb_target", dict)
    with pytest.warns(PatchWarning, match="ssl will stop all .* hubbub-net is not installed"):
        hubbub_monkey.patch_all(selectors=False)


@pytest.mark.parametrize(
    "wishes", [{"threading": False}, dict.fromkeys(("select", "selectors", "socket", "ssl"), False)]
)
def test_no_such_warning(patches: dict[str, Any], wishes: dict[str, bool]) -> None:
    """There is no such warning where threads stay native, nor about what was told to be left alone."""
    patches["threading"] = ModulePatch("hb_target", dict)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hubbub_monkey.patch_all(**wishes)
        hubbub_monkey.unpatch_all()
        hubbub_monkey.patch_thread()


def test_order(patches: dict[str, Any], target: Any) -> None:
    """A patch comes after those it requires, whatever its name; one that is not wanted is not waited for."""
    patches["a"] = ModulePatch("hb_target", lambda: {"hb_target": {"other": new}}, ("second", "nowhere"))
    assert hubbub_monkey.patch_all().patched == ("first", "second", "a")


def test_circle(patches: dict[str, Any], target: Any) -> None:
    """Patches that require one another are an error that names them."""
    patches["first"] = ModulePatch("hb_target", dict, ("second",))
    with pytest.raises(PatchError, match=r"first -> second|second -> first"):
        hubbub_monkey.patch_all()


def test_context(patches: dict[str, Any], target: Any) -> None:
    """``with patched`` undoes at the end of the block what it did, and only that."""
    hubbub_monkey.patch_module("first")
    with hubbub_monkey.patched("first", "second") as report:
        assert report.patched == ("second",)
        assert target.added
    assert not hasattr(target, "added")
    assert target.function() == "new"


def test_context_after_error(patches: dict[str, Any], target: Any) -> None:
    """The block's own error passes through ``with patched``, and the originals are back."""
    with pytest.raises(KeyError), hubbub_monkey.patched():
        raise KeyError
    assert target.function() == "old"


def test_stacked(patches: dict[str, Any], target: Any) -> None:
    """Of two patches of one name the later counts; they may be undone in either order."""
    original = target.function
    patches["third"] = ModulePatch("hb_target", lambda: {"hb_target": {"function": new}}, ("first",))
    outer = hubbub_monkey.patched("first")
    inner = hubbub_monkey.patched("third")
    outer.__enter__()
    inner.__enter__()
    assert target.function is new
    assert hubbub_monkey.get_original("hb_target", "function") is original
    outer.__exit__(None, None, None)
    assert target.function is new
    assert hubbub_monkey.get_original("hb_target", "function") is original
    inner.__exit__(None, None, None)
    assert target.function is original
    assert not hubbub_monkey.is_object_patched("hb_target", "function")


def test_changed_by_others(patches: dict[str, Any], target: Any) -> None:
    """A name that somebody else changed meanwhile gets its original back, with a warning."""
    original = target.function
    hubbub_monkey.patch_all()
    target.function = new
    with pytest.warns(PatchWarning, match="hb_target.function was changed by somebody else"):
        hubbub_monkey.unpatch_all()
    assert target.function is original


def test_queries(patches: dict[str, Any], target: Any) -> None:
    """The queries tell what is patched at present, class attributes included."""
    assert not hubbub_monkey.is_module_patched("hb_target")
    hubbub_monkey.patch_all()
    assert hubbub_monkey.is_module_patched("hb_target")
    assert hubbub_monkey.is_object_patched("hb_target", "Kind.method")
    assert not hubbub_monkey.is_object_patched("hb_target", "other")
    assert not hubbub_monkey.is_module_patched("nowhere")


def test_get_original(patches: dict[str, Any], target: Any) -> None:
    """get_original knows patched names, others, lists of them, and names that were not there before."""
    hubbub_monkey.patch_all()
    function, other = hubbub_monkey.get_original("hb_target", ["function", "other"])
    assert function is other is target.other
    with pytest.raises(AttributeError, match="had no attribute 'added' before"):
        hubbub_monkey.get_original("hb_target", "added")
    with pytest.raises(AttributeError):
        hubbub_monkey.get_original("hb_target", "nothing")
    with pytest.raises(ImportError):
        hubbub_monkey.get_original("hb_no_such_module", "nothing")


def test_installed_hook(patches: dict[str, Any], target: Any) -> None:
    """A patch's ``installed`` runs after its replacements, and what it returns runs at the end, once."""
    calls: list[str] = []

    class Hooked(ModulePatch):
        def installed(self) -> Any:
            calls.append(f"began with {target.other()}")
            return lambda: calls.append("ended")

    patches["third"] = Hooked("hb_target", lambda: {"hb_target": {"other": new}})
    hubbub_monkey.patch_all()
    assert calls == ["began with newer"]
    hubbub_monkey.unpatch_all()
    hubbub_monkey.unpatch_all()
    assert calls == ["began with newer", "ended"]


@pytest.fixture
def seen() -> Any:
    """The events of a test."""
    seen: list[Any] = []
    events.subscribers.append(seen.append)
    yield seen
    events.subscribers.remove(seen.append)


def test_events(patches: dict[str, Any], seen: list[Any]) -> None:
    """Subscribers hear of every patch before and after it, and of the end of the call."""
    report = hubbub_monkey.patch_all()
    names = [(type(event).__name__, getattr(event, "patch", None)) for event in seen]
    assert names == [
        ("WillPatch", "first"),
        ("DidPatch", "first"),
        ("WillPatch", "second"),
        ("DidPatch", "second"),
        ("DidPatchAll", None),
    ]
    assert seen[-1].report is report


def test_veto(patches: dict[str, Any], target: Any) -> None:
    """A subscriber may keep a module from being patched, and says why."""

    def object_to(event: object) -> None:
        if isinstance(event, events.WillPatch) and event.patch == "first":
            raise Veto("it is ours")

    events.subscribers.append(object_to)
    try:
        report = hubbub_monkey.patch_all()
    finally:
        events.subscribers.remove(object_to)
    assert report.patched == ("second",)
    assert "first: vetoed: it is ours" in [str(item) for item in report.left]
    assert target.function() == "old"


def test_failing_subscriber(patches: dict[str, Any], target: Any) -> None:
    """Any other error of a subscriber undoes the call and reaches the caller."""

    def fail(event: object) -> None:
        if isinstance(event, events.DidPatchAll):
            raise ZeroDivisionError

    events.subscribers.append(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            hubbub_monkey.patch_all()
    finally:
        events.subscribers.remove(fail)
    assert target.function() == "old"


def test_foreign_thread(patches: dict[str, Any], target: ModuleType) -> None:
    """Patching from another thread works with a warning that says what is not covered."""
    caught: list[warnings.WarningMessage] = []

    def patch() -> None:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            hubbub_monkey.patch_all()
        caught.extend(found)

    thread = threading.Thread(target=patch)
    thread.start()
    thread.join(10)
    assert ["another thread" in str(item.message) for item in caught] == [True]
    assert hubbub_monkey.is_anything_patched()


def test_in_greenlet(patches: dict[str, Any]) -> None:
    """Patching in a greenlet works with a warning."""
    with pytest.warns(PatchWarning, match="in a greenlet"):
        greenlet(hubbub_monkey.patch_all).switch()


def test_contradiction(patches: dict[str, Any]) -> None:
    """Asking to leave alone what is patched already is answered by a warning, and changes nothing."""
    hubbub_monkey.patch_all()
    with pytest.warns(PatchWarning, match="second was to be left alone, and is patched already"):
        report = hubbub_monkey.patch_all(second=False)
    assert "second was to be left alone" in report.warnings[0]
    assert hubbub_monkey.is_object_patched("hb_target", "added")


@pytest.mark.parametrize(
    "call",
    [
        lambda: hubbub_monkey.patch_module(3),  # type: ignore[arg-type]  # what is tested
        lambda: hubbub_monkey.patched(3).__enter__(),  # type: ignore[arg-type]  # what is tested
        lambda: hubbub_monkey.get_original("time", 3),  # type: ignore[arg-type]  # what is tested
    ],
)
def test_no_text(patches: dict[str, Any], call: Any) -> None:
    """What is no name is refused, and shown."""
    with pytest.raises(TypeError, match="3"):
        call()
    assert not hubbub_monkey.is_anything_patched()


def test_no_wish(patches: dict[str, Any]) -> None:
    """A value for a module that is neither True, False nor None is refused, before anything is patched."""
    with pytest.raises(PatchError, match="first='yes'"):
        hubbub_monkey.patch_all(first="yes")  # type: ignore[arg-type]  # what is tested
    assert not hubbub_monkey.is_anything_patched()


@pytest.mark.parametrize(
    "call", ["patch_all()", "patch_thread()", "patched().__enter__()", "patched('threading').__enter__()"]
)
def test_place_of_warnings(python: Callable[..., Any], call: str) -> None:
    """A warning names the line that patches, whichever function that calls."""
    source = f"""
import threading, warnings
import hubbub_monkey
lock = threading.Lock(); lock.acquire()
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    patching = hubbub_monkey.{call}
print([item.lineno for item in found])
"""
    assert python(source).stdout == "[7]\n"
