"""systemd: sockets that it opened (sd_listen_fds(3)), and telling it how things stand (sd_notify(3))."""

from __future__ import annotations

import os
import socket

__all__ = ["listen_fds", "notify"]

_FIRST = 3


def listen_fds(unset: bool = True) -> list[socket.socket]:
    """The listening sockets that were passed to this process; none if it was not activated by sockets.

    :param unset: forget about them, so that child processes do not take them for theirs.
    """
    pid, count = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")
    if pid != str(os.getpid()) or count is None or not count.isdecimal():
        return []
    if unset:
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)
    return [socket.socket(fileno=fd) for fd in range(_FIRST, _FIRST + int(count))]


def notify(state: str) -> bool:
    """Send ``state``, such as ``"READY=1"``. False when nobody wants to know.

    :raises OSError: systemd's socket cannot be reached.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path or not hasattr(socket, "AF_UNIX"):
        return False
    if path.startswith("@"):
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        sender.send(state.encode())
    return True
