"""What an application gets of a connection besides the environ: its socket, and the request as it was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hubbub_server.http.body import Body
    from hubbub_server.http.connection import Connection
    from hubbub_server.http.exchange import Exchange

__all__ = ["LentRequest", "LentSocket"]


class LentRequest:
    """``environ["hubbub.request"]`` for an application that has an attribute ``wants_request``: what WSGI cannot say.

    Its methods may be called by one greenlet while the application writes the response in that of the connection. They
    must not be called once the application has returned.
    """

    __slots__ = ("_body", "_connection", "_environ", "_head", "_start", "send_head")

    def __init__(self, exchange: Exchange, connection: Connection, head: bytes, start: int, body: Body | None) -> None:
        self.send_head: Callable[[], None] = exchange.send_head
        """Send the head of the response, of which none of the body is there yet. In the greenlet that writes it."""
        self._connection = connection
        self._environ = exchange.environ
        self._head = head
        self._start = start
        self._body = body

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields as they were sent: their order, those that are there more than once. Names are lowered.

        What is not in the environ for the sake of safety (names with an underscore, an upgrade that cannot be served)
        is not here either.
        """
        environ = self._environ
        found = self._connection.parser.raw_fields(self._head, self._start, "HTTP_UPGRADE" in environ)
        if environ["REQUEST_URI"][0] != "/" and "HTTP_HOST" in environ:  # an absolute target says the host
            host = environ["HTTP_HOST"].encode("latin-1")
            found = [(name, host) if name == b"host" else (name, value) for name, value in found]
        return found

    @property
    def body_done(self) -> bool:
        """Whether all of the body was read, or there is none."""
        return self._body is None or self._body.drained

    def read_nowait(self) -> bytes:
        """As much of the body as has been received already; nothing if that is nothing.

        :raises ValueError: the body is not valid (:class:`~hubbub_server.http.errors.RequestError`).
        :raises ConnectionError: it has ended early.
        """
        return b"" if self._body is None else self._body.next_nowait()

    def read(self) -> bytes:
        """The next piece of the body, for which it waits; nothing at the end. Raises as :meth:`read_nowait`."""
        return b"" if self._body is None else self._body.next()

    def wait_end(self) -> bool:
        """Wait until the client has ended its side of the connection. Only when the body was read.

        :returns: False if that cannot be seen, because the client sends further requests already.
        """
        return self._connection.wait_end()


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
