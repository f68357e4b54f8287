"""asyncio's transport of a socket, with less to do for small messages."""

from __future__ import annotations

from asyncio import selector_events
from typing import TYPE_CHECKING, Any

from hubbub_asyncio.acceleration import known_to_c, twin

__all__ = ["SocketTransport"]

_LEAST = 4 * 1024
_MOST = 64 * 1024
"""Bytes that are read at once. With more each read would map and unmap memory (glibc's mmap threshold): asyncio, which
reads up to 256 KiB, pays two to three times as much for a small message."""

if TYPE_CHECKING:

    class _Base:
        max_size: int
        _protocol: Any
        _read_ready_cb: Any
        _sock: Any
        _buffer: Any
        _conn_lost: int
        _eof: bool
        _empty_waiter: Any

        def __init__(self, *args: Any, **options: Any) -> None: ...
        def write(self, data: Any) -> None: ...
        def _fatal_error(self, error: BaseException, message: str) -> None: ...
        def _read_ready__on_eof(self) -> None: ...

else:
    _Base = selector_events._SelectorSocketTransport


@known_to_c
class SocketTransport(_Base):
    """A connection. It begins with small reads, and makes them larger when they are filled."""

    __slots__ = (  # beside the __dict__: what is read for each message, also by C
        "_buffer",
        "_conn_lost",
        "_empty_waiter",
        "_eof",
        "_protocol",
        "_read_ready_cb",
        "_sock",
        "max_size",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        self._sock = None  # read when it is dropped, also if the rest fails
        self.max_size = _LEAST
        super().__init__(*args, **options)

    @twin("transport.c")
    def _read_ready(self) -> None:
        self._read_ready_cb()

    @twin("transport.c")
    def _read_ready__data_received(self) -> None:
        if self._conn_lost:
            return
        try:
            data = self._sock.recv(self.max_size)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal read error on socket transport")
            return
        if not data:
            self._read_ready__on_eof()
            return
        if len(data) == self.max_size < _MOST:
            self.max_size *= 4
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    @twin("transport.c")
    def write(self, data: Any) -> None:
        """Send ``data``, now if that is possible (:meth:`asyncio.WriteTransport.write`)."""
        if (
            type(data) is not bytes
            or not data
            or self._buffer
            or self._conn_lost
            or self._eof
            or self._empty_waiter is not None
        ):
            super().write(data)
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal write error on socket transport")
            return
        if sent != len(data):
            self._write_later(data, sent)

    def _write_later(self, data: bytes, sent: int) -> None:
        """Send what is left of ``data`` when there is room."""
        super().write(memoryview(data)[sent:] if sent else data)
