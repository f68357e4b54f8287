"""LibevBackend: what it adds to the table and to core's RingBackend."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import hubbub
import pytest
from hubbub.exceptions import LoopDestroyed
from hubbub.lowlevel import BaseLoop, get_hub_if_exists
from hubbub.plugins import LOOPS, load
from hubbub_loop_libev import LibevBackend


@contextmanager
def opened(interface: str | None = None) -> Iterator[LibevBackend]:
    """A backend that a loop holds, which is destroyed in the end."""
    loop = BaseLoop(LibevBackend(interface))
    try:
        yield loop.backend
    finally:
        loop.destroy()


def test_entry_point() -> None:
    """The loop is found by the name of its library."""
    assert load(LOOPS, "libev") is LibevBackend


@pytest.mark.parametrize("interface", LibevBackend.interfaces())
def test_interface_by_argument(interface: str) -> None:
    """A backend uses the kernel interface that its argument names."""
    with opened(interface) as backend:
        assert backend.interface == interface


def test_interface_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument HUBBUB_LIBEV_BACKEND names the interface; with one it does not."""
    monkeypatch.setenv("HUBBUB_LIBEV_BACKEND", "poll")
    with opened() as backend:
        assert backend.interface == "poll"
    with opened("select") as backend:
        assert backend.interface == "select"


@pytest.mark.skipif(sys.platform != "linux", reason="what is best differs between systems")
def test_default_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice, or among several, libev takes the best it has."""
    monkeypatch.delenv("HUBBUB_LIBEV_BACKEND", raising=False)
    for choice in (None, "", "select,poll,epoll"):
        with opened(choice) as backend:
            assert backend.interface == "epoll"


def test_unknown_interface() -> None:
    """An unknown interface is a ValueError that names those there are."""
    with pytest.raises(ValueError, match=r"no interface 'carrier pigeon'.*select, poll"):
        LibevBackend("select, carrier pigeon")


def test_version() -> None:
    """The version of libev is known."""
    major, minor = LibevBackend.version().split(".")
    assert int(major) >= 4
    assert minor.isdigit()


def test_verify() -> None:
    """A sound loop passes its check, and a destroyed one cannot be checked."""
    with opened() as backend:
        backend.verify()
    with pytest.raises(LoopDestroyed):
        backend.verify()


def test_sleep() -> None:
    """A program that asks for this loop sleeps on it."""
    if (hub := get_hub_if_exists()) is not None:
        hub.destroy()
    hubbub.configure(loop="libev")
    try:
        start = time.monotonic()
        hubbub.sleep(0.01)
        assert time.monotonic() - start >= 0.01
        assert type(hubbub.get_hub().loop.backend) is LibevBackend
    finally:
        hubbub.configure(loop=None)
        hubbub.get_hub().destroy()


def test_missing_extension() -> None:
    """Without its compiled module the package says how to build it again."""
    code = "import sys; sys.modules['hubbub_loop_libev._libev'] = None; import hubbub_loop_libev"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 1
    assert "pip install --force-reinstall" in answer.stderr
