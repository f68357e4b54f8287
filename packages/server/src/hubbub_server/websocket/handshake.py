"""From a request to a WebSocket, over whichever version of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import hubbub
from hubbub.lowlevel import monotonic

from hubbub_server.http.response import response_head
from hubbub_server.websocket._frames import Frames
from hubbub_server.websocket._messages import comma_separated, negotiate
from hubbub_server.websocket.connection import WebSocket
from hubbub_server.websocket.errors import NORMAL, ConnectionClosed, HandshakeError

if TYPE_CHECKING:
    from hubbub_server.websocket.stream import Opening, Server

__all__ = ["Acceptor", "serve"]

_OF_THE_SERVER = ("sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions", "connection", "upgrade")
_POLICY, _FAILED = 1008, 1011


class Acceptor:
    """``environ["hubbub.websocket"]``: called by the application, it opens the WebSocket.

    :param opening: the request.
    :param server: knows the limits.
    """

    def __init__(self, opening: Opening, server: Server) -> None:
        self._opening = opening
        self._server = server
        self._began = 0.0
        self.websocket: WebSocket | None = None
        """The one that was opened."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.websocket or 'of a request'}>"

    @property
    def subprotocols(self) -> Sequence[str]:
        """Those that the client offers, in its order."""
        return comma_separated(self._opening.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))

    def __call__(
        self,
        subprotocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] = (),
        *,
        compression: bool = True,
        message_bytes: int | None = None,
    ) -> WebSocket:
        """Open the WebSocket. A second call returns the same.

        :param subprotocols: those that the application speaks, the best one first; the first that the client offers
            is agreed on. None of them: none is.
        :param headers: more header fields of the response.
        :param compression: whether to agree on permessage-deflate if the client offers it.
        :param message_bytes: the longest message that is received, instead of ``Limits.websocket_message_bytes``.
        :raises HandshakeError: the request is not valid. If the application lets it pass, the server responds.
        :raises ConnectionError: the client is gone.
        :raises AssertionError: a response has begun.
        :raises TypeError: a header is of a wrong type, or the subprotocols are one text.
        :raises ValueError: a header is not valid, or is the server's business.
        """
        if self.websocket is None:
            self.websocket = self._open(subprotocols, headers, compression, message_bytes)
        return self.websocket

    def _open(
        self,
        subprotocols: Sequence[str],
        headers: Iterable[tuple[str, str]],
        compression: bool,
        message_bytes: int | None,
    ) -> WebSocket:
        if isinstance(subprotocols, str):
            raise TypeError(f"subprotocols are a list of texts, not one: [{subprotocols!r}]?")
        opening, server = self._opening, self._server
        self._check(opening)
        limits = server.limits
        limit = message_bytes or limits.websocket_message_bytes
        fields = _checked(headers)
        subprotocol = next((name for name in subprotocols if name in self.subprotocols), None)
        if subprotocol is not None:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        deflate = None
        offers = opening.environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS")
        agreed = negotiate(offers, limit) if offers and compression else None
        if agreed is not None:
            deflate, said = agreed
            fields.append(("Sec-WebSocket-Extensions", said))
        stream = opening.accept(fields)
        frames = Frames(limit, deflate)
        websocket = WebSocket(stream, opening.environ, frames, subprotocol, server.clock, limits, self._ended)
        self._began = monotonic()
        server.websockets.add(websocket)
        server.tell_websocket(
            "websocket", opening.environ, {"subprotocol": subprotocol, "compressed": websocket.compressed}
        )
        return websocket

    def _check(self, opening: Opening) -> None:
        """What both versions of HTTP ask for (RFC 6455, 4.2.1).

        :raises HandshakeError: the request is not valid, or comes too late.
        """
        version = opening.environ.get("HTTP_SEC_WEBSOCKET_VERSION")
        if version != "13":
            raise HandshakeError(
                "426 Upgrade Required" if version else "400 Bad Request",
                "Of the versions of WebSocket 13 is known.",
                [("Sec-WebSocket-Version", "13")],
            )
        opening.check()
        if self._server.stopping:
            raise HandshakeError("503 Service Unavailable", "The server is stopping.")

    def _ended(self, websocket: WebSocket) -> None:
        server, count = self._server, websocket.statistics()
        server.websockets.discard(websocket)
        self._opening.count_sent(count.sent)
        server.tell_websocket(
            "websocket_closed",
            self._opening.environ,
            {
                "code": websocket.close_code,
                "reason": websocket.close_reason,
                "messages_received": count.messages_received,
                "messages_sent": count.messages_sent,
                "seconds": round(monotonic() - self._began, 6),
            },
        )

    def finish(self, code: int) -> None:
        """The application has returned, or failed: close what it has left open."""
        if self.websocket is not None:
            try:
                self.websocket.close(code)
            finally:
                self.websocket.abandon()

    def leave(self) -> None:
        """The greenlet is being killed: close without waiting."""
        if self.websocket is not None:
            self.websocket.go_away()
            self.websocket.abandon()


def serve(opening: Opening, server: Server, respond: Callable[[], None]) -> None:
    """Have an application respond to a request that asks for a WebSocket; close the WebSocket when it has done so.

    :param respond: calls the application, and sends what it responds if it opens nothing. What it raises is raised
        here too, except for the two errors that this package makes.
    """
    acceptor = Acceptor(opening, server)
    opening.environ["hubbub.websocket"] = acceptor
    try:
        respond()
    except HandshakeError as error:
        if acceptor.websocket is None:
            body = f"{error.status}\n{error.detail}\n".encode("latin-1", "replace")
            opening.refuse(error.status, [("Content-Type", "text/plain; charset=utf-8"), *error.fields], body)
        else:  # it should have been refused before
            acceptor.finish(_POLICY)
    except ConnectionClosed:
        acceptor.finish(NORMAL)
    except (hubbub.GreenletExit, KeyboardInterrupt):
        acceptor.leave()
        raise
    except BaseException:
        acceptor.finish(_FAILED)
        raise
    else:
        acceptor.finish(NORMAL)
    finally:
        opening.environ.pop("hubbub.websocket", None)  # it keeps the request, and with it the environ


def _checked(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields of an application. Raises as ``start_response`` does."""
    fields = list(headers)
    response_head("101 Switching Protocols", fields)
    for name, _ in fields:
        if name.lower() in _OF_THE_SERVER:
            raise ValueError(f"{name} is the server's business, not the application's")
    return fields
