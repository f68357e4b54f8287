"""One message for many clients, made into a frame once."""

from __future__ import annotations

from collections.abc import Iterable

from hubbub_server.websocket._frames import Data, as_message, shared_frame
from hubbub_server.websocket.connection import WebSocket
from hubbub_server.websocket.errors import ConnectionClosed

__all__ = ["broadcast"]


def broadcast(websockets: Iterable[WebSocket], data: Data) -> list[WebSocket]:
    """Send a message to all of ``websockets`` without waiting for any.

    The message is compressed once for all clients that have agreed on the same window.

    :param data: ``str`` for a text; ``bytes`` and what is like it for a binary message.
    :returns: those that have not got it: they are closed, or have not taken what was sent before.
    :raises TypeError: ``data`` is of another type.
    :raises UnicodeEncodeError: the text has no UTF-8 (a lone surrogate).
    """
    message = as_message(data)
    shared: dict[int | None, bytes] = {}
    left = []
    for websocket in list(websockets):
        if websocket.closed or not websocket.has_room:
            left.append(websocket)
            continue
        bits = websocket.frames.bits
        frame = shared.get(bits)
        if frame is None:
            frame = shared[bits] = shared_frame(message, bits)
        websocket.frames.pass_over(frame)
        try:
            websocket.put_frame(frame, len(message))
        except ConnectionClosed:
            left.append(websocket)
    return left
