"""Clients of HTTP/2 and WebSocket that wait for each answer, on sockets of hubbub's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

__all__ = ["Http2", "WebSocket"]

_GOAWAY = 7


class Http2:
    """A client of HTTP/2 by prior knowledge.

    :param sock: a connected socket.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._received = b""
        self._last = -1
        """The last stream that the server will answer; -1 while it has not said that it ends."""
        self._h2.initiate_connection()
        self._flush()

    @property
    def leaves(self) -> bool:
        """Whether the server has said that the connection will end."""
        return self._last >= 0

    def _flush(self) -> None:
        self._sock.sendall(self._h2.data_to_send())

    def ask(self, requests: Sequence[tuple[str, bytes]]) -> list[tuple[int, bytes] | None]:
        """Make requests at the same time, each a path and a body that fits the windows.

        :returns: the status and the body of each response, in order; None for a request that the server has not taken.
        :raises OSError: the connection is gone before all were answered.
        """
        streams = [self._begin(path, body) for path, body in requests]
        self._flush()
        found: dict[int, tuple[int, bytes]] = dict.fromkeys(streams, (0, b""))
        left = set(streams)
        while left:
            for event in self._events():
                number: int = getattr(event, "stream_id", 0)
                if isinstance(event, ResponseReceived):
                    found[number] = (int(dict(event.headers)[b":status"]), b"")
                elif isinstance(event, DataReceived):
                    found[number] = (found[number][0], found[number][1] + event.data)
                    self._h2.acknowledge_received_data(event.flow_controlled_length, number)
                elif isinstance(event, (StreamEnded, StreamReset)):
                    left.discard(number)
            left = {number for number in left if not self._is_refused(number)}
            self._flush()
        return [None if self._is_refused(number) else found[number] for number in streams]

    def _is_refused(self, number: int) -> bool:
        return self.leaves and number > self._last

    def _begin(self, path: str, body: bytes) -> int:
        number = self._h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path)]
        self._h2.send_headers(number, fields, end_stream=not body)
        if body:
            self._h2.send_data(number, body, end_stream=True)
        return int(number)

    def _events(self) -> list[Any]:
        """What has come. h2 takes nothing any more after a GOAWAY, and is not shown it: who has said that it will end
        answers first what it has taken."""
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection before it had answered")
        self._received += data
        events: list[Any] = []
        while len(self._received) >= 9:
            size = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < size:
                break
            frame, self._received = self._received[:size], self._received[size:]
            if frame[3] == _GOAWAY:
                self._last = int.from_bytes(frame[9:13], "big")
            else:
                events += self._h2.receive_data(frame)
        return events


class WebSocket:
    """A client of WebSocket over HTTP/1.1.

    :param sock: a connected socket.
    :param deflate: whether to offer compression.
    :raises ConnectionError: the server does not open it.
    """

    def __init__(self, sock: Any, path: str, deflate: bool) -> None:
        self._sock = sock
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._pending: list[Any] = []
        self.close_code: int | None = None
        """What the server has closed with; None while it has not."""
        self._send(Request(host="x", target=path, extensions=[PerMessageDeflate()] if deflate else []))
        event = self._next()
        if isinstance(event, RejectConnection) and event.status_code == 503:
            self.close_code = 1001  # the server stops, and says so before anything was opened
        elif not isinstance(event, AcceptConnection):
            raise ConnectionError(f"no WebSocket was opened: {event!r}")

    def _send(self, event: Any) -> None:
        self._sock.sendall(self._protocol.send(event))

    def _next(self) -> Any:
        while not self._pending:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the connection of a WebSocket was cut")
            self._protocol.receive_data(data)
            self._pending += self._protocol.events()
        return self._pending.pop(0)

    def ask(self, message: str | bytes) -> str | bytes | None:
        """Send a message; the one that comes back, or None: the server has closed.

        :raises OSError: the connection is gone, without a closing handshake.
        """
        if self.close_code is not None:
            return None
        if self._protocol.state is ConnectionState.OPEN:  # else the server's Close frame has come already
            self._send(Message(data=message))
        answer = message[:0]
        while True:
            event = self._next()
            if isinstance(event, (TextMessage, BytesMessage)):
                answer += event.data  # type: ignore[operator]  # of the type that was sent
                if event.message_finished:
                    return answer
            elif isinstance(event, CloseConnection):
                self.close_code = event.code
                self._send(event.response())
                return None
            elif isinstance(event, Ping):
                self._send(event.response())
            elif not isinstance(event, Pong):
                raise ConnectionError(f"a WebSocket has received {event!r}")

    def close(self) -> None:
        """Close in good order."""
        self._send(CloseConnection(1000))
        while not isinstance(self._next(), CloseConnection):
            pass
