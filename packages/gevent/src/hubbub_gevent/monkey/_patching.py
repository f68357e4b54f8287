"""The signatures, events and queries of gevent over :mod:`hubbub_monkey`."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import hubbub_monkey
from hubbub_monkey import PatchWarning as MonkeyPatchWarning
from hubbub_monkey.patching import originals

from hubbub_gevent import events as _events
from hubbub_gevent.events import DoNotPatch
from hubbub_gevent.monkey.api import patch_item

__all__ = [
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
    "patch_all",
    "patch_builtins",
    "patch_contextvars",
    "patch_dns",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_selectors",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_subprocess",
    "patch_sys",
    "patch_thread",
    "patch_time",
]

_earlier: list[dict[str, Any]] = []


def is_module_patched(mod_name: str) -> bool:
    """Whether anything in a module is replaced."""
    return mod_name in originals


def is_object_patched(mod_name: str, item_name: str) -> bool:
    """Whether a name is replaced."""
    return is_module_patched(mod_name) and item_name in originals[mod_name]


def is_anything_patched() -> bool:
    """Whether any module is patched."""
    return bool(originals)


def _apply(*names: str) -> None:
    """Apply patches by name, one after the other, with gevent's events; a subscriber may prevent any of them."""
    for name in names:
        _apply_one(name)


def _apply_one(name: str) -> None:
    module = "socket" if name == "dns" else name
    target, source = importlib.import_module(module), importlib.import_module(f"hubbub_gevent.{module}")
    items = list(source.__dns__ if name == "dns" else source.__implements__)
    try:
        _events.notify_and_call_entry_points(_events.GeventWillPatchModuleEvent(module, source, target, items))
    except DoNotPatch:
        return
    hubbub_monkey.patch_module(name)
    for item in (*items, *_ALSO.get(name, ())):
        if hasattr(target, item) and item not in _LEFT:
            patch_item(target, item, getattr(source, item))
    _events.notify_and_call_entry_points(_events.GeventDidPatchModuleEvent(module, source, target))


_ALSO = {"socket": ("create_server",), "ssl": ("create_connection",)}
"""Further functions that make sockets, and that hubbub replaces too."""
_LEFT = ("SSLContext", "SSLSocket")
"""Classes that their own methods look up in the module: they stay in place, and get cooperative methods."""


def patch_os() -> None:
    """Fork, close and waiting for children."""
    _apply("os")


def patch_queue() -> None:
    """The module queue; ``GEVENT_MONKEY_DISABLE_QUEUE_QUEUE`` leaves its class Queue alone."""
    _apply("queue")
    if os.environ.get("GEVENT_MONKEY_DISABLE_QUEUE_QUEUE") and is_object_patched("queue", "Queue"):
        import queue

        queue.Queue = originals["queue"].pop("Queue")  # type: ignore[misc]  # what it was


def patch_time() -> None:
    """time.sleep."""
    _apply("time")


def patch_contextvars() -> None:
    """Nothing: context variables tell greenlets apart already."""


def patch_thread(
    threading: bool = True,
    _threading_local: bool = True,
    Event: bool = True,
    logging: bool = True,
    existing_locks: bool = True,
    _warnings: Any = None,
) -> None:
    """Threads become greenlets."""
    _apply("threading")
    if not is_module_patched("threading"):
        return
    import _thread
    import _threading_local as _local_module
    import threading as _threading

    from hubbub_gevent.event import Event as _Event
    from hubbub_gevent.local import local
    from hubbub_gevent.thread import LockType

    patch_item(_thread, "_local", local)
    if _threading_local:
        patch_item(_local_module, "local", local)
    for name in ("allocate_lock", "LockType", "lock"):
        if is_object_patched("_thread", name):
            patch_item(_thread, name, LockType)
    if Event:
        patch_item(_threading, "Event", _Event)


def patch_socket(dns: bool = True, aggressive: bool = True) -> None:
    """Sockets."""
    _apply("socket")
    if dns:
        patch_dns()


def patch_dns() -> None:
    """Lookups."""
    _apply("dns")


def patch_ssl(_warnings: Any = None, _first_time: bool = True) -> None:
    """TLS: all contexts make cooperative sockets, also those that exist already."""
    _apply("ssl")
    if is_module_patched("ssl"):
        import ssl

        from hubbub_gevent.ssl import SSLSocket

        ssl.SSLContext.sslsocket_class = SSLSocket


def patch_select(aggressive: bool = True) -> None:
    """select and selectors."""
    _apply("select", "selectors")


def patch_selectors(aggressive: bool = True) -> None:
    """selectors."""
    _apply("selectors")


def patch_subprocess() -> None:
    """Child processes."""
    _apply("subprocess")


def patch_builtins() -> None:
    """Nothing."""


def patch_sys(stdin: bool = True, stdout: bool = True, stderr: bool = True) -> None:
    """Nothing."""


def patch_signal() -> None:
    """SIGCHLD handlers run in greenlets."""
    _apply("signal")


def patch_all(
    socket: bool = True,
    dns: bool = True,
    time: bool = True,
    select: bool = True,
    thread: bool = True,
    os: bool = True,
    ssl: bool = True,
    subprocess: bool = True,
    sys: bool = False,
    aggressive: bool = True,
    Event: bool = True,
    builtins: bool = True,
    signal: bool = True,
    queue: bool = True,
    contextvars: bool = True,
    **kwargs: Any,
) -> bool | None:
    """Patch all modules, except those that are declined.

    :returns: True; False if a subscriber prevented it; None if nothing new was asked for.
    """
    asked = {
        "socket": socket,
        "dns": dns,
        "time": time,
        "select": select,
        "thread": thread,
        "os": os,
        "ssl": ssl,
        "subprocess": subprocess,
        "sys": sys,
        "aggressive": aggressive,
        "Event": Event,
        "builtins": builtins,
        "signal": signal,
        "queue": queue,
        "contextvars": contextvars,
    }
    first = not _earlier or not originals
    if not first and _nothing_new({**asked, **kwargs}):
        return None
    try:
        _events.notify_and_call_entry_points(_events.GeventWillPatchAllEvent(asked, kwargs))
    except DoNotPatch:
        return False
    _earlier.append({**asked, **kwargs})
    troubles: list[str] = []
    if signal and not os:
        troubles.append(
            "Patching signal but not os will result in SIGCHLD handlers installed after this not being called"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MonkeyPatchWarning)
        for function in _wanted(asked):
            function()
    if select and thread and is_module_patched("threading") and is_module_patched("selectors"):
        # gevent has no names for these. Each greenlet may run an event loop, and wait for other processes' events.
        hubbub_monkey.patch_module("asyncio")
        hubbub_monkey.patch_module("multiprocessing")
    _events.notify_and_call_entry_points(_events.GeventDidPatchBuiltinModulesEvent(asked, kwargs))
    _events.notify_and_call_entry_points(_events.GeventDidPatchAllEvent(asked, kwargs))
    for item in caught:
        troubles.append(str(item.message))
    for text in dict.fromkeys(troubles):
        warnings.warn(text, MonkeyPatchWarning, stacklevel=2)
    return True


def _wanted(asked: dict[str, Any]) -> list[Callable[[], None]]:
    """The patching functions to call, in gevent's order."""
    steps: list[tuple[str, Callable[[], None]]] = [
        ("os", patch_os),
        ("thread", partial(patch_thread, Event=asked["Event"])),
        ("time", patch_time),
        ("socket", partial(patch_socket, dns=asked["dns"])),
        ("select", patch_select),
        ("ssl", patch_ssl),
        ("subprocess", patch_subprocess),
        ("signal", patch_signal),
        ("queue", patch_queue),
    ]
    return [function for name, function in steps if asked[name]]


def _nothing_new(wishes: dict[str, Any]) -> bool:
    """Whether an earlier call has patched all that is asked for; warns if the arguments differ."""
    union = {name: any(call.get(name) for call in _earlier) for name in {key for call in _earlier for key in call}}
    if wishes == _earlier[-1]:
        return True
    warnings.warn(
        "Patching more than once will result in the union of all True parameters being patched",
        MonkeyPatchWarning,
        stacklevel=3,
    )
    return all(union.get(name) for name, wish in wishes.items() if wish)
