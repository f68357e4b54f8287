"""Carrying ciphertext between OpenSSL, which works in memory, and the descriptor.

One system call receives many records, a peer cannot keep OpenSSL busy for long in one call, and ciphertext that the
kernel has not taken yet is kept when its writer gives up.
"""

from __future__ import annotations

import ssl as _stdlib
from _socket import socket as _CSocket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub_net._tlscall import Call, cut, want_read, want_write
from hubbub_net._tlsrecords import RECEIVE, Incoming
from hubbub_net._turns import Turns
from hubbub_net.acceleration import PARTS, known_to_c, mirrored, twin
from hubbub_net.socket import socket

if TYPE_CHECKING:
    from hubbub_net.ssl import SSLSocket

__all__ = ["FLIGHT", "RECORD", "Wire"]

T = TypeVar("T")
RECORD = 1 << 14
"""Bytes of plain text in a record, at most."""
FLIGHT = 2 * RECORD
"""How many bytes are encrypted before they are sent. OpenSSL's buffer grows to that size and never shrinks."""
PARTS.update({"record": RECORD, "flight": FLIGHT})
_MOST_PIECES = 64
"""How many pieces are sent at once, at most: systems have a limit."""
_PATIENCE = 64
"""After so many records without data, a millisecond or two of OpenSSL's work, other greenlets may run."""
# The class in the module socket may be patched already, so these are taken from the class in C.
_c_send = _CSocket.send
_c_sendmsg: Any = getattr(_CSocket, "sendmsg", None)


@known_to_c
class Wire:
    """OpenSSL's object of one connection, and the ciphertext on its way in and out.

    The socket owns it, and it does not refer to the socket: callers pass the socket, mostly in a :class:`Call`.
    """

    __slots__ = ("incoming", "outgoing", "read_ended", "readers", "sslobj", "unsent", "writers")

    def __init__(self, wrap: Callable[[_stdlib.MemoryBIO, _stdlib.MemoryBIO], Any], early: bytes) -> None:
        """:param wrap: makes OpenSSL's object with an incoming and an outgoing buffer.
        :param early: ciphertext that has come already.
        """
        self.incoming: Incoming = Incoming(early)
        self.outgoing: _stdlib.MemoryBIO = _stdlib.MemoryBIO()
        self.sslobj: Any = wrap(self.incoming.bio, self.outgoing)
        self.unsent: list[Any] = []
        """Ciphertext to be sent before any other."""
        self.readers: Turns = Turns()
        """Held by a greenlet while it receives ciphertext."""
        self.writers: Turns = Turns()
        """Held by a greenlet while it sends ciphertext."""
        self.read_ended: bool = False
        """Whether ``shutdown`` has ended reading."""

    @mirrored("reader.c")
    def complete(self, call: Call, attempt: Callable[[], T], entered: bool = False) -> T:
        """Repeat ``attempt`` until it succeeds; in between feed OpenSSL ciphertext and send what it has written.

        :param entered: whether this greenlet has its turn to receive already; the caller ends that turn.
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
                    self.push_quietly(call.sock)  # the alert that OpenSSL has written
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
                        raise want_read()  # even if more has come: a flood of records without data must end too
                    self._receive(call, entered or own)
                    received = True
        finally:
            if own:
                reading.leave()

    @mirrored("reader.c")
    def _answer(self, call: Call) -> None:
        """Send what OpenSSL has written for a finished operation."""
        if call.operation == "handshake":
            self._flush_handshake(call)
        elif call.operation == "shutdown":
            self.flush(call)
        elif call.operation == "read" and self.outgoing.pending:
            self.push_quietly(call.sock)  # without waiting: an interrupted wait would lose what was read

    def _flush_handshake(self, call: Call) -> None:
        try:
            self.flush(call)
        except ConnectionError:
            # As OpenSSL does: a client of TLS 1.3 may have closed already, without waiting for session tickets.
            if not self.sslobj.server_side or self.sslobj.version() != "TLSv1.3":
                raise

    # Receiving ------------------------------------------------------------------------------------------------------

    def enter_reading(self, call: Call) -> None:
        """Wait for this greenlet's turn to receive. The greenlets before it may have left data to read."""
        if call.limit == 0.0:
            raise want_read()
        call.enter(self.readers)

    @twin("wire.c")
    def _receive(self, call: Call, entered: bool) -> None:
        """Receive ciphertext until OpenSSL can make progress with it.

        :param entered: whether this greenlet has its turn already; the caller ends that turn.
        """
        incoming = self.incoming
        reading = self.readers
        reading.held = True
        try:
            while True:
                # What follows the peer's close_notify may be plain text, so shutdown reads no further than it must.
                data = call.receive(incoming.wanted if call.operation == "shutdown" else RECEIVE)
                if not data:
                    self.come_to_an_end()
                    return
                if incoming.take(data):
                    return
        finally:
            if not entered:
                reading.leave()

    @twin("wire.c")
    def receive_first(self, sock: SSLSocket, limit: float | None, most: int) -> int:
        """Receive for a read in the usual case: nothing is left over, and no other greenlet is receiving.

        :param most: as for :meth:`Incoming.feed`.
        :returns: as :meth:`Incoming.feed`.
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
                raise  # an interrupt, not the time limit of this call
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
        """Note that the peer sends no more.

        :raises SSLEOFError: this side has shut reading down itself. OpenSSL is not told, as it must be able to write.
        """
        if self.read_ended:
            raise cut()
        self.incoming.end()

    # Sending --------------------------------------------------------------------------------------------------------

    @mirrored("writer.c")
    def drain(self, call: Call) -> None:
        """Send all ciphertext. The greenlet must have its turn to write."""
        while not self._push(call.sock):
            if call.limit == 0.0:
                raise want_write()
            call.wait_writable()

    @twin("wire.c")
    def send(self, sock: SSLSocket, ciphertext: bytes) -> bool:
        """Send ``ciphertext``, which nothing must precede. What the kernel does not take is kept for later.

        :returns: whether the kernel took all.
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

        :returns: whether the kernel took all.
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

    @twin("wire.c")
    def flush(self, call: Call) -> None:
        """Send what OpenSSL has written by itself, or leave that to a greenlet that is writing."""
        if not (self.unsent or self.outgoing.pending):
            return
        writing = self.writers
        if not (self.unsent or writing.held):  # the usual case
            ciphertext = self.outgoing.read()
            try:
                if self.send(call.sock, ciphertext):
                    return
            except BaseException as error:
                if isinstance(error, ConnectionError) and call.operation == "read":
                    return  # the peer will not read it, but may have sent data that is to be read
                self.unsent.append(ciphertext)
                raise
        if call.operation == "write":  # it is this greenlet's turn
            self.drain(call)
            return
        if call.operation == "read" and not self.outgoing.pending:
            self.push_quietly(call.sock)  # an earlier writer has left it; this read does not depend on it
            return
        if writing.held and (self.outgoing.pending < FLIGHT or call.limit == 0.0):
            return
        call.enter(writing)
        try:
            self.drain(call)
        except ConnectionError:
            if call.operation != "read":
                raise
            self.unsent.clear()  # the peer will not read it, but may have sent data that is to be read
        finally:
            writing.leave()

    def push_quietly(self, sock: SSLSocket) -> None:
        """Send what can be sent now; ignore errors."""
        if not self.writers.held:
            try:
                self._push(sock)
            except OSError:
                return  # the next writer gets the error
