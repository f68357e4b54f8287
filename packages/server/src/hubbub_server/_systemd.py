"""systemd: sockets that it opened (sd_listen_fds(3)), and telling it how things stand (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from hubbub.io import Socket

from hubbub_server._outlet import complain

__all__ = ["Notifier", "listen_fds"]

_FIRST = 3
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_PlainSocket: type[socket.socket] = Socket.__bases__[0]  # not what patching has put in its place, which may wait


def listen_fds(unset: bool = True) -> list[socket.socket]:
    """The listening sockets that were passed to this process; none if it was not activated by sockets.

    No child inherits them.

    :param unset: forget about them, so that child processes do not take them for theirs.
    """
    pid, count = os.environ.get("LISTEN_PID"), os.environ.get("LISTEN_FDS")
    if pid != str(os.getpid()) or count is None or not count.isdecimal():
        return []
    if unset:
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)
    found = [_PlainSocket(fileno=fd) for fd in range(_FIRST, _FIRST + int(count))]
    for sock in found:
        sock.set_inheritable(False)
    return found


class Notifier:
    """Speaks for the service, if a service manager wants to know: to be made by one process of it only.

    What it needs is taken out of the environment, so no child speaks. It never raises and never waits: a manager that
    cannot be reached is complained of once, and what a busy one did not take is said again by :meth:`again`.
    """

    def __init__(self) -> None:
        self._taken = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        self._path = os.environ.pop("NOTIFY_SOCKET", "")
        if self._path.startswith("@"):
            self._path = "\0" + self._path[1:]
        self.period = self._period()
        """Every so many seconds the manager wants to hear that all is well; None if it does not."""
        self._unsaid: list[str] = []
        self._complained = False
        self._beat = 0.0

    def environ(self) -> dict[str, str]:
        """The variables that it has taken out of the environment, for the program that is to speak after it."""
        return self._taken

    def _period(self) -> float | None:
        micros, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
        if not (self._path and micros.isdecimal() and int(micros)) or pid not in ("", str(os.getpid())):
            return None
        return int(micros) / 2e6  # sd_watchdog_enabled(3): half of what it grants

    def ready(self) -> None:
        """The service serves, after its start or after a change."""
        self._say("READY=1")

    def reloading(self) -> None:
        """It is about to change (systemd.service(5), ``Type=notify-reload``); :meth:`ready` follows."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It is about to end."""
        self._say("STOPPING=1")

    def again(self) -> None:
        """To be called now and then, every :attr:`period` at least: all is well, and whatever is still to be said."""
        unsaid, self._unsaid = self._unsaid, []
        for state in unsaid:
            self._say(state)
        if self.period is not None and time.monotonic() >= self._beat:
            self._beat = time.monotonic() + self.period / 2
            self._send("WATCHDOG=1")

    def _say(self, state: str) -> None:
        if self._unsaid or not self._send(state):
            self._unsaid = [*self._unsaid[-7:], state]

    def _send(self, state: str) -> bool:
        """False: it is busy."""
        if not self._path or not hasattr(socket, "AF_UNIX"):
            return True
        try:
            with _PlainSocket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(self._path)
                sender.send(state.encode())
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            self._complain(error)
        return True

    def _complain(self, error: Any) -> None:
        if not self._complained:
            self._complained = True
            complain(f"hubbub-serve: the service manager's socket {self._path!r} cannot be reached: {error}")
