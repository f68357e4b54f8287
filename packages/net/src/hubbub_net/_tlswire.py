"""The ways of TLS between OpenSSL, which works in memory, and the descriptor.

One system call brings many records, the time that a peer can keep OpenSSL busy in one call is bounded, and what the
kernel did not take yet survives a writer that gives up.
"""

from __future__ import annotations

import errno
import socket as _plain
import ssl as _stdlib
from _socket import socket as _CSocket
from collections.abc import Callable
from typing import Any, TypeVar

from hubbub.hub import sleep

from hubbub_net._records import Incoming
from hubbub_net._turns import Turns
from hubbub_net._waiting import Deadline
from hubbub_net.socket import socket

__all__ = ["BROKEN", "FLIGHT", "RECEIVE", "RECORD", "Wire", "cut", "late", "limited", "want_read", "want_write"]

T = TypeVar("T")
RECORD = 1 << 14
"""Bytes of plain text in a record, at most. OpenSSL's buffers grow to what they were given at once, and stay so."""
FLIGHT = 4 * RECORD
"""So many bytes are encrypted before they are sent."""
RECEIVE = 1 << 16
"""So many bytes of ciphertext are read at once."""
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
"""What the kernel says of a connection that was cut. The standard library's reads and writes call all of it an EOF."""
_DONTWAIT = int(getattr(_plain, "MSG_DONTWAIT", 0))
_MOST_PIECES = 64
"""So many pieces are sent at once: systems have a limit."""
_PATIENCE = 64
"""After so many records without data, a millisecond or two of OpenSSL's work, the loop gets to turn."""
_TURN = 1e-6
"""Seconds: of no length, but not 0, which may come back before the loop has looked at descriptors and timers."""
# What is in the module socket may be patched already.
_c_send = _CSocket.send
_c_sendmsg: Any = getattr(_CSocket, "sendmsg", None)


def want_read() -> _stdlib.SSLWantReadError:
    """What a socket that does not wait raises."""
    return _stdlib.SSLWantReadError(_stdlib.SSL_ERROR_WANT_READ, "The operation did not complete (read)")


def want_write() -> _stdlib.SSLWantWriteError:
    """What a socket that does not wait raises."""
    return _stdlib.SSLWantWriteError(_stdlib.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")


def cut() -> _stdlib.SSLEOFError:
    """What the standard library makes of the errors in :data:`BROKEN`."""
    return _stdlib.SSLEOFError(_stdlib.SSL_ERROR_EOF, "EOF occurred in violation of protocol")


def late(name: str) -> TimeoutError:
    """The time limit for the operation ``name`` has passed."""
    return TimeoutError(f"The {name} operation timed out")


def limited(limit: float | None) -> Deadline | None:
    """:returns: when a call with such a limit has to end; None if it does not wait, or for ever."""
    return Deadline(limit) if limit else None


class Wire(_stdlib.SSLSocket, socket):  # type: ignore[misc]  # the two disagree on names of parameters only
    """A TLS socket's state, and how OpenSSL gets and gives ciphertext."""

    server_side: bool
    _sslobj: Any
    _incoming: Incoming
    _outgoing: _stdlib.MemoryBIO
    _readers: Turns  # held while ciphertext is received
    _writers: Turns  # held while ciphertext waits to be sent
    _unsent: list[Any]  # ciphertext that is sent before anything else
    _read_ended = _write_ended = False  # by shutdown

    def _begin(self, early: bytes = b"") -> None:
        """:param early: what has come already."""
        self._incoming = Incoming(early)
        self._outgoing = _stdlib.MemoryBIO()
        self._unsent = []
        self._readers = Turns()
        self._writers = Turns()
        self._more = True
        context: Any = self.context
        self._sslobj = context._wrap_bio(
            self._incoming.bio,
            self._outgoing,
            server_side=self.server_side,
            server_hostname=self.server_hostname,
            owner=self,
            session=self._session,  # type: ignore[attr-defined]  # of the standard library's class
        )

    def _complete(
        self,
        attempt: Callable[[], T],
        name: str,
        limit: float | None,
        deadline: Deadline | None,
        entered: bool = False,
    ) -> T:
        """Make ``attempt`` as often as it takes: give OpenSSL what it wants to read, send what it has written.

        :param entered: it is this greenlet's turn to receive; the caller ends it.
        """
        reading = self._readers
        own = received = False
        vain = 0
        try:
            while True:
                try:
                    result = attempt()
                except _stdlib.SSLWantReadError:
                    pass
                except _stdlib.SSLError:
                    self._push_quietly()  # the alert
                    raise
                else:
                    if name == "handshake":
                        self._flush_handshake(limit, deadline)
                    elif name == "shutdown":
                        self._flush(name, limit, deadline)
                    elif name == "read" and self._outgoing.pending:
                        self._push_quietly()  # not by waiting: what was read would be lost
                    return result
                self._flush(name, limit, deadline)
                if self._incoming.feed():
                    vain += 1
                    if vain % _PATIENCE == 0 and limit != 0.0:
                        self._pause(name, deadline)
                elif reading.held and not (entered or own):
                    self._enter_reading(name, limit, deadline)
                    own = True
                else:
                    if received and limit == 0.0:
                        raise want_read()  # there may be more; a flood of records without data must not keep us here
                    self._receive(name, limit, deadline, entered or own)
                    received = True
        finally:
            if own:
                reading.leave()

    def _pause(self, name: str, deadline: Deadline | None) -> None:
        """Let others run, between records without data."""
        if deadline is not None and deadline.left() == 0.0:
            raise late(name)
        sleep(_TURN)

    def _await(self, writing: bool, name: str, deadline: Deadline | None) -> None:
        left = None if deadline is None else deadline.left()
        if left == 0.0:
            raise late(name)
        try:
            if writing:
                socket.wait_writable(self, left)
            else:
                socket.wait_readable(self, left)
        except TimeoutError:
            if deadline is None or deadline.left() != 0.0:
                raise  # thrown in by somebody
            raise late(name) from None

    def _flush_handshake(self, limit: float | None, deadline: Deadline | None) -> None:
        try:
            self._flush("handshake", limit, deadline)
        except ConnectionError:
            # As OpenSSL: a client of TLS 1.3 may have what it wants, and does not wait for session tickets.
            if not self.server_side or self.version() != "TLSv1.3":
                raise

    def _enter_reading(self, name: str, limit: float | None, deadline: Deadline | None) -> None:
        """Wait behind those who are receiving. They may have left something."""
        if limit == 0.0:
            raise want_read()
        if not self._readers.enter(None if deadline is None else deadline.left()):
            raise late(name)

    def _receive(self, name: str, limit: float | None, deadline: Deadline | None, entered: bool) -> None:
        """Read ciphertext until OpenSSL can do something with it.

        :param entered: it is this greenlet's turn; the caller ends it.
        """
        incoming = self._incoming
        reading = self._readers
        reading.held = True
        try:
            while True:
                # What is behind the peer's close_notify may be plain text.
                data = self._receive_some(name, limit, deadline, incoming.wanted if name == "shutdown" else RECEIVE)
                if not data:
                    self._come_to_an_end()
                    return
                if incoming.take(data):
                    return
        finally:
            if not entered:
                reading.leave()

    def _come_to_an_end(self) -> None:
        """:raises SSLEOFError: it is an end of this side's own making, after which OpenSSL is to write yet."""
        if self._read_ended:
            raise cut()
        self._incoming.end()

    def _receive_some(self, name: str, limit: float | None, deadline: Deadline | None, count: int) -> bytes:
        flags = 0 if deadline is None else _DONTWAIT  # the socket's own limit is for all waits together
        while True:
            try:
                return socket.recv(self, count, flags)
            except BlockingIOError:
                if limit == 0.0:
                    raise want_read() from None
            self._await(False, name, deadline)

    def _drain(self, name: str, limit: float | None, deadline: Deadline | None) -> None:
        """Send all ciphertext. It is this greenlet's turn to write."""
        while not self._push():
            if limit == 0.0:
                raise want_write()
            self._await(True, name, deadline)

    def _push(self) -> bool:
        """Send as much ciphertext as the kernel takes.

        :returns: whether it took all.
        """
        unsent = self._unsent
        if self._outgoing.pending:
            unsent.append(self._outgoing.read())
        while unsent:
            try:
                if len(unsent) == 1 or _c_sendmsg is None:
                    sent = _c_send(self, unsent[0])
                else:
                    sent = _c_sendmsg(self, unsent[:_MOST_PIECES])
            except BlockingIOError:
                return False
            while unsent and sent >= len(unsent[0]):
                sent -= len(unsent[0])
                del unsent[0]
            if sent:
                unsent[0] = memoryview(unsent[0])[sent:]
        return True

    def _flush(self, name: str, limit: float | None, deadline: Deadline | None) -> None:
        """Send what OpenSSL has written on its own account. Who is writing does that for others too."""
        if not (self._unsent or self._outgoing.pending):
            return
        if name == "write":  # it is this greenlet's turn
            self._drain(name, limit, deadline)
            return
        if name == "read" and not self._outgoing.pending:
            self._push_quietly()  # what a writer left when it gave up: OpenSSL can go on without that
            return
        writing = self._writers
        if writing.held and (self._outgoing.pending < FLIGHT or limit == 0.0):
            return
        if not writing.enter(None if deadline is None else deadline.left()):
            raise late(name)
        try:
            self._drain(name, limit, deadline)
        except ConnectionError:
            if name != "read":
                raise
            self._unsent.clear()  # nobody will read it; there may be something for us yet
        finally:
            writing.leave()

    def _push_quietly(self) -> None:
        """Send what can be sent now."""
        if not self._writers.held:
            try:
                self._push()
            except OSError:
                return  # who writes next will see
