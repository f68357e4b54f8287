"""Modules and forks: what is being imported when a process forks can never be imported in the child."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hubbub_dns._fork import loading

PROGRAM = Path(__file__).with_name("imports_program.py")


@pytest.mark.parametrize("kind", ["ares", "dnspython", "thread", "block"])
def test_no_call_imports(kind: str) -> None:
    """No look-up, and no call of a socket, a poller or TLS, imports a module, a codec least of all."""
    done = subprocess.run([sys.executable, str(PROGRAM), kind], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


PATCHED = """
import importlib, pkgutil, sys
import hubbub_monkey
from hubbub_monkey import patch_all
import _thread, threading, time, select, selectors, socket, ssl, os, queue, subprocess, signal
modules = (_thread, threading, time, select, selectors, socket, os)
before = [(module, name, value) for module in modules for name, value in vars(module).items()]
patch_all()
replaced = [now for module, name, value in before if (now := getattr(module, name, None)) is not value]
import hubbub_dns
for info in pkgutil.iter_modules(hubbub_dns.__path__, "hubbub_dns."):
    module = importlib.import_module(info.name)
    for name, value in vars(module).items():
        if callable(value) and any(value is other for other in replaced):
            print(info.name, name)
print(len(replaced) > 20)
"""


def test_nothing_is_taken_from_patched_modules() -> None:
    """A resolver that is loaded after patching uses the interpreter's own locks, not cooperative ones."""
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stdout + done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_for_imports() -> None:
    """While a look-up in another thread imports something nobody forks; the child can import it then."""
    entered, leave = threading.Event(), threading.Event()

    def load() -> None:
        with loading:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=load)
    thread.start()
    entered.wait(10)
    forked: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if not pid:
            os._exit(0 if loading.acquire(blocking=False) else 1)
        forked.append(pid)

    forking = threading.Thread(target=fork)
    forking.start()
    forking.join(0.05)
    assert not forked
    leave.set()
    thread.join(10)
    forking.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0
