"""The facade's names, kinds and parameters against the table that gevent 26.9.0 itself made: see surface.py."""

from __future__ import annotations

import _socket
import _thread
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BY_PLACE = "by place only, as in CPython"
NO_LIBEV = "there is no structure of libev's to point to"
DNSPYTHON = "not built on dnspython's resolver"
KNOWN = {
    "gevent.core:loop.ptr": NO_LIBEV,
    "gevent.core:loop.sigfd": NO_LIBEV,
    "gevent.core:loop.run_callback": "called for every switch: by place only",
    "gevent.core:loop.run_callback_threadsafe": "as run_callback",
    "gevent.pool:Group.imap": "a function by name leaves no place for what it is applied to",
    "gevent.pool:Group.imap_unordered": "as imap",
    "gevent.pool:Pool.imap": "as Group.imap",
    "gevent.pool:Pool.imap_unordered": "as Group.imap",
    "gevent.threadpool:ThreadPool.imap": "as Group.imap",
    "gevent.threadpool:ThreadPool.imap_unordered": "as Group.imap",
    "gevent.resolver.ares:Resolver.cares_class": "hubbub's own channel",
    "gevent.resolver.ares:Resolver.EAI_FAMILY_MSG": "texts of errors are the system's",
    "gevent.resolver.ares:Resolver.EAI_NONAME_MSG": "texts of errors are the system's",
    "gevent.resolver.ares:Resolver.HOSTNAME_ENCODING": "always idna",
    "gevent.resolver.ares:Resolver.fixup_gaierror": "texts of errors are the system's",
    "gevent.resolver.blocking:Resolver.method": "an inner part of gevent's",
    "gevent.resolver.dnspython:Resolver.EAI_FAMILY_MSG": DNSPYTHON,
    "gevent.resolver.dnspython:Resolver.EAI_NONAME_MSG": DNSPYTHON,
    "gevent.resolver.dnspython:Resolver.HOSTNAME_ENCODING": DNSPYTHON,
    "gevent.resolver.dnspython:Resolver.fixup_gaierror": DNSPYTHON,
    "gevent.resolver.dnspython:Resolver.resolver": DNSPYTHON,
    "gevent.socket:SocketType.bind": BY_PLACE,
    "gevent.socket:SocketType.connect": BY_PLACE,
    "gevent.socket:SocketType.connect_ex": BY_PLACE,
    "gevent.socket:SocketType.recvmsg_into": BY_PLACE,
    "gevent.socket:SocketType.sendall": BY_PLACE,
    "gevent.socket:SocketType.sendmsg": BY_PLACE,
    "gevent.socket:SocketType.settimeout": BY_PLACE,
    "gevent.ssl:SSLSocket.bind": BY_PLACE,
    "gevent.ssl:SSLSocket.read": "the parameter has CPython's name",
    "gevent.ssl:SSLSocket.settimeout": BY_PLACE,
    "gevent.subprocess:Popen": "by name only from encoding on, as in CPython; threadpool is for Windows",
    "gevent.subprocess:Popen.pipe_cloexec": "a rest of Python 2",
    "gevent.thread:get_ident": "of the current greenlet only",
    "gevent.threading:get_ident": "of the current greenlet only",
}
# Newer releases of CPython have these tell their parameters; on others nobody can see a difference.
if _socket.socket.shutdown.__text_signature__:
    KNOWN["gevent.socket:SocketType.shutdown"] = BY_PLACE
if _thread.stack_size.__text_signature__:
    KNOWN["gevent.thread:stack_size"] = BY_PLACE

REPLACED_KNOWN = {
    "_threading_local.local _local__impl": "how it keeps its values",
}


@pytest.fixture(scope="module")
def differences() -> list[str]:
    """Where the facade differs from the table."""
    done = subprocess.run(
        [sys.executable, HERE / "surface.py", HERE / "surface.txt"],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "HUBBUB_GEVENT": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_surface(differences: list[str]) -> None:
    """What gevent has is there, is of its kind, and can be called in every way in which gevent's can."""
    assert [line for line in differences if line.split(" ")[0] not in KNOWN] == []


def test_exceptions_are_needed(differences: list[str]) -> None:
    """Each exception from this still stands for a difference."""
    assert sorted(set(KNOWN) - {line.split(" ")[0] for line in differences}) == []


REPLACED = """
import importlib, inspect, sys
import gevent.monkey; gevent.monkey.patch_all()
sys.path.insert(0, sys.argv[1])
import surface
from gevent.monkey import saved
MAKERS = {"_thread": {"LockType": "allocate_lock", "lock": "allocate_lock"}}
def instance(module, name):
    maker = saved[module].get(MAKERS.get(module, {}).get(name, name))
    try: return maker(), getattr(importlib.import_module(module), name)()
    except TypeError: return None, None
def lost(old, new):
    ours = ("__dict__", "__module__", "__weakref__")
    return [name for name in dir(old) if not hasattr(new, name) and name not in ours]
def refused(old, new):
    for name in dir(old):
        if not name.startswith("_") and callable(getattr(old, name)):
            yield from (f"{name}: {what}" for what in surface.refused(
                surface.parameters(getattr(old, name)), surface.parameters(getattr(new, name))))
classes = 0
for module, names in sorted(saved.items()):
    for name, old in sorted(names.items()):
        new = getattr(importlib.import_module(module), name, None)
        if not isinstance(old, type) or not isinstance(new, type): continue
        classes += 1
        for what in (*lost(old, new), *lost(*instance(module, name)), *refused(old, new)):
            print(f"{module}.{name}", what)
print(classes > 15)
"""


def test_replaced_classes() -> None:
    """What a replaced class or its objects have, the replacement has; its methods can be called in all their ways."""
    done = subprocess.run(
        [sys.executable, "-c", REPLACED, HERE],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "HUBBUB_GEVENT": "1"},
    )
    assert done.returncode == 0, done.stderr
    *lines, enough = done.stdout.splitlines()
    assert enough == "True"
    assert [line for line in lines if line not in REPLACED_KNOWN] == []
