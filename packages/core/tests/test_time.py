"""The cooperative part of the time module."""

from __future__ import annotations

import math
import socket
import sys
import time as standard
from time import monotonic
from typing import Any

import hubbub
import pytest
from hubbub import subprocess, time
from hubbub.lowlevel import Hub
from hubbub.threading import Condition, Event, Lock


def test_sleep(hub: Hub) -> None:
    """sleep lets others run and returns after its time; 0 yields once."""
    seen: list[str] = []
    other = hubbub.spawn(seen.append, "other")
    time.sleep(0)
    assert seen == ["other"]
    begun = monotonic()
    time.sleep(0.01)
    assert monotonic() - begun >= 0.0095
    other.join()


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
        (math.inf, OverflowError),
        (1e10, OverflowError),
        (10**30, OverflowError),
    ],
)
def test_wrong_time(hub: Hub, seconds: Any, error: type[Exception]) -> None:
    """What time.sleep refuses is refused, with the same kind of error."""
    with hubbub.fail_after(5), pytest.raises(error):
        time.sleep(seconds)


def test_what_stands_for_a_number(hub: Hub) -> None:
    """An object with __index__ is a number of seconds, as for time.sleep."""

    class Zero:
        def __index__(self) -> int:
            return 0

    time.sleep(Zero())  # type: ignore[arg-type]


def freeze(patch: pytest.MonkeyPatch) -> None:
    """Replace :func:`time.monotonic` wherever it stands, as libraries do that freeze time for tests."""
    real, now = standard.monotonic, standard.monotonic()

    def frozen() -> float:
        return now

    for module in list(sys.modules.values()):
        if not getattr(module, "__name__", "").startswith(("_pytest", "pluggy", "threading", __name__)):
            for name, value in list(vars(module).items()) if hasattr(module, "__dict__") else ():
                if value is real:
                    patch.setattr(module, name, frozen)


def test_frozen_time(any_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test has frozen the clock of the program, all waits end nevertheless, as the standard library's do."""
    lock, condition = Lock(), Condition()
    lock.acquire()
    left, right = (hubbub.io.Socket(fileno=end.detach()) for end in socket.socketpair())
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with left, right, child:
        left.settimeout(0.01)
        with monkeypatch.context() as patch:
            freeze(patch)
            assert standard.monotonic() == standard.monotonic()
            hubbub.sleep(0.01)
            time.sleep(0.01)
            assert not Event().wait(0.01)
            assert not lock.acquire(timeout=0.01)
            with condition:
                assert not condition.wait_for(lambda: False, 0.01)
            with pytest.raises(TimeoutError):
                left.recv(1)
            with pytest.raises(TimeoutError):
                left.sendall(bytes(1 << 24))
            with hubbub.move_on_after(0.01) as scope:
                hubbub.Event().wait()
            assert scope.cancelled_caught
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=0.01)
            with pytest.raises(subprocess.TimeoutExpired):
                child.communicate(timeout=0.01)
