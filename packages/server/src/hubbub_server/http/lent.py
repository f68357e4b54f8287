"""A connection's socket in the hands of the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LentSocket"]


class LentSocket:
    """``environ["werkzeug.socket"]``: where WebSocket libraries look for the socket. Its first use takes it over.

    What the client has sent after its request is received first.

    :param take: gives the socket and what was received already.
    """

    def __init__(self, take: Callable[[], tuple[Any, bytes]]) -> None:
        self._take = take
        self._taken: Any = None
        self._received = b""

    def _socket(self) -> Any:
        if self._taken is None:
            self._taken, self._received = self._take()
        return self._taken

    def recv(self, size: int, flags: int = 0) -> bytes:
        """:meth:`socket.socket.recv`."""
        sock = self._socket()
        if self._received:
            data, self._received = self._received[:size], self._received[size:]
            return data
        received: bytes = sock.recv(size, flags)
        return received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket(), name)
