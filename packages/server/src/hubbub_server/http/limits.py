"""How much a client may send, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on clients. Sizes are in bytes, times in seconds; None means no limit where it is allowed.

    Times are counted in ticks of a clock that stands still while the process does: a client is not blamed for what the
    server was busy with.
    """

    request_line: int = 8192
    """Longest request line: 414."""
    header_count: int = 100
    """Most header fields: 431."""
    header_bytes: int = 65536
    """Longest head, request line included: 431."""
    field_bytes: int | None = None
    """Longest header field, its name included: 431."""
    body_bytes: int | None = None
    """Longest body: 413."""
    chunk_extension_bytes: int = 16384
    """Most chunk extensions in one body: 400."""
    trailer_bytes: int = 8192
    """Longest trailer section of a chunked body: 431."""
    requests_per_connection: int | None = None
    """After so many the connection is closed."""
    discard_bytes: int = 262144
    """Most of an unread body that is read and thrown away for the sake of the next request; more closes."""
    header_seconds: float | None = 20.0
    """From the first byte of a request (or the start of the connection) to the end of its head: 408."""
    body_seconds: float | None = 30.0
    """For a body to make progress: 408. Each byte read gives back ``1 / body_rate`` seconds, to this at most."""
    body_rate: int = 500
    """Bytes per second below which a body counts as stalled."""
    idle_seconds: float | None = 75.0
    """Between two requests of a connection; then it is closed."""
    write_seconds: float | None = 30.0
    """For a response to make progress, as ``body_seconds``; then the connection is reset."""
    write_rate: int = 500
    """Bytes per second below which a client counts as not reading."""
    request_seconds: float | None = None
    """From the end of a request's head to the end of its response, however the time is spent: 503, or the connection is
    reset if a part of the response was sent. ``environ["hubbub.set_deadline"]`` changes it for one request."""
    websocket_message_bytes: int | None = 1048576
    """Longest message of a WebSocket, after decompression: it is closed with 1009."""
    websocket_queue_bytes: int = 262144
    """Of messages that the application has not taken: then nothing is received. Of what the client has not taken: then
    the sender waits."""
    websocket_ping_seconds: float | None = 20.0
    """After such a silence of the client it is sent a ping."""
    websocket_pong_seconds: float | None = 20.0
    """For a sign of life after that ping; then the connection is reset."""
    websocket_close_seconds: float | None = 5.0
    """For the client's part of the closing; then the connection is reset."""
    concurrent_streams: int = 100
    """Most requests that an HTTP/2 connection may have at a time; more are refused (REFUSED_STREAM)."""
    stream_window: int = 65535
    """Most bytes of a body that an HTTP/2 client may send before the application has read them. At least 65,535, which
    every client may take for granted."""
    stream_resets: int = 200
    """Requests that an HTTP/2 client may take back, or spoil, more than it lets be answered: GOAWAY."""
    control_frames: int = 2000
    """Frames from an HTTP/2 client that bring neither a request nor a body, beyond some for each request, for what it
    is sent, and for each second: GOAWAY."""
    linger_seconds: float = 2.0
    """How long what a refused client still sends is read, so that the answer reaches it (RFC 9112, 9.6)."""
