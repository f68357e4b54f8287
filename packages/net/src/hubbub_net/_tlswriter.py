"""Writing a TLS connection."""

from __future__ import annotations

import errno
import os
import ssl as _stdlib
from functools import partial
from typing import TYPE_CHECKING, Any

from hubbub.hub import sleep

from hubbub_net._tlscall import BROKEN, Call, cut, want_write
from hubbub_net._tlsreader import Reader
from hubbub_net._tlswire import FLIGHT, RECORD, Wire
from hubbub_net.acceleration import PARTS, known_to_c, mirrored, twin

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from hubbub_net.ssl import SSLSocket

__all__ = ["Writer"]

_SSLError = _stdlib.SSLError
_WantRead = _stdlib.SSLWantReadError
_WantWrite = _stdlib.SSLWantWriteError
_SHARE = 1 << 20
"""After so many bytes other greenlets may run, although the kernel takes more."""


PARTS["share"] = _SHARE


@known_to_c
def broken_pipe() -> BrokenPipeError:
    """What a write raises after ``shutdown`` has ended writing."""
    return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@known_to_c
class Writer:
    """The writing side of a TLS socket. The socket owns it, and passes itself to its methods."""

    __slots__ = ("_owed", "_reader", "ended", "wire")

    def __init__(self, wire: Wire, reader: Reader) -> None:
        """:param reader: its ``settle`` is called when a write has ended the handshake."""
        self.wire: Wire = wire
        self._reader = reader
        self._owed = 0  # bytes already encrypted of a write that raised SSLWantWriteError
        self.ended: bool = False
        """Whether ``shutdown`` has ended writing."""

    @twin("writer.c")
    def write(self, sock: SSLSocket, data: ReadableBuffer) -> int:
        """Encrypt and send ``data``.

        :returns: the number of bytes, which is all of them.
        """
        wire = self.wire
        if type(data) is not bytes or len(data) > RECORD or wire.writers.held or wire.unsent:
            return self._write_in_turn(sock, data)
        try:
            count: int = wire.sslobj.write(data)
        except _WantRead:
            return self._write_in_turn(sock, data)
        except _SSLError:
            if self.ended:
                raise broken_pipe() from None
            raise
        try:
            if wire.send(sock, wire.outgoing.read()):
                return count
        except OSError as error:
            if error.errno in BROKEN:
                raise cut() from error
            raise
        return self._write_in_turn(sock, data, count)

    def _write_in_turn(self, sock: SSLSocket, data: ReadableBuffer, done: int = 0) -> int:
        """Encrypt and send ``data`` in turn with other greenlets.

        :param done: how many bytes are encrypted already; if any, the kernel has just refused to take all of them.
        """
        call = Call(sock, "write", sock.gettimeout())
        writing = self.wire.writers
        if call.limit == 0.0 and writing.held:
            raise want_write()
        call.enter(writing)
        try:
            with memoryview(data) as view, view.cast("B") as octets:
                if not done:
                    done = self._owed  # this is the same write, tried again
                    if done > octets.nbytes:
                        raise _SSLError(_stdlib.SSL_ERROR_SSL, "bad write retry: the last write was of more bytes")
                elif call.limit != 0.0:
                    call.wait_writable()
                self._owed = 0
                return self._write_flights(call, octets, done)
        except OSError as error:
            if error.errno in BROKEN and not isinstance(error, _SSLError):
                raise cut() from error
            raise
        finally:
            writing.leave()

    @twin("writer.c")
    def _write_flights(self, call: Call, octets: memoryview, done: int) -> int:
        """Encrypt and send what is not ``done``. As with OpenSSL, a write that is tried again goes on from there."""
        size = octets.nbytes
        rest = done + _SHARE
        wire = self.wire
        try:
            wire.drain(call)
            while done < size:
                with octets[done : done + FLIGHT] as flight:
                    done += self._encrypt(call, flight)
                if not wire.send(call.sock, wire.outgoing.read()):
                    if call.limit == 0.0:
                        raise want_write()
                    call.wait_writable()
                    wire.drain(call)
                if done >= rest and call.limit != 0.0:
                    rest = done + _SHARE
                    sleep(0)
        except (_WantRead, _WantWrite):
            self._owed = done
            raise
        return done

    @mirrored("writer.c")
    def _encrypt(self, call: Call, flight: memoryview) -> int:
        write: Any = self.wire.sslobj.write
        try:
            count: int = write(flight)
        except _WantRead:
            count = self.wire.complete(call, partial(write, flight))
            self._reader.settle(call.sock)
        return count
