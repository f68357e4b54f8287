"""The originals of what patching replaces, as far as core itself needs them.

All of core takes these from here, and nothing from the modules that are patched: with a mutex that became cooperative
the loop would wait for itself. :mod:`hubbub` loads this module before anything can be patched. If the modules are
patched already, perhaps by another library, the originals come from a second, fresh copy.
"""

from __future__ import annotations

import _thread
import os
import select as _select
import selectors
import socket as _socket
import time
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import BuiltinFunctionType, ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "DefaultSelector",
    "RLock",
    "allocate_lock",
    "close",
    "epoll",
    "get_ident",
    "local",
    "monotonic",
    "poll",
    "read",
    "readv",
    "select",
    "sleep",
    "socket",
    "socketpair",
    "start_new_thread",
    "waitpid",
    "write",
    "writev",
]

close = os.close
read = os.read
write = os.write
readv: Any = getattr(os, "readv", None)
writev: Any = getattr(os, "writev", None)
DefaultSelector = selectors.DefaultSelector
select = _select.select
epoll: Any = getattr(_select, "epoll", None)
poll: Any = getattr(_select, "poll", None)
socket = _socket.socket
socketpair = _socket.socketpair
waitpid: Any = getattr(os, "waitpid", None)


def _fresh(module: ModuleType) -> ModuleType:
    """A second copy of a module in C, as it was before it was patched."""
    spec = BuiltinImporter.find_spec(module.__name__)
    if spec is None or spec.loader is None:
        return module  # not built into this interpreter
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def _original(module: ModuleType, *names: str) -> ModuleType:
    """``module``, or a fresh copy of it if one of ``names`` was replaced."""
    untouched = all(_is_builtin(getattr(module, name), module) for name in names)
    return module if untouched else _fresh(module)


def _is_builtin(value: Any, module: ModuleType) -> bool:
    return isinstance(value, BuiltinFunctionType) or getattr(value, "__module__", None) == module.__name__


if TYPE_CHECKING:
    from _thread import RLock, allocate_lock, get_ident, start_new_thread
    from threading import local
    from time import monotonic, sleep
else:
    _threads = _original(_thread, "RLock", "allocate_lock", "get_ident", "_local", "start_new_thread")
    RLock = _threads.RLock
    allocate_lock = _threads.allocate_lock
    get_ident = _threads.get_ident
    local = _threads._local
    start_new_thread = _threads.start_new_thread
    sleep = _original(time, "sleep").sleep
    # Tests that freeze time look for this function everywhere, and replace it. The copy is another object.
    monotonic = _fresh(time).monotonic
