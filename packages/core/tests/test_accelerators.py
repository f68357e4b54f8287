"""Accelerators of other packages: what is marked is told to them, and their methods are put in place and taken away."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import hubbub
import pytest
from hubbub import _accelerators, plugins
from hubbub._config import accelerated_too
from hubbub._current import get_hub_if_exists
from hubbub.exceptions import PluginUnavailable
from hubbub.lowlevel import Twins, bound_to

GROUP = "example.accelerators"


class Usual:
    """What the accelerator of these tests knows."""

    def one(self) -> str:
        return "Python"


@pytest.fixture
def twins(monkeypatch):
    """The marks of a package whose accelerator replaces one method."""
    made = Twins(GROUP, 3)
    made.known_to_c(Usual)
    made.twin("usual.c")(Usual.one)
    asked = []

    def bind(parts):
        asked.append(parts)
        return {(Usual, "one"): lambda self: "C"}

    made.asked = asked
    names, load = plugins.names, plugins.load
    monkeypatch.setattr(plugins, "names", lambda group: ["methods"] if group == GROUP else names(group))
    monkeypatch.setattr(plugins, "load", lambda group, name: bind if group == GROUP else load(group, name))
    hubbub.configure(accelerators=True)  # whatever the environment says
    yield made
    made.slow_down()
    hubbub.configure(accelerators=None)


def test_methods_are_put_in_place_and_taken_away(twins):
    """The accelerator is told the parts and the layout; its methods are set once, and given up when asked."""
    assert Usual().one() == "Python"
    assert twins.accelerate()
    assert twins.accelerate()
    assert Usual().one() == "C"
    assert twins.asked == [{"layout": 3, "Usual": Usual}]
    assert twins.replaced == {twins._in_python[Usual, "one"]: "usual.c"}
    twins.slow_down()
    assert Usual().one() == "Python"
    assert twins.accelerate()
    assert Usual().one() == "C"


@pytest.mark.parametrize("there", [False, True])
def test_methods_are_there_with_the_hub(twins, monkeypatch, there):
    """Asked for with hubs, the methods are in place as soon as there is a hub, before any call needs them."""
    hubbub.get_hub().destroy()
    monkeypatch.setattr(_accelerators, "all_hubs", ["a hub"] if there else [])
    twins.accelerate_with_hubs()
    try:
        assert Usual().one() == ("C" if there else "Python")
        hubbub.get_hub()
        assert Usual().one() == "C"
    finally:
        accelerated_too.pop()


def test_no_hub_is_half_made(twins, monkeypatch):
    """Where a broken accelerator would come with the hub, each try to make one says so, and there is none."""
    hubbub.get_hub().destroy()
    monkeypatch.setattr(_accelerators, "all_hubs", [])
    monkeypatch.setattr(twins, "_found", broken)
    twins.accelerate_with_hubs()
    try:
        for _ in range(2):
            with pytest.raises(ImportError, match="no such file"):
                hubbub.get_hub()
            assert get_hub_if_exists() is None
    finally:
        accelerated_too.pop()
    assert hubbub.get_hub() is hubbub.get_hub()


def broken():
    raise ImportError("no such file")


def test_an_accelerator_that_is_not_wanted(twins):
    """With accelerators switched off none is looked for; once they are wanted it is found."""
    hubbub.configure(accelerators=False)
    assert not twins.accelerate()
    assert twins.asked == []
    hubbub.configure(accelerators=True)
    assert twins.accelerate()


def test_no_accelerator(twins, monkeypatch):
    """Where none is installed, or it has nothing for this Python, or it refuses, Python's methods stay."""
    for load in (lambda group, name: lambda parts: None, unavailable):
        twins.slow_down()
        monkeypatch.setattr(plugins, "load", load)
        assert not twins.accelerate()
    twins.slow_down()
    monkeypatch.setattr(plugins, "names", lambda group: [])
    assert not twins.accelerate()
    assert Usual().one() == "Python"


def unavailable(group, name):
    raise PluginUnavailable("it is for CPython")


def test_a_broken_accelerator_is_told_each_time(twins, monkeypatch):
    """One that cannot be imported raises for every caller, not for the first alone."""
    monkeypatch.setattr(twins, "_found", broken)
    for _ in range(2):
        with pytest.raises(ImportError, match="no such file"):
            twins.accelerate()


def test_the_layout_is_compared():
    """A compiled module gets the parts of its own layout; of another one it is told, with what to do."""
    extension = SimpleNamespace(LAYOUT=3, bind=lambda parts: sorted(parts))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bound_to({"layout": 3, "Usual": Usual}, extension, "hubbub-net", "its TLS runs") == ["Usual", "layout"]
    with pytest.warns(RuntimeWarning) as seen:
        assert bound_to({"layout": 4}, extension, "hubbub-net", "its TLS runs") is None
    text = str(seen[0].message)
    assert "hubbub-net-speed was compiled for other classes" in text
    assert "(layout 3, not 4): its TLS runs in Python" in text
    assert "pip install -e packages/net-speed" in text


@pytest.mark.parametrize("error", [TypeError("Usual is missing"), AttributeError("no slot _queued")])
def test_parts_that_do_not_fit(error):
    """A module that finds the parts other than expected is left aside, with the reason."""

    def bind(parts):
        raise error

    with pytest.warns(RuntimeWarning, match=str(error)):
        assert bound_to({"layout": 1}, SimpleNamespace(LAYOUT=1, bind=bind), "hubbub-net", "it runs") is None
