"""Why a WebSocket was not opened, or has ended."""

from __future__ import annotations

from collections.abc import Sequence

from hubbub_server.http.errors import ClientDisconnected

__all__ = ["ABNORMAL", "GOING_AWAY", "NORMAL", "ConnectionClosed", "HandshakeError", "QueueFull"]

NORMAL = 1000
GOING_AWAY = 1001
ABNORMAL = 1006
"""Close codes of RFC 6455, 7.4.1; the last one is never sent, and says that the connection was lost."""


class HandshakeError(ValueError):
    """A request does not open a WebSocket. If the application lets it pass, the server responds with what it says.

    :param status: such as ``"400 Bad Request"``.
    :param detail: one sentence for the client, without anything that the client sent.
    :param fields: header fields of the response.
    """

    def __init__(self, status: str, detail: str, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.fields: list[tuple[str, str]] = list(fields)

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class ConnectionClosed(ClientDisconnected):
    """The WebSocket is closed. An application may let this pass: its request ends then, and nothing is logged.

    :param code: the close code (RFC 6455, 7.4): what the client said, or else what the server said; 1005 if the client
        gave none, 1006 if the connection was lost.
    :param reason: the text that came with it.
    :param by_client: whether the client has begun the closing, or was lost.
    """

    def __init__(self, code: int, reason: str, by_client: bool) -> None:
        super().__init__(code, reason, by_client)
        self.code = code
        self.reason = reason
        self.by_client = by_client

    def __str__(self) -> str:
        who = "the client" if self.by_client else "the server"
        return f"the WebSocket was closed by {who}: {self.code}{f' {self.reason}' if self.reason else ''}"


class QueueFull(BlockingIOError):
    """A message was not taken by ``send_nowait``, because the client has not yet taken what was sent before."""
