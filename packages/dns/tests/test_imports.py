"""Modules and forks: what is being imported when a process forks can never be imported in the child."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("imports_program.py")


@pytest.mark.parametrize("kind", ["ares", "dnspython", "thread", "block"])
def test_no_call_imports(kind: str) -> None:
    """No lookup, and no call of a socket, a poller or TLS, imports a module, a codec least of all."""
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


FORKS = """
import os, signal, sys, threading
import hubbub
entered, leave = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "dns.exception" and threading.current_thread() is importer:
            entered.set()
            leave.wait(20)

sys.meta_path.insert(0, Slow())
os.environ.update(HUBBUB_RESOLVER="dnspython")
importer = threading.Thread(target=lambda: hubbub.get_hub().resolver.close())
importer.start()
entered.wait(20)
threading.Timer(0.2, leave.set).start()
pid = os.fork()
if not pid:
    signal.alarm(10)
    found = hubbub.get_hub().resolver.gethostbyname("localhost")
    os._exit(0 if found == "127.0.0.1" and "dns.exception" in sys.modules else 1)
print(leave.is_set(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
importer.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_resolver_is_imported() -> None:
    """A process that forks while another thread imports a resolver has children that can import it, and look up."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True 0\n", done.stdout + done.stderr
