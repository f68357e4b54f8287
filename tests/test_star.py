"""The star: every package depends on core alone, through its public part; only the facade sees them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.star import CORE, FACADE, Sources

if TYPE_CHECKING:
    from conftest import Package

ALLOWED: dict[str, list[str]] = {
    "hubbub_gevent.greenlet": [
        "Greenlet uses _run of its base hubbub.greenlet.Greenlet",  # the documented body of a subclass, as in gevent
    ],
    "hubbub_testkit.endings": [
        "sets hub.exception_stream",  # a property that is there to be assigned
    ],
}
"""What is right all the same, by module, with the reason."""

BASE = """
import socket
class Base(socket.socket):
    _slot: int
    def __init__(self):
        self._set = 1
        self.public = 2
    def _hidden(self): pass
    def _real_close(self): pass
"""
SOURCES = {
    "hubbub": "from hubbub.parts import Base",
    "hubbub.parts": BASE,
    "hubbub_net.socket": "from hubbub import Base\nclass Socket(Base): pass",
    "hubbub_server": "",
    "hubbub_gevent": "",
}


def violations(own: str, source: str) -> list[str]:
    """What a module ``own`` with that source does against the star."""
    return Sources({**SOURCES, f"{own}.tried": source}).violations(f"{own}.tried")


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("hubbub_server", "import hubbub_net.socket"),
        ("hubbub_server", "from hubbub_net import socket"),
        ("hubbub_server", "def f():\n    import hubbub_net"),
        ("hubbub_server", "import importlib\nimportlib.import_module('hubbub_net')"),
        ("hubbub", "import hubbub_net"),
        ("hubbub_net", "import hubbub_gevent"),
        ("hubbub_net", "import hubbub._state"),
        ("hubbub_net", "from hubbub import _state"),
        ("hubbub_net", "from hubbub.hub import Hub\nHub._current"),
        ("hubbub_net", "import hubbub\nhubbub.hub.get_hub()\nhubbub.hub._hubs = {}"),
        ("hubbub_gevent", "from hubbub_net._parts import x"),
    ],
)
def test_forbidden(own: str, source: str) -> None:
    """Another spoke, and anything private of a package, is found however it is imported."""
    assert violations(own, source)


@pytest.mark.parametrize(
    "body",
    [
        "def f(self): return self._set",
        "def f(this): this._slot = 1",
        "def f(self): super()._hidden()",
        "@classmethod\n    def f(cls): cls._hidden",
        "def _hidden(self): pass",
        "_slot = 1",
    ],
)
@pytest.mark.parametrize(
    "base",
    [
        "from hubbub import Base",
        "from hubbub.parts import Base",
        "import hubbub.parts\nBase = 0\nclass Base(hubbub.parts.Base): pass",
        "from hubbub_net.socket import Socket as Base",
    ],
)
def test_inherited_privates(base: str, body: str) -> None:
    """What a base in another package keeps to itself is found when a subclass uses it, or has the name again."""
    assert violations("hubbub_gevent", f"{base}\nclass Own(Base):\n    {body}")


@pytest.mark.parametrize(
    "source",
    [
        "get_hub().ready = 1",
        "get_hub().ready += 1",
        "del get_hub().ready",
        "setattr(get_hub(), 'ready', 1)",
        "hub = get_hub()\nhub.loop.refs -= 1",
        "def f(hub: Hub): hub.ready = 1",
        "def f(hub: Hub | None): hub.ready = 1",
        "def f(hub: 'Hub'): hub.ready = 1",
        "def f(hubs: list[Hub]):\n    for hub in hubs: hub.ready = 1",
        "def f(*hubs: Hub): hubs[0].ready = 1",
        "class A:\n    hub: Hub\n    def f(self): self.hub.ready = 1",
        "class A:\n    def __init__(self, hub: Hub): self.hub = hub\n    def f(self): self.hub.ready = 1",
        "class A:\n    def f(self):\n        a, self.hub.ready = 1, 2\n    def __init__(self): self.hub = get_hub()",
        "with Hub() as hub: hub.ready = 1",
        "if hub := get_hub(): hub.ready = 1",
        "Hub.ready = 1",
        "import hubbub\nhubbub.ready = 1",
        "for get_hub().ready in (): pass",
    ],
)
def test_assignments(source: str) -> None:
    """An attribute that is set on what comes from another package is found."""
    assert violations("hubbub_net", f"from hubbub.hub import Hub, get_hub\n{source}")


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("hubbub", "import os\nfrom hubbub.hub import Hub\nfrom hubbub._parts import x\nHub._y"),
        ("hubbub_net", "from hubbub import lowlevel\nlowlevel.park()\nimport hubbub_net._parts"),
        ("hubbub_net", "import hubbub\nhubbub.__version__\nclass A:\n    def f(self): self._hubbub"),
        ("hubbub_gevent", "import hubbub_net.socket, hubbub_server\nimport hubbub"),
        ("hubbub", "from hubbub.parts import Base\nclass Own(Base):\n    def f(self): self._set"),
        ("hubbub_net", "from hubbub import Base\nclass Own(Base):\n    def f(self, other): self.public = other._set"),
        ("hubbub_net", "from hubbub import Base\nclass Own(Base):\n    def _real_close(self): super()._real_close()"),
        ("hubbub_net", "from hubbub.hub import get_hub\nhub = get_hub()\nhub = {}\nhub.ready = 1"),
        (
            "hubbub_net",
            "from hubbub.queue import Queue\ndef f(queue: Queue):\n    own: Own = queue.get()\n    own.x = 1",
        ),
        ("hubbub_net", "from hubbub.lowlevel import native_local\nkept = native_local()\nkept.x = 1"),
    ],
)
def test_allowed(own: str, source: str) -> None:
    """Core's public part, a package's own parts and objects, and the facade's imports are let through."""
    assert violations(own, source) == []


@pytest.fixture(scope="module")
def sources(packages: list[Package]) -> Sources:
    return Sources({name: path.read_text() for package in packages for name, path in package.modules().items()})


def test_packages(package: Package, sources: Sources) -> None:
    """No module imports another package than core, nor uses or changes what is not its own; but for what is listed."""
    found = {name: listed for name in package.modules() if (listed := sorted(set(sources.violations(name))))}
    expected = {name: sorted(listed) for name, listed in ALLOWED.items() if name in package.modules()}
    new = [f"{name}: {each}" for name, listed in found.items() for each in listed if each not in expected.get(name, ())]
    assert not new, "\n".join(new)
    assert found == expected, "something is no longer there: take it off the list"


def test_declared(package: Package, packages: list[Package]) -> None:
    """The declared dependencies have the same shape as the imports."""
    siblings = {other.project["name"] for other in packages}
    declared = {requirement.partition(">")[0].strip() for requirement in package.project["dependencies"]}
    expected: set[str] = set() if package.import_name == CORE else {CORE}
    if package.import_name == FACADE:
        assert declared & siblings >= expected
    else:
        assert declared & siblings == expected
