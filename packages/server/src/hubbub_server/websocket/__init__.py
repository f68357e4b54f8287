"""WebSocket (RFC 6455) for WSGI applications, with compression (RFC 7692). Needs ``hubbub-server[websocket]``."""

from hubbub_server.websocket._broadcast import broadcast
from hubbub_server.websocket.connection import Statistics, WebSocket
from hubbub_server.websocket.errors import ConnectionClosed, HandshakeError, QueueFull
from hubbub_server.websocket.handshake import Acceptor, serve
from hubbub_server.websocket.origin import check_origin
from hubbub_server.websocket.stream import Opening, Server, Stream

__all__ = [
    "Acceptor",
    "ConnectionClosed",
    "HandshakeError",
    "Opening",
    "QueueFull",
    "Server",
    "Statistics",
    "Stream",
    "WebSocket",
    "broadcast",
    "check_origin",
    "serve",
]
