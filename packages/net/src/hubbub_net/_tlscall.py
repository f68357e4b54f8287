"""One call of a TLS socket's method: its socket, its operation and its deadline."""

from __future__ import annotations

import errno
import socket as _plain
import ssl as _stdlib
from _socket import socket as _CSocket
from typing import TYPE_CHECKING

from hubbub.hub import sleep
from hubbub.io import Socket

from hubbub_net._turns import Turns
from hubbub_net._waiting import Deadline
from hubbub_net.acceleration import PARTS, known_to_c, mirrored
from hubbub_net.socket import socket

if TYPE_CHECKING:
    from hubbub_net.ssl import SSLSocket

__all__ = ["BROKEN", "Call", "cut", "want_read", "want_write"]

BROKEN = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)
"""Errors of a connection that was cut. The standard library's reads and writes raise SSLEOFError for all of them."""
PARTS.update(
    {
        "broken": BROKEN,
        "fileno": _CSocket.fileno,
        "send": _CSocket.send,
        "sleep": sleep,
        "socket": socket,
        "Socket": Socket,
    }
)
_DONTWAIT = int(getattr(_plain, "MSG_DONTWAIT", 0))
_TURN = 1e-6
"""Seconds of a pause: as short as can be, but not 0, which may end before the loop has polled and run its timers."""


@known_to_c
def want_read() -> _stdlib.SSLWantReadError:
    """What a socket that does not wait raises."""
    return _stdlib.SSLWantReadError(_stdlib.SSL_ERROR_WANT_READ, "The operation did not complete (read)")


@known_to_c
def want_write() -> _stdlib.SSLWantWriteError:
    """What a socket that does not wait raises."""
    return _stdlib.SSLWantWriteError(_stdlib.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")


@known_to_c
def cut() -> _stdlib.SSLEOFError:
    """What the standard library makes of the errors in :data:`BROKEN`."""
    return _stdlib.SSLEOFError(_stdlib.SSL_ERROR_EOF, "EOF occurred in violation of protocol")


@known_to_c
class Call:
    """One call, made when it begins. Its time limit is for all its waits together."""

    __slots__ = ("_deadline", "limit", "operation", "sock")

    def __init__(self, sock: SSLSocket, operation: str, limit: float | None) -> None:
        """:param limit: seconds; None waits for ever, 0 never waits."""
        self.sock: SSLSocket = sock
        self.operation: str = operation
        self.limit: float | None = limit
        self._deadline = Deadline(limit) if limit else None

    def late(self) -> TimeoutError:
        """The error of a call whose time limit has passed."""
        return TimeoutError(f"The {self.operation} operation timed out")

    def is_late(self) -> bool:
        """Whether the time limit has passed; never without one."""
        return self._deadline is not None and self._deadline.left() == 0.0

    def _left(self) -> float | None:
        return None if self._deadline is None else self._deadline.left()

    def wait_readable(self) -> None:
        """Wait until the descriptor is readable.

        :raises TimeoutError: the time limit has passed.
        """
        self._wait(False)

    def wait_writable(self) -> None:
        """Wait until the descriptor is writable; as :meth:`wait_readable`."""
        self._wait(True)

    def _wait(self, writing: bool) -> None:
        if self.is_late():
            raise self.late()
        wait = socket.wait_writable if writing else socket.wait_readable
        try:
            wait(self.sock, self._left())
        except TimeoutError:
            if not self.is_late():
                raise  # an interrupt, not the time limit of this call
            raise self.late() from None

    def enter(self, turns: Turns) -> None:
        """Wait for this greenlet's turn.

        :raises TimeoutError: the time limit has passed first.
        """
        if not turns.enter(self._left()):
            raise self.late()

    def pause(self) -> None:
        """Let other greenlets run.

        :raises TimeoutError: the time limit has passed.
        """
        if self.is_late():
            raise self.late()
        sleep(_TURN)

    @mirrored("wire.c")
    def receive(self, count: int) -> bytes:
        """Ciphertext from the kernel, up to ``count`` bytes; none at the end of the stream.

        :raises SSLWantReadError: there is none, and the call does not wait.
        :raises TimeoutError: the time limit has passed.
        """
        flags = 0 if self._deadline is None else _DONTWAIT  # the socket's own limit would start anew with each wait
        while True:
            try:
                return socket.recv(self.sock, count, flags)
            except BlockingIOError:
                if self.limit == 0.0:
                    raise want_read() from None
            self.wait_readable()
