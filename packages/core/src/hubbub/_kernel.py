"""What the kernel says: what a native thread is doing, and who is at the other end of a UNIX socket. Linux; elsewhere
nothing is known."""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import Any

__all__ = ["activity", "peer_of"]

_main_thread = threading.main_thread  # patching replaces it

# By number, on x86-64: those in which a program is seen to hang.
_NAMES = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev",
        23: "select", 35: "nanosleep", 42: "connect", 43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg",
        47: "recvmsg", 61: "wait4", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 202: "futex",
        230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 262: "newfstatat", 270: "pselect6",
        271: "ppoll", 281: "epoll_pwait", 288: "accept4", 441: "epoll_pwait2",
    }
}  # fmt: skip


def activity(ident: int) -> str | None:
    """The system call that a native thread of this process is in, with its first argument, and where it waits there.

    :param ident: as :func:`threading.get_ident`.
    :returns: for instance ``system call clock_nanosleep (hrtimer_nanosleep)``; ``computing``; None: not known.
    """
    number = _native_id(ident)
    if number is None:
        return None
    try:
        with open(f"/proc/self/task/{number}/syscall") as file:
            words = file.read().split()
        with open(f"/proc/self/task/{number}/wchan") as file:
            place = file.read()
    except OSError:
        return None  # another system, or /proc does not tell
    if not words or words[0] == "running":
        return "computing"
    if int(words[0]) < 0:
        return "stopped by a signal or a page that has to be read"
    known = _NAMES.get(os.uname().machine, {})
    call = known.get(int(words[0]), words[0])
    descriptor = f" of descriptor {int(words[1], 16)}" if call in _OF_DESCRIPTORS else ""
    return f"system call {call}{descriptor}" + (f" ({place})" if place not in ("", "0") else "")


_OF_DESCRIPTORS = {
    "read", "write", "pread64", "pwrite64", "readv", "writev", "connect", "accept", "accept4", "sendto", "recvfrom",
    "sendmsg", "recvmsg", "fsync", "fdatasync", "flock", "ioctl", "fcntl",
}  # fmt: skip


def _native_id(ident: int) -> int | None:
    if ident == _main_thread().ident:
        return os.getpid()
    threads: dict[int, Any] = threading._active  # type: ignore[attr-defined]  # enumerate() takes a lock, perhaps ours
    return getattr(threads.get(ident), "native_id", None)


_PEERCRED = getattr(socket, "SO_PEERCRED", None)


def peer_of(connection: Any) -> tuple[int, int] | None:
    """The number of the process at the other end of a UNIX socket, and of its user: SO_PEERCRED of unix(7).

    :returns: of a listener, those of the process that called listen(2); None: not known.
    """
    if _PEERCRED is None:
        return None
    size = struct.calcsize("3i")
    process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, _PEERCRED, size))
    return process, user
