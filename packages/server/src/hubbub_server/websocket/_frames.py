"""Frames to send, and the protocol that parses those received. No I/O."""

from __future__ import annotations

from typing import Any

from wsproto.frame_protocol import FrameProtocol

from hubbub_server.websocket._messages import SHORT, Deflate, Measure, MessageLimit
from hubbub_server.websocket._usual import frame_of

__all__ = ["Data", "Frames", "as_message", "shared_frame"]

Data = str | bytes | bytearray | memoryview
_COMPRESSED = 0x40
"""The bit of a frame's first byte that says so (RFC 7692, 6)."""


def as_message(data: Data) -> str | bytes:
    """What is to be sent, as one of two types.

    :raises TypeError: it is of another type than :data:`Data`.
    """
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a message is str, or bytes, bytearray or memoryview, not {type(data).__name__}")


class Frames:
    """The frames of one connection: wsproto's protocol, and what was agreed on.

    :param limit: bytes of a message that is received; None for no limit.
    :param deflate: a :class:`~hubbub_server.websocket._messages.Deflate`, or None if messages are not compressed.
    """

    __slots__ = ("_deflate", "bits", "limit", "protocol")

    def __init__(self, limit: int | None, deflate: Any = None) -> None:
        self._deflate: Deflate | None = deflate
        extension: MessageLimit = deflate or MessageLimit(limit)
        self.limit: Measure = extension
        """On messages that are received."""
        self.protocol: FrameProtocol = FrameProtocol(False, [extension])
        self.bits: int | None = None if deflate is None else deflate.bits
        """Of the window that messages are compressed with; None if they are not."""

    def message(self, data: str | bytes) -> bytes:
        """A message in one frame.

        :raises UnicodeEncodeError: the text has no UTF-8.
        """
        if self._deflate is None or len(data) < SHORT:
            return frame_of(data)
        return bytes(self.protocol.send_data(data))

    def ping(self, payload: bytes) -> bytes:
        """A ping."""
        return bytes(self.protocol.ping(payload))

    def pong(self, payload: bytes) -> bytes:
        """A pong."""
        return bytes(self.protocol.pong(payload))

    def close(self, code: int | None, reason: str | None = None) -> bytes:
        """A Close frame."""
        return bytes(self.protocol.close(code, reason or None))

    def pass_over(self, frame: bytes) -> None:
        """A frame of :func:`shared_frame` is sent: what is compressed next must not refer to what was before it."""
        if self._deflate is not None and frame[0] & _COMPRESSED:
            self._deflate.forget()


def shared_frame(data: str | bytes, bits: int | None) -> bytes:
    """A message in a frame that refers to none before it, so that any connection with that window may send it."""
    deflate = None if bits is None else Deflate(None, bits, 15, True, True)
    return Frames(None, deflate).message(data)
