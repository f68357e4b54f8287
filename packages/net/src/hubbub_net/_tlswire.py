"""The ways of TLS between OpenSSL, which works in memory, and the descriptor.

One system call brings many records, the time that a peer can keep OpenSSL busy in one call is bounded, and what the
kernel did not take yet survives a writer that gives up.
"""

from __future__ import annotations

import ssl as _stdlib
from _socket import socket as _CSocket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub_net._tlscall import Call, cut, want_read, want_write
from hubbub_net._tlsrecords import RECEIVE, Incoming
from hubbub_net._turns import Turns
from hubbub_net.socket import socket

if TYPE_CHECKING:
    from hubbub_net.ssl import SSLSocket

__all__ = ["FLIGHT", "RECORD", "Wire"]

T = TypeVar("T")
RECORD = 1 << 14
"""Bytes of plain text in a record, at most."""
FLIGHT = 2 * RECORD
"""So many bytes are encrypted before they are sent. OpenSSL's buffer grows to that and does not shrink again."""
_MOST_PIECES = 64
"""So many pieces are sent at once: systems have a limit."""
_PATIENCE = 64
"""After so many records without data, a millisecond or two of OpenSSL's work, the loop gets to turn."""
# What is in the module socket may be patched already.
_c_send = _CSocket.send
_c_sendmsg: Any = getattr(_CSocket, "sendmsg", None)


class Wire:
    """OpenSSL's half of one connection, and how it gets and gives ciphertext.

    It does not know its socket, which has it: whoever calls brings the socket along, in a :class:`Call`.
    """

    __slots__ = ("incoming", "outgoing", "read_ended", "readers", "sslobj", "unsent", "writers")

    def __init__(self, wrap: Callable[[_stdlib.MemoryBIO, _stdlib.MemoryBIO], Any], early: bytes) -> None:
        """:param wrap: makes OpenSSL's object with an incoming and an outgoing buffer.
        :param early: what has come already.
        """
        self.incoming: Incoming = Incoming(early)
        self.outgoing: _stdlib.MemoryBIO = _stdlib.MemoryBIO()
        self.sslobj: Any = wrap(self.incoming.bio, self.outgoing)
        self.unsent: list[Any] = []
        """Ciphertext that is sent before anything else."""
        self.readers: Turns = Turns()
        """Held while ciphertext is received."""
        self.writers: Turns = Turns()
        """Held while ciphertext waits to be sent."""
        self.read_ended: bool = False
        """By ``shutdown``."""

    def complete(self, call: Call, attempt: Callable[[], T], entered: bool = False) -> T:
        """Make ``attempt`` as often as it takes: give OpenSSL what it wants to read, send what it has written.

        :param entered: it is this greenlet's turn to receive; the caller ends it.
        """
        reading = self.readers
        own = received = False
        vain = 0
        try:
            while True:
                try:
                    result = attempt()
                except _stdlib.SSLWantReadError:
                    pass
                except _stdlib.SSLError:
                    self.push_quietly(call.sock)  # the alert
                    raise
                else:
                    self._answer(call)
                    return result
                self.flush(call)
                if self.incoming.feed():
                    vain += 1
                    if vain % _PATIENCE == 0 and call.limit != 0.0:
                        call.pause()
                elif reading.held and not (entered or own):
                    self.enter_reading(call)
                    own = True
                else:
                    if received and call.limit == 0.0:
                        raise want_read()  # there may be more; a flood of records without data must not keep us here
                    self._receive(call, entered or own)
                    received = True
        finally:
            if own:
                reading.leave()

    def _answer(self, call: Call) -> None:
        """Send what a finished operation has left to be sent."""
        if call.operation == "handshake":
            self._flush_handshake(call)
        elif call.operation == "shutdown":
            self.flush(call)
        elif call.operation == "read" and self.outgoing.pending:
            self.push_quietly(call.sock)  # not by waiting: what was read would be lost

    def _flush_handshake(self, call: Call) -> None:
        try:
            self.flush(call)
        except ConnectionError:
            # As OpenSSL: a client of TLS 1.3 may have what it wants, and does not wait for session tickets.
            if not self.sslobj.server_side or self.sslobj.version() != "TLSv1.3":
                raise

    # Receiving ------------------------------------------------------------------------------------------------------

    def enter_reading(self, call: Call) -> None:
        """Wait for this greenlet's turn to receive. The greenlets before it may have left something."""
        if call.limit == 0.0:
            raise want_read()
        call.enter(self.readers)

    def _receive(self, call: Call, entered: bool) -> None:
        """Read ciphertext until OpenSSL can do something with it.

        :param entered: it is this greenlet's turn; the caller ends it.
        """
        incoming = self.incoming
        reading = self.readers
        reading.held = True
        try:
            while True:
                # What is behind the peer's close_notify may be plain text.
                data = call.receive(incoming.wanted if call.operation == "shutdown" else RECEIVE)
                if not data:
                    self.come_to_an_end()
                    return
                if incoming.take(data):
                    return
        finally:
            if not entered:
                reading.leave()

    def receive_first(self, sock: SSLSocket, limit: float | None, most: int) -> int:
        """The usual beginning of a read: nothing is left of what came before, and no other greenlet is receiving.

        :param most: as for :meth:`Incoming.feed`, as is what is returned.
        :raises SSLWantReadError: nothing has come, and the socket does not wait.
        :raises TimeoutError: the time limit has passed.
        """
        reading = self.readers
        call = Call(sock, "read", limit) if limit else None
        reading.held = True
        try:
            data = socket.recv(sock, self.incoming.appetite)
        except BlockingIOError:
            raise want_read() from None
        except TimeoutError:
            if call is None or not call.is_late():
                raise  # thrown in by somebody
            raise call.late() from None
        finally:
            if reading.behind:
                reading.leave()
            else:
                reading.held = False
        if data:
            return self.incoming.take(data, most)
        self.come_to_an_end()
        return 0

    def come_to_an_end(self) -> None:
        """:raises SSLEOFError: it is an end of this side's own making, after which OpenSSL is to write yet."""
        if self.read_ended:
            raise cut()
        self.incoming.end()

    # Sending --------------------------------------------------------------------------------------------------------

    def drain(self, call: Call) -> None:
        """Send all ciphertext. It is this greenlet's turn to write."""
        while not self._push(call.sock):
            if call.limit == 0.0:
                raise want_write()
            call.wait_writable()

    def send(self, sock: SSLSocket, ciphertext: bytes) -> bool:
        """Send what OpenSSL has written, if nothing is to be sent before it; what the kernel does not take is kept.

        :returns: whether it took all.
        """
        try:
            sent = _c_send(sock, ciphertext)
        except BlockingIOError:
            sent = 0
        if sent == len(ciphertext):
            return True
        self.unsent.append(memoryview(ciphertext)[sent:])
        return False

    def _push(self, sock: SSLSocket) -> bool:
        """Send as much ciphertext as the kernel takes.

        :returns: whether it took all.
        """
        unsent = self.unsent
        if self.outgoing.pending:
            unsent.append(self.outgoing.read())
        while unsent:
            pieces = unsent[:_MOST_PIECES]
            try:
                sent = _c_send(sock, pieces[0]) if len(pieces) == 1 or _c_sendmsg is None else _c_sendmsg(sock, pieces)
            except BlockingIOError:
                return False
            while unsent and sent >= len(unsent[0]):
                sent -= len(unsent[0])
                del unsent[0]
            if sent:
                unsent[0] = memoryview(unsent[0])[sent:]
        return True

    def flush(self, call: Call) -> None:
        """Send what OpenSSL has written on its own account. A greenlet that is writing does that for the others too."""
        if not (self.unsent or self.outgoing.pending):
            return
        if call.operation == "write":  # it is this greenlet's turn
            self.drain(call)
            return
        if call.operation == "read" and not self.outgoing.pending:
            self.push_quietly(call.sock)  # what a writer left when it gave up: OpenSSL can go on without that
            return
        writing = self.writers
        if writing.held and (self.outgoing.pending < FLIGHT or call.limit == 0.0):
            return
        call.enter(writing)
        try:
            self.drain(call)
        except ConnectionError:
            if call.operation != "read":
                raise
            self.unsent.clear()  # nobody will read it; there may be something for us yet
        finally:
            writing.leave()

    def push_quietly(self, sock: SSLSocket) -> None:
        """Send what can be sent now."""
        if not self.writers.held:
            try:
                self._push(sock)
            except OSError:
                return  # the next writer will meet the error
