"""Waiting for other processes in :mod:`multiprocessing`: for its connections, and the locks that its queues use.

Its descriptors and semaphores are shared with processes that know nothing of hubbub, so they stay as they are: blocking
descriptors, which are polled before they are read, and semaphores, for which the system has no event when they become
free. Operations that need not wait are done as before, without a switch. So is everything in native threads.
"""

from __future__ import annotations

import io
import os
import select
import selectors
import struct
from collections.abc import Callable
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import hubbub
from hubbub.hub import get_hub_if_exists
from hubbub.lowlevel import monotonic

from hubbub_monkey import _journal
from hubbub_monkey.threads import waits_natively

__all__ = ["wait_for_connections", "wait_for_semaphores"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.01
"""Seconds between two tries of a semaphore while other greenlets have something to do."""
_SLICE = 0.05
"""Seconds to wait in the system while no other greenlet has anything to do."""
_PIECE = 4096
"""Bytes: POSIX's PIPE_BUF on Linux. A descriptor that polls as writable takes so many without waiting."""

_LARGEST_READ = 1 << 18
_LARGEST_SHORT = 0x7FFFFFFF
_JOINED = 16384
"""Bytes; of the format, see ``multiprocessing.connection.Connection._send_bytes``."""


# Semaphores ---------------------------------------------------------------------------------------------------------


def wait_for_semaphores(synchronize: Any) -> Callable[[], None]:
    """``multiprocessing.synchronize``: let others run while a greenlet waits for a lock that is made from now on.

    :returns: what undoes it, for locks to come.
    """
    return _set(synchronize.SemLock, _make_methods=_make_methods, __enter__=_enter)


def _make_methods(lock: Any) -> None:
    lock.acquire = partial(_acquire, lock._semlock)
    lock.release = lock._semlock.release


def _enter(lock: Any) -> Any:
    return lock.acquire()


def _acquire(semaphore: Any, block: bool = True, timeout: float | None = None) -> bool:
    """As ``_multiprocessing.SemLock.acquire``. A greenlet takes the semaphore and returns without a switch in between,
    so a greenlet that is killed while it waits has not taken it.
    """
    if not block or waits_natively():
        return bool(semaphore.acquire(block, timeout))
    if semaphore.acquire(False):
        return True
    end = None if timeout is None else monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        left = _SLICE if end is None else end - monotonic()
        if left <= 0:
            return False
        if _is_alone():
            got = semaphore.acquire(True, min(left, _SLICE))
            if not got and get_hub_if_exists() is not None:
                hubbub.sleep(0)
        else:
            hubbub.sleep(min(left, pause))
            pause = min(pause * 2, _LONGEST_PAUSE)
            got = semaphore.acquire(False)
        if got:
            return True


def _is_alone() -> bool:
    """Whether no other greenlet of this native thread is runnable, or waits for a descriptor or a timer.

    A greenlet that waits for another thread does not count; it runs after the short wait in the system.
    """
    hub = get_hub_if_exists()
    if hub is None:
        return True
    counts = hub.statistics()
    return not (counts.ready or counts.timers or counts.waiting)


# Connections --------------------------------------------------------------------------------------------------------


def wait_for_connections(connection: Any) -> Callable[[], None]:
    """``multiprocessing.connection``: let others run while a connection waits, where connections are descriptors.

    :returns: what undoes it.
    """
    if not hasattr(select, "poll"):  # Windows
        return _set(connection)
    replaced = _set(connection.Connection, _close=_close, _recv_bytes=_receive, _send_bytes=_send)
    # The module may have taken its selector before there was a cooperative one.
    selector = _set(connection, _WaitSelector=selectors.PollSelector)

    def back() -> None:
        replaced()
        selector()

    return back


def _close(connection: Any) -> None:
    os.close(connection._handle)  # the cooperative close, which wakes the greenlets that wait for the descriptor


def _receive(connection: Any, maxsize: int | None = None) -> io.BytesIO | None:
    """One message. If the waiter is killed, the part that has arrived is kept for the next caller."""
    begun: bytearray = vars(connection).setdefault("_begun", bytearray())
    _fill(connection, begun, 4)
    head, (size,) = 4, struct.unpack_from("!i", begun)
    if size == -1:
        _fill(connection, begun, 12)
        head, (size,) = 12, struct.unpack_from("!Q", begun, 4)
    if maxsize is not None and size > maxsize:
        connection._begun = bytearray()
        return None
    _fill(connection, begun, head + size, head)
    connection._begun = bytearray()
    message = io.BytesIO()
    message.write(memoryview(begun)[head:])  # the position stays at the end, where the caller looks for the size
    return message


def _fill(connection: Any, begun: bytearray, wanted: int, boundary: int = 0) -> None:
    """Read until ``begun`` has ``wanted`` bytes.

    :raises EOFError: the peer has closed, at the start or at ``boundary``.
    :raises OSError: the same amid a message.
    """
    while len(begun) < wanted:
        _wait(connection, EVENT_READ)
        piece = _journal.original("os", "read")(connection._handle, min(wanted - len(begun), _LARGEST_READ))
        if not piece:
            if len(begun) in (0, boundary):
                raise EOFError
            raise OSError("got end of file during message")
        begun += piece


def _send(connection: Any, message: Any) -> None:
    """Send one message. If the sender is killed amid it, the connection is closed: the peer could not read on."""
    size = len(message)
    head = struct.pack("!i", size) if size <= _LARGEST_SHORT else struct.pack("!iQ", -1, size)
    begun = False
    # As in the standard library, a small message is joined to its header, which saves a system call; a large one is
    # not, which saves the copy.
    for part in [head + message] if size <= _JOINED else [head, message]:
        rest = memoryview(part)
        while rest:
            try:
                _wait(connection, EVENT_WRITE)
            except BaseException:
                if begun:
                    connection.close()
                raise
            piece = rest if waits_natively() else rest[:_PIECE]
            rest = rest[_journal.original("os", "write")(connection._handle, piece) :]
            begun = True


def _wait(connection: Any, event: int) -> None:
    """Wait until the connection is readable or writable. Its descriptor may be that of a socket, which is non-blocking,
    also in a native thread.

    :raises OSError: the connection is closed, or was meanwhile.
    """
    handle = connection._handle
    if handle is None:
        raise OSError("handle is closed")
    poller = _journal.original("select", "poll")()
    poller.register(handle, select.POLLIN if event == EVENT_READ else select.POLLOUT)
    if waits_natively():
        poller.poll()
        return
    while not poller.poll(0):
        with selectors.PollSelector() as selector:
            selector.register(handle, event)
            selector.select()
        if connection._handle != handle:
            raise OSError("handle is closed")


# Both ---------------------------------------------------------------------------------------------------------------


def _set(owner: Any, **values: Any) -> Callable[[], None]:
    before = {name: getattr(owner, name) for name in values if hasattr(owner, name)}
    for name in before:
        setattr(owner, name, values[name])

    def back() -> None:
        for name, old in before.items():
            setattr(owner, name, old)

    return back
