"""Reading a TLS connection: what has come is handed out as it is asked for."""

from __future__ import annotations

import socket as _plain
import ssl as _stdlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub_net import _ahead
from hubbub_net._tlswire import BROKEN, RECEIVE, RECORD, Wire, cut, late, limited, want_read
from hubbub_net._waiting import Deadline
from hubbub_net.socket import socket

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Reading"]

T = TypeVar("T")
_SSLError = _stdlib.SSLError
_EOF = _stdlib.SSL_ERROR_EOF
_END = _stdlib.SSL_ERROR_ZERO_RETURN
_WantRead = _stdlib.SSLWantReadError
_OWN: Any = object()
_PATIENCE = 256
"""``pending`` looks at so many records for data, at most."""


class Reading(Wire):
    """The methods of a TLS socket that read."""

    suppress_ragged_eofs: bool
    _more = True  # there may be something to read without receiving
    _clear = b""  # was decrypted and not asked for yet
    _failure: _stdlib.SSLError | None = None  # what the next read meets
    _rest = b""  # what came behind the end of TLS

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """:meth:`ssl.SSLSocket.read`: bytes, or their number if there is a ``buffer``.

        It returns all that has come, and not one record, if there is room for it.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        if buffer is not None:
            with memoryview(buffer) as view, view.cast("B") as octets:
                if view.readonly:
                    kind = type(buffer).__name__
                    raise TypeError(f"read() argument 2 must be read-write bytes-like object, not {kind}")
                return self._read_into(sslobj, octets[:len] if 0 < len < octets.nbytes else octets)
        return self._read_bytes(sslobj, len)

    def _read_bytes(self, sslobj: Any, wanted: int) -> bytes:
        if wanted < 1:
            nothing: bytes = sslobj.read(wanted)  # or an error
            return nothing
        data: bytes
        size = wanted if wanted < RECORD else RECORD
        limit = self.gettimeout()
        deadline = limited(limit)
        try:
            if self._more or self._readers.held:
                data = self._read_more(partial(sslobj.read, size), limit, deadline, size)
            else:
                self._receive_first(deadline)
                try:
                    data = sslobj.read(size)
                except _WantRead:
                    data = self._complete(partial(sslobj.read, size), "read", limit, deadline)
        except OSError as error:
            self._end_of_data(error)
            return b""
        if 0 < len(data) < size and not self._more and not self._incoming.chunk:
            return data
        return self._with_more(sslobj, data, wanted)

    def _read_into(self, sslobj: Any, octets: memoryview) -> int:
        size = octets.nbytes
        if not size:
            return 0
        limit = self.gettimeout()
        deadline = limited(limit)
        try:
            if self._more or self._readers.held:
                count: int = self._read_more(partial(sslobj.read, size, octets), limit, deadline, octets)
            else:
                self._receive_first(deadline)
                try:
                    count = sslobj.read(size, octets)
                except _WantRead:
                    count = self._complete(partial(sslobj.read, size, octets), "read", limit, deadline)
        except OSError as error:
            self._end_of_data(error)
            return 0
        if not 0 < count < size or self._more or self._incoming.chunk:
            self._settle()
            if not count:
                self._incoming.ended = True
            while 0 < count < size:
                step = self._decrypt(sslobj, octets[count:])
                if not step:
                    break
                count += step
            self._look_ahead()
        return count

    def _receive_first(self, deadline: Deadline | None) -> None:
        """The usual beginning of a read: nothing is left of what came before, and no other greenlet is receiving."""
        reading = self._readers
        reading.held = True
        try:
            data = socket.recv(self, RECEIVE)
        except BlockingIOError:
            raise want_read() from None
        except TimeoutError:
            if deadline is None or deadline.left() != 0.0:
                raise  # thrown in by somebody
            raise late("read") from None
        finally:
            if reading.behind:
                reading.leave()
            else:
                reading.held = False
        if data:
            self._incoming.take(data)
        else:
            self._come_to_an_end()

    def _read_more(self, attempt: Callable[[], T], limit: float | None, deadline: Deadline | None, room: Any) -> Any:
        """Read what was left before. Otherwise as usual, but first come, first served."""
        reading = self._readers
        entered = reading.held
        if entered:
            self._enter_reading("read", limit, deadline)
        try:
            if self._clear:
                return self._take_clear(room)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                try:
                    raise failure
                finally:
                    del failure  # its traceback holds this frame
            return self._complete(attempt, "read", limit, deadline, entered)
        finally:
            if entered:
                reading.leave()

    def _with_more(self, sslobj: Any, data: bytes, wanted: int) -> bytes:
        """Add what else has come to ``data``, up to ``wanted`` bytes in all."""
        self._settle()
        if not data:
            self._incoming.ended = True
        left = wanted - len(data)
        if data and left:
            parts = [data]
            while left:
                more = self._decrypt(sslobj, min(left, RECORD))
                if not more:
                    break
                parts.append(more)
                left -= len(more)
            data = b"".join(parts)
        self._look_ahead()
        return data

    def _decrypt(self, sslobj: Any, room: Any) -> Any:
        """Data that has come, without receiving; nothing if what is next is something else.

        :param room: how many bytes, or where to.
        """
        if self._clear:
            return self._take_clear(room)
        if sslobj.pending() or self._incoming.feed():
            try:
                data = sslobj.read(room) if isinstance(room, int) else sslobj.read(room.nbytes, room)
                if not data:
                    self._incoming.ended = True
                return data
            except _WantRead:
                self._more = True
            except _SSLError as error:
                self._failure = error.with_traceback(None)
        return b"" if isinstance(room, int) else 0

    def _take_clear(self, room: Any) -> Any:
        if isinstance(room, int):
            data, self._clear = self._clear[:room], self._clear[room:]
            return data
        data = self._clear[: room.nbytes]
        room[: len(data)] = data
        self._clear = self._clear[len(data) :]
        return len(data)

    def _settle(self) -> None:
        """The handshake is done."""
        if self._incoming.loose:
            self._incoming.settle()
            self._more = self._incoming.ready
            if self._more:
                self._note()

    def _end_of_data(self, error: OSError) -> None:
        """:raises OSError: it is no end that may be taken for one."""
        if isinstance(error, _SSLError):
            ended = error.args[0] == _EOF
            if error.args[0] == _END:  # close_notify came, and ours was sent before
                self._more = self._incoming.ended = True
                return
        else:
            ended = error.errno in BROKEN
        if not ended:
            raise error
        if self._read_ended:
            return
        if not self._incoming.ended:
            self._incoming.end()
        self._more = True
        if not self.suppress_ragged_eofs:
            if isinstance(error, _SSLError):
                raise error
            raise cut() from error

    def has_ahead(self) -> bool:
        """Whether a read would return at once, whatever the kernel says: more was received than was asked for."""
        sslobj = self._sslobj
        if sslobj is None:
            return bool(self._rest)
        if not self._more:
            return False
        incoming = self._incoming
        return bool(self._clear or self._failure or incoming.ended or incoming.ready or sslobj.pending())

    def _look_ahead(self) -> None:
        self._more = True
        self._more = self.has_ahead()
        self._note()

    def _note(self) -> None:
        """Tell :mod:`select` and its kin."""
        if self.has_ahead():
            _ahead.note(self)
        elif _ahead.noted:
            _ahead.forget(self.fileno())

    def pending(self) -> int:
        """:meth:`ssl.SSLSocket.pending`: how many bytes are decrypted. If something has come, that is some."""
        sslobj = self._sslobj
        if sslobj is None:
            return 0
        if not (self._clear or sslobj.pending()) and self._more and not self._incoming.loose:
            for _ in range(_PATIENCE):
                if not self._incoming.ready or self._failure is not None:
                    break
                self._clear = self._decrypt(sslobj, RECORD)
                if self._clear:
                    break
            self._look_ahead()
        return len(self._clear) + int(sslobj.pending())

    def wait_readable(self, timeout: float | None = _OWN) -> None:
        """Wait until an attempt to read is worth while.

        :param timeout: seconds, or None for no limit; the socket's own limit if not given.
        :raises TimeoutError: the time has run out.
        :raises OSError: EBADF, the socket was closed.
        """
        if not self.has_ahead():
            socket.wait_readable(self, *(() if timeout is _OWN else (timeout,)))

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """:meth:`ssl.SSLSocket.recv`.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            if self._rest:
                return self._take_rest(buflen, flags)
            return socket.recv(self, buflen, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to recv() on {type(self)}")
        return self._read_bytes(self._sslobj, buflen)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """:meth:`ssl.SSLSocket.recv_into`.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None and self._rest:
            with memoryview(buffer) as view, view.cast("B") as octets:
                data = self._take_rest(min(nbytes or octets.nbytes, octets.nbytes), flags)
                octets[: len(data)] = data
            return len(data)
        return super().recv_into(buffer, nbytes, flags)

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> tuple[bytes, Any]:
        """:meth:`ssl.SSLSocket.recvfrom`: only after :meth:`unwrap`."""
        if self._sslobj is None and self._rest:
            return self._take_rest(buflen, flags), None
        return super().recvfrom(buflen, flags)

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> tuple[int, Any]:
        """:meth:`ssl.SSLSocket.recvfrom_into`: only after :meth:`unwrap`."""
        if self._sslobj is None and self._rest:
            return self.recv_into(buffer, nbytes, flags), None
        return super().recvfrom_into(buffer, nbytes or 0, flags)

    def _take_rest(self, count: int, flags: int) -> bytes:
        data = self._rest[:count]
        if not flags & _plain.MSG_PEEK:
            self._rest = self._rest[count:]
            self._note()
        return data
