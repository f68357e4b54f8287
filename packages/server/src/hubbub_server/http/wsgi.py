"""What a WSGI application says of its response (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hubbub_server.http.exchange import Exchange
from hubbub_server.http.filewrapper import FileWrapper, plain_file
from hubbub_server.http.outgoing import PIECE_COST
from hubbub_server.http.response import response_head

__all__ = ["Application", "Response"]

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""What PEP 3333 calls an application object."""
_MOST_DROPPED = 1 << 24
"""So much of a body that goes nowhere is asked for, so that an application comes to its end; then it is closed."""


class Response:
    """The functions that an application answers by.

    :param exchange: sends what they are given.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def start(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """PEP 3333, "The start_response() Callable".

        :raises AssertionError: called twice without ``exc_info``.
        :raises TypeError: see :class:`~hubbub_server.http.response.ResponseHead`.
        :raises ValueError: the same.
        """
        exchange = self._exchange
        if exc_info:
            try:
                if exchange.started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif exchange.head is not None:
            raise AssertionError("start_response() was called a second time without exc_info")
        exchange.head = response_head(status, headers)
        return self.write

    def write(self, data: bytes) -> None:
        """PEP 3333, "The write() Callable".

        :raises AssertionError: before start_response(), after the end of the response, or not bytes.
        :raises ClientDisconnected: the client is gone, or does not read.
        """
        if not isinstance(data, bytes):
            raise AssertionError(f"the body must be bytes, not {type(data).__name__}")
        if self._exchange.ended:
            raise AssertionError("write() was called after the end of the response")
        if data:
            self._exchange.send_piece(data)

    def finish(self, result: Iterable[bytes]) -> None:
        """Send what the application returned, and let go of it."""
        exchange = self._exchange
        if (type(result) is list or type(result) is tuple) and not exchange.started:
            exchange.send_whole(result[0] if len(result) == 1 else b"".join(result))
            return
        try:
            self._send(result)
        finally:
            exchange.ended = True
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _send(self, result: Iterable[bytes]) -> None:
        exchange = self._exchange
        if type(result) is FileWrapper and not exchange.started:
            file = plain_file(result.filelike)
            if file is not None and exchange.send_file(file):
                return
        for piece in result:
            if not self.take(piece):
                break
        exchange.finish()

    def take(self, piece: bytes) -> bool:
        """Send one piece of what the application returned. False: no more is wanted."""
        exchange = self._exchange
        self.write(piece)
        if exchange.dropped:
            # A body that the client does not get must neither keep other greenlets from running nor go on for ever.
            exchange.connection.note_work(len(piece) + PIECE_COST)
            return exchange.dropped <= _MOST_DROPPED
        if not piece:
            exchange.connection.note_work(PIECE_COST)
        return True
