"""Writing a TLS connection."""

from __future__ import annotations

import errno
import os
import ssl as _stdlib
from _socket import socket as _CSocket
from functools import partial
from typing import TYPE_CHECKING, Any

from hubbub.hub import sleep

from hubbub_net._tlsreading import Reading
from hubbub_net._tlswire import BROKEN, FLIGHT, RECORD, cut, late, limited, want_write
from hubbub_net._waiting import Deadline
from hubbub_net.socket import socket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Writing"]

_SSLError = _stdlib.SSLError
_WantRead = _stdlib.SSLWantReadError
_WantWrite = _stdlib.SSLWantWriteError
_SHARE = 1 << 20
"""After so many bytes others get their turn, although the kernel takes more."""
_c_send = _CSocket.send  # what is in the module socket may be patched already


class Writing(Reading):
    """The methods of a TLS socket that write."""

    _owed = 0  # bytes of a write that raised SSLWantWriteError that are encrypted already

    def write(self, data: ReadableBuffer) -> int:
        """:meth:`ssl.SSLSocket.write`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        if type(data) is not bytes or len(data) > RECORD or self._writers.held or self._unsent:
            return self._write_in_turn(sslobj, data)
        try:
            count: int = sslobj.write(data)
        except _WantRead:
            return self._write_in_turn(sslobj, data)
        except _SSLError:
            if self._write_ended:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
            raise
        ciphertext = self._outgoing.read()
        try:
            sent = _c_send(self, ciphertext)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno in BROKEN:
                raise cut() from error
            raise
        if sent == len(ciphertext):
            return count
        self._unsent.append(memoryview(ciphertext)[sent:])
        return self._write_in_turn(sslobj, data, count)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """:meth:`ssl.SSLSocket.send`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            return socket.send(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to send() on {type(self)}")
        return self.write(data)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """:meth:`ssl.SSLSocket.sendall`; the time limit is for the whole."""
        if self._sslobj is None:
            return socket.sendall(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to sendall() on {type(self)}")
        if type(data) is bytes:
            if data:
                self.write(data)
            return None
        with memoryview(data) as view:
            if view.nbytes:
                self.write(view)
        return None

    def _write_in_turn(self, sslobj: Any, data: ReadableBuffer, done: int = 0) -> int:
        """:param done: so many bytes are encrypted already, and the kernel has just refused to take all of it."""
        limit = self.gettimeout()
        deadline = limited(limit)
        writing = self._writers
        if limit == 0.0 and writing.held:
            raise want_write()
        if not writing.enter(None if deadline is None else deadline.left()):
            raise late("write")
        try:
            with memoryview(data) as view, view.cast("B") as octets:
                if not done:
                    done = self._owed  # this is the same write, tried again
                    if done > octets.nbytes:
                        raise _SSLError(_stdlib.SSL_ERROR_SSL, "bad write retry: the last write was of more bytes")
                elif limit != 0.0:
                    self._await(True, "write", deadline)
                self._owed = 0
                return self._write_flights(sslobj, octets, done, limit, deadline)
        except OSError as error:
            if error.errno in BROKEN and not isinstance(error, _SSLError):
                raise cut() from error
            raise
        finally:
            writing.leave()

    def _write_flights(
        self, sslobj: Any, octets: memoryview, done: int, limit: float | None, deadline: Deadline | None
    ) -> int:
        """Encrypt and send what is not ``done``. As OpenSSL, go on there if the write has to be tried again."""
        size = octets.nbytes
        rest = done + _SHARE
        try:
            self._drain("write", limit, deadline)
            while done < size:
                flight = done + FLIGHT
                while done < min(flight, size):
                    with octets[done : done + RECORD] as record:
                        try:
                            done += sslobj.write(record)
                        except _WantRead:
                            attempt = partial(sslobj.write, record)
                            done += self._complete(attempt, "write", limit, deadline)
                            self._settle()
                    self._unsent.append(self._outgoing.read())
                self._drain("write", limit, deadline)
                if done >= rest and limit != 0.0:
                    rest = done + _SHARE
                    sleep(0)
        except (_WantRead, _WantWrite):
            self._owed = done
            raise
        return done
