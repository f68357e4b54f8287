"""LibuvBackend: what it adds to the table and to core's RingBackend."""

from __future__ import annotations

import subprocess
import sys
import time

import hubbub
import pytest
from hubbub.exceptions import LoopDestroyed
from hubbub.lowlevel import BaseLoop, get_hub_if_exists
from hubbub.plugins import LOOPS, load
from hubbub_loop_libuv import LibuvBackend


def test_entry_point() -> None:
    """The loop is found by the name of its library."""
    assert load(LOOPS, "libuv") is LibuvBackend


def test_version() -> None:
    """The version of libuv is known."""
    assert LibuvBackend.version().startswith("1.")


def test_verify() -> None:
    """A sound loop passes its check, and a destroyed one cannot be checked."""
    loop = BaseLoop(LibuvBackend())
    loop.backend.verify()
    loop.destroy()
    with pytest.raises(LoopDestroyed):
        loop.backend.verify()


def test_sleep() -> None:
    """A program that asks for this loop sleeps on it."""
    if (hub := get_hub_if_exists()) is not None:
        hub.destroy()
    hubbub.configure(loop="libuv")
    try:
        start = time.monotonic()
        hubbub.sleep(0.01)
        assert time.monotonic() - start >= 0.01
        assert type(hubbub.get_hub().loop.backend) is LibuvBackend
    finally:
        hubbub.configure(loop=None)
        hubbub.get_hub().destroy()


def test_missing_extension() -> None:
    """Without its compiled module the package says how to build it again."""
    code = "import sys; sys.modules['hubbub_loop_libuv._libuv'] = None; import hubbub_loop_libuv"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 1
    assert "pip install --force-reinstall" in answer.stderr
