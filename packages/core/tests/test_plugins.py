"""Discovery of plug-ins, and the choice among them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from importlib.util import spec_from_loader

import hubbub
import pytest
from hubbub import plugins
from hubbub.exceptions import PluginError, PluginUnavailable
from hubbub.loop.base import BaseLoop
from hubbub.loop.stdlib import SelectorBackend, StdlibBackend


@pytest.fixture
def installed(monkeypatch):
    """Lets a test say which entry points are installed."""

    def install(*entries):
        points = [EntryPoint(name, value, group) for group, name, value in entries]
        monkeypatch.setattr(plugins, "entry_points", lambda: EntryPoints(points))
        plugins.forget()

    yield install
    monkeypatch.undo()
    plugins.forget()


@pytest.fixture
def fresh(monkeypatch):
    """Settings as if nobody had configured anything."""
    monkeypatch.delenv("HUBBUB_LOOP", raising=False)
    hubbub.configure(loop=None, resolver=None)
    yield
    hubbub.configure(loop=None, resolver=None)


def test_the_built_in_loop_is_a_plug_in():
    """Core's own loop is found through the same door as everybody's."""
    assert "stdlib" in plugins.names(plugins.LOOPS)
    assert plugins.load(plugins.LOOPS, "stdlib") is StdlibBackend


def test_installed_packages_are_looked_through_once(monkeypatch):
    """However many groups and names are asked for, what is installed is looked through once."""
    looks = []
    entry = EntryPoint("here", "no_such_module:X", plugins.PATCHES)
    monkeypatch.setattr(plugins, "entry_points", lambda: looks.append(1) or EntryPoints([entry]))
    plugins.forget()
    try:
        for group in (plugins.LOOPS, plugins.RESOLVERS, plugins.PATCHES, plugins.ACCELERATORS):
            assert plugins.names(group) == (("here",) if group == plugins.PATCHES else ())
            assert plugins.distribution(group, "here") == ""
    finally:
        monkeypatch.undo()
        plugins.forget()
    assert looks == [1]


def test_names_are_sorted(installed):
    """names lists what is installed, sorted, without loading it."""
    installed(("hubbub.loops", "b", "no_such_module:B"), ("hubbub.loops", "a", "no_such_module:A"))
    assert plugins.names(plugins.LOOPS) == ("a", "b")
    assert plugins.names(plugins.RESOLVERS) == ()


def test_unknown_name(installed):
    """An unknown name tells which names there are."""
    installed(("hubbub.loops", "stdlib", "hubbub.loop.stdlib:StdlibBackend"))
    with pytest.raises(PluginError, match=r"no 'nonsense' .* \(stdlib\)"):
        plugins.load(plugins.LOOPS, "nonsense")


@pytest.mark.parametrize(("name", "package"), [("libev", "hubbub-loop-libev"), ("libuv", "hubbub-loop-libuv")])
def test_missing_package(installed, name, package):
    """A well-known name that is not installed tells what to install."""
    installed(("hubbub.loops", "stdlib", "hubbub.loop.stdlib:StdlibBackend"))
    with pytest.raises(PluginError, match=f"pip install '{package}'"):
        plugins.load(plugins.LOOPS, name)
    assert plugins.provider(plugins.LOOPS, name) == package
    assert plugins.provider(plugins.LOOPS, "nonsense") == ""


def test_broken_plug_in(installed):
    """A plug-in's own ImportError reaches the caller."""
    installed(("hubbub.loops", "broken", "no_such_module_of_mine:Loop"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_mine"):
        plugins.load(plugins.LOOPS, "broken")


def test_the_same_name_twice(installed):
    """Two packages that provide the same name are an error that names both."""
    installed(("hubbub.loops", "twin", "one:Loop"), ("hubbub.loops", "twin", "two:Loop"))
    with pytest.raises(PluginError, match=r"one:Loop.*two:Loop"):
        plugins.names(plugins.LOOPS)


def test_no_silent_fall_back(installed, fresh):
    """When the first loop in order is installed and broken, its ImportError is shown; the next is not taken."""
    installed(
        ("hubbub.loops", "libev", "no_such_module_of_mine:Loop"),
        ("hubbub.loops", "stdlib", "hubbub.loop.stdlib:StdlibBackend"),
    )
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_mine"):
        hubbub.Hub()


@pytest.fixture
def unavailable(monkeypatch):
    """A module that has nothing for this Python, as a plug-in's value."""
    finder = Unavailable()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    return f"{finder.name}:Loop"


class Unavailable:
    """Finds one module, and raises when it is loaded."""

    name = "hubbub_has_nothing_for_this_python"

    def find_spec(self, name, path, target=None):
        return spec_from_loader(name, self) if name == self.name else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        raise PluginUnavailable("nothing for this Python")


def test_next_where_there_is_nothing_for_this_python(installed, fresh, unavailable):
    """A loop that has nothing for this Python is passed over when none was chosen."""
    installed(("hubbub.loops", "libev", unavailable), ("hubbub.loops", "stdlib", "hubbub.loop.stdlib:SelectorBackend"))
    hub = hubbub.Hub()
    assert type(hub.loop.backend).__name__ == "SelectorBackend"
    hub.destroy()


def test_chosen_where_there_is_nothing_for_this_python(installed, fresh, unavailable, monkeypatch):
    """Whoever chose such a loop is told why there is none."""
    installed(("hubbub.loops", "libev", unavailable), ("hubbub.loops", "stdlib", "hubbub.loop.stdlib:StdlibBackend"))
    monkeypatch.setenv("HUBBUB_LOOP", "libev")
    with pytest.raises(PluginUnavailable, match="nothing for this Python"):
        hubbub.Hub()
    with pytest.raises(PluginUnavailable, match="nothing for this Python"):
        hubbub.configure(loop="libev")


def test_order_of_choice(installed, fresh, monkeypatch):
    """configure comes before the environment, the environment before the first that is installed."""
    installed(
        ("hubbub.loops", "libuv", "hubbub.loop.stdlib:SelectorBackend"),
        ("hubbub.loops", "stdlib", "hubbub.loop.stdlib:StdlibBackend"),
        ("hubbub.loops", "mine", "hubbub_testkit.clock:VirtualClockLoop"),
    )

    def loop_of_a_new_hub():
        hub = hubbub.Hub()
        loop = hub.loop
        name = type(loop.backend if type(loop) is BaseLoop else loop).__name__
        hub.destroy()
        return name

    assert loop_of_a_new_hub() == "SelectorBackend"
    monkeypatch.setenv("HUBBUB_LOOP", "mine")
    assert loop_of_a_new_hub() == "VirtualClockLoop"
    hubbub.configure(loop="stdlib")
    assert loop_of_a_new_hub() == StdlibBackend.__name__
    hubbub.configure(loop=SelectorBackend)
    assert loop_of_a_new_hub() == "SelectorBackend"
    hubbub.configure(loop=None)
    assert loop_of_a_new_hub() == "VirtualClockLoop"


def test_configure_refuses_what_it_does_not_know(fresh):
    """Unknown settings and names are refused at once, and nothing changes."""
    with pytest.raises(TypeError, match="nonsense"):
        hubbub.configure(nonsense=1)
    with pytest.raises(PluginError, match="no_such_loop"):
        hubbub.configure(loop="no_such_loop")
    hub = hubbub.Hub()
    hub.destroy()


def test_nothing_is_loaded_at_import():
    """Importing hubbub loads no plug-in and makes no hub."""
    code = (
        "import sys, hubbub; from hubbub.lowlevel import get_hub_if_exists; "
        "assert get_hub_if_exists() is None; "
        # What looks at the environment when an interpreter starts is loaded before.
        "bad = [name for name in sys.modules if name.startswith('hubbub_') and not name.endswith('_start')]; "
        "assert not bad, bad; "
        "assert 'hubbub.loop.stdlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_environment_in_a_process():
    """HUBBUB_LOOP with an unknown name fails with a text that lists the loops."""
    done = subprocess.run(
        [sys.executable, "-c", "import hubbub; hubbub.sleep(0)"],
        env={"HUBBUB_LOOP": "no_such_loop", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "no 'no_such_loop' among the installed loops" in done.stderr
    assert "stdlib" in done.stderr
