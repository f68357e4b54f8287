"""Signals in a patched program: what a handler raises is raised in the main greenlet."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

PROGRAM = """
from hubbub_monkey import patch_all
{before}
patch_all()
{after}
import os, queue, signal, sys, threading, time
def busy():
    os.kill(os.getpid(), signal.{number})
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    print("went on", flush=True)
thread = threading.Thread(target=busy)
try:
    thread.start()
    time.sleep(20)
except BaseException as error:
    print(type(error).__name__, error, flush=True)
thread.join()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
SETTING = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: {action})"


@pytest.mark.parametrize("early", [False, True], ids=["set after patching", "set before"])
@pytest.mark.parametrize(
    ("action", "seen"), [("sys.exit(3)", "SystemExit 3"), ("1 / 0", "ZeroDivisionError division by zero")]
)
def test_error_of_a_handler(python: Callable[..., CompletedProcess[str]], action: str, seen: str, early: bool) -> None:
    """An error of a handler that strikes in a patched thread is raised in the main greenlet; the thread goes on."""
    setting = SETTING.format(action=action)
    parts = {"before": setting if early else "", "after": "" if early else setting}
    done = python(PROGRAM.format(number="SIGTERM", **parts))
    assert sorted(done.stdout.splitlines()) == sorted([seen, "went on"])
    assert done.stderr == ""


def test_control_c(python: Callable[..., CompletedProcess[str]]) -> None:
    """Ctrl-C that strikes in a patched thread is raised in the main greenlet alone."""
    done = python(PROGRAM.format(number="SIGINT", before="", after=""))
    assert sorted(done.stdout.splitlines()) == ["KeyboardInterrupt ", "went on"]
    assert done.stderr == ""


def test_exit_status(python: Callable[..., CompletedProcess[str]]) -> None:
    """sys.exit in a handler that strikes in a patched thread is the program's end."""
    source = PROGRAM.format(number="SIGTERM", before="", after=SETTING.format(action="sys.exit(3)"))
    source = source.replace("except BaseException", "except ArithmeticError").replace("thread.join()", "")
    assert python(source, status=3).stdout in ("", "went on\n")
