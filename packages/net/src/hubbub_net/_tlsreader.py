"""Reading a TLS connection: what has come is handed out as it is asked for."""

from __future__ import annotations

import ssl as _stdlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub_net import _ahead
from hubbub_net._tlscall import BROKEN, Call, cut
from hubbub_net._tlswire import RECORD, Wire
from hubbub_net.acceleration import PARTS, known_to_c, mirrored, twin

if TYPE_CHECKING:
    from hubbub_net.ssl import SSLSocket

__all__ = ["Reader"]

T = TypeVar("T")
_SSLError = _stdlib.SSLError
_EOF = _stdlib.SSL_ERROR_EOF
_END = _stdlib.SSL_ERROR_ZERO_RETURN
_WantRead = _stdlib.SSLWantReadError
_PATIENCE = 256
"""How many records ``pending`` looks through for data, at most."""


PARTS.update({"noted": _ahead.noted, "note_if": _ahead.note_if})


@known_to_c
class Reader:
    """The reading side of a TLS socket. The socket owns it, and passes itself to its methods."""

    __slots__ = ("_failure", "_more", "clear", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire: Wire = wire
        self.clear: bytes = b""
        """Decrypted data that no caller has asked for yet."""
        self._more = True  # there may be something to read without receiving
        self._failure: _stdlib.SSLError | None = None  # the next read raises it

    @twin("reader.c")
    def read(self, sock: SSLSocket, wanted: int) -> bytes:
        """Up to ``wanted`` bytes; waits if none have come. Empty at the end of the stream."""
        wire = self.wire
        sslobj = wire.sslobj
        if wanted < 1:
            nothing: bytes = sslobj.read(wanted)  # or an error
            return nothing
        data: bytes
        size = wanted if wanted < RECORD else RECORD
        limit = sock.gettimeout()
        try:
            if self._more or wire.readers.held:
                data = self._read_more(Call(sock, "read", limit), partial(sslobj.read, size), size)
                records = 0
            else:
                records = wire.receive_first(sock, limit, wanted // RECORD)
                try:
                    data = sslobj.read(size)
                except _WantRead:
                    data = wire.complete(Call(sock, "read", limit), partial(sslobj.read, size))
        except OSError as error:
            self._end_of_data(sock, error)
            return b""
        if 0 < len(data) < size and not self._more and records < 2 and not wire.incoming.chunk:
            return data
        return self._with_more(sock, data, wanted, records - 1)

    @twin("reader.c")
    def read_into(self, sock: SSLSocket, octets: memoryview) -> int:
        """As :meth:`read`, into ``octets``.

        :returns: the number of bytes.
        """
        wire = self.wire
        sslobj = wire.sslobj
        size = octets.nbytes
        if not size:
            return 0
        limit = sock.gettimeout()
        try:
            if self._more or wire.readers.held:
                count: int = self._read_more(Call(sock, "read", limit), partial(sslobj.read, size, octets), octets)
            else:
                wire.receive_first(sock, limit, 1)
                try:
                    count = sslobj.read(size, octets)
                except _WantRead:
                    count = wire.complete(Call(sock, "read", limit), partial(sslobj.read, size, octets))
        except OSError as error:
            self._end_of_data(sock, error)
            return 0
        if not 0 < count < size or self._more or wire.incoming.chunk:
            count = self._fill(sock, octets, count)
        return count

    @mirrored("reader.c")
    def _read_more(self, call: Call, attempt: Callable[[], T], room: Any) -> Any:
        """Read what earlier reads left. If they left nothing, read in turn with other greenlets."""
        wire = self.wire
        entered = wire.readers.held
        if entered:
            wire.enter_reading(call)
        try:
            if self.clear:
                return self._take_clear(room)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                try:
                    raise failure
                finally:
                    del failure  # its traceback holds this frame
            return wire.complete(call, attempt, entered)
        finally:
            if entered:
                wire.readers.leave()

    @mirrored("reader.c")
    def _fill(self, sock: SSLSocket, octets: memoryview, count: int) -> int:
        """Go on filling ``octets``, of which ``count`` bytes are filled, with what else has come.

        :returns: how many bytes are filled then.
        """
        self.settle(sock)
        if not count:
            self.wire.incoming.ended = True
        size = octets.nbytes
        while 0 < count < size:
            step = self._decrypt(octets[count:])
            if not step:
                break
            count += step
        self.look_ahead(sock)
        return count

    @mirrored("reader.c")
    def _with_more(self, sock: SSLSocket, data: bytes, wanted: int, records: int) -> bytes:
        """``data`` and what else has come, up to ``wanted`` bytes in all.

        :param records: how many records OpenSSL holds that were not read yet.
        """
        if self.wire.incoming.loose:
            self.settle(sock)
        left = wanted - len(data)
        if not data:
            self.wire.incoming.ended = True
        elif left:
            parts = [data]
            if self.clear:
                parts.append(self._take_clear(left))
                left -= len(parts[-1])
            self._collect(parts, left, records)
            if len(parts) > 1:
                data = b"".join(parts)
        self.look_ahead(sock)
        return data

    @mirrored("reader.c")
    def _collect(self, parts: list[bytes], left: int, records: int) -> None:
        """Append up to ``left`` bytes of what has come to ``parts``; large records are decrypted several at a time."""
        incoming = self.wire.incoming
        read = self.wire.sslobj.read
        pending = self.wire.sslobj.pending
        try:
            while left and (records > 0 or (records := 1 if pending() else incoming.feed(left // RECORD))):
                for _ in range(records):  # OpenSSL was given no more records than there is room for
                    more = read(left if left < RECORD else RECORD)
                    if not more:
                        incoming.ended = True
                        return
                    parts.append(more)
                    left -= len(more)
                records = 0
        except _WantRead:
            self._more = True
        except _SSLError as error:
            self._failure = error.with_traceback(None)

    @mirrored("reader.c")
    def _decrypt(self, room: Any) -> Any:
        """Data that has come, without receiving; nothing if the next record holds no application data.

        :param room: the number of bytes to return, or the buffer to fill.
        """
        if self.clear:
            return self._take_clear(room)
        wire = self.wire
        if wire.sslobj.pending() or wire.incoming.feed():
            try:
                data = wire.sslobj.read(room) if isinstance(room, int) else wire.sslobj.read(room.nbytes, room)
                if not data:
                    wire.incoming.ended = True
                return data
            except _WantRead:
                self._more = True
            except _SSLError as error:
                self._failure = error.with_traceback(None)
        return b"" if isinstance(room, int) else 0

    def _take_clear(self, room: Any) -> Any:
        if isinstance(room, int):
            data, self.clear = self.clear[:room], self.clear[room:]
            return data
        data = self.clear[: room.nbytes]
        room[: len(data)] = data
        self.clear = self.clear[len(data) :]
        return len(data)

    def keep_decrypted(self) -> None:
        """Take from OpenSSL what is decrypted: OpenSSL would discard it when it sends close_notify."""
        sslobj = self.wire.sslobj
        while sslobj.pending():
            self.clear += sslobj.read(RECORD)
            self._more = True

    def settle(self, sock: SSLSocket) -> None:
        """Go on after the handshake: record by record."""
        incoming = self.wire.incoming
        if incoming.loose:
            incoming.settle()
            self._more = bool(incoming.chunk) and incoming.ready  # mostly nothing has come
            if self._more:
                _ahead.note_if(sock, self.has_ahead())

    def _end_of_data(self, sock: SSLSocket, error: OSError) -> None:
        """Take an error for the end of the stream, as the standard library does.

        :raises OSError: the error may not be taken for it.
        """
        wire = self.wire
        if isinstance(error, _SSLError):
            ended = error.args[0] == _EOF
            if error.args[0] == _END:  # close_notify came, and ours was sent before
                self._more = wire.incoming.ended = True
                return
        else:
            ended = error.errno in BROKEN
        if not ended:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        if wire.read_ended:
            return
        if not wire.incoming.ended:
            wire.incoming.end()
        self._more = True
        if not sock.suppress_ragged_eofs:
            if not isinstance(error, _SSLError):
                raise cut() from error
            try:
                raise error
            finally:
                del error

    @mirrored("reader.c")
    def has_ahead(self) -> bool:
        """Whether a read would return at once, whatever the kernel says: more was received than was read."""
        if not self._more:
            return False
        wire = self.wire
        incoming = wire.incoming
        return bool(self.clear or self._failure or incoming.ended or incoming.ready or wire.sslobj.pending())

    @mirrored("reader.c")
    def look_ahead(self, sock: SSLSocket) -> None:
        """Find out whether something is left to read, and note that for :mod:`select` and its kin."""
        self._more = True
        self._more = self.has_ahead()
        if self._more or _ahead.noted:
            _ahead.note_if(sock, self._more)

    def pending(self, sock: SSLSocket) -> int:
        """How many bytes are decrypted. If no data is decrypted but records have come, they are decrypted first."""
        wire = self.wire
        if not (self.clear or wire.sslobj.pending()) and self._more and not wire.incoming.loose:
            for _ in range(_PATIENCE):
                if not wire.incoming.ready or self._failure is not None:
                    break
                self.clear = self._decrypt(RECORD)
                if self.clear:
                    break
            self.look_ahead(sock)
        return len(self.clear) + int(wire.sslobj.pending())
