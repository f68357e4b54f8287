"""The usual frame: a message as a whole, not compressed. Read and made here, it costs a tenth of what it costs with
wsproto. All other frames, right and wrong, are left to wsproto. No I/O."""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = ["HEADER", "frame_of", "header_size", "message_at"]

_TEXT: Final = 0x81
_BINARY: Final = 0x82
"""The first byte of a frame that is all of its message (RFC 6455, 5.2)."""
_MASKED: Final = 128
_TWO: Final = 126
"""A length in two more bytes; one more than this stands for one in eight."""
HEADER: Final = 6
"""Bytes before the payload of a client's frame whose length is below that: with the mask."""
_MIDDLE, _LONG = Struct("!BBH").pack, Struct("!BBQ").pack


def header_size(length: int) -> int:
    """Bytes before a payload in a client's frame."""
    return HEADER + (0 if length < _TWO else 2 if length < 65536 else 8)


def message_at(data: bytes, at: int, most: int | None) -> tuple[str | bytes, int] | None:
    """The message of a usual frame.

    :param data: what was received.
    :param at: where a frame begins.
    :param most: bytes of the longest message that is allowed; None for no limit.
    :returns: the message, and where its frame ends; None if there is another frame, or not all of it.
    """
    size = len(data)
    start = at + HEADER
    if size < start:
        return None
    kind = data[at]
    length = data[at + 1] - _MASKED
    if (kind != _TEXT and kind != _BINARY) or length < 0 or length > _TWO:
        return None
    if length == _TWO:
        start += 2
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < _TWO:
            return None  # it could have been shorter
    end = start + length
    if end > size or (most is not None and length > most):
        return None
    mask = data[start - 4 : start]
    if length % 4:
        mask = mask * (length // 4) + mask[: length % 4]
    else:
        mask *= length // 4
    payload = (int.from_bytes(data[start:end], "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")
    if kind == _BINARY:
        return payload, end
    try:
        return payload.decode(), end
    except UnicodeDecodeError:
        return None


def frame_of(message: str | bytes) -> bytes:
    """A server's frame with a message.

    :raises UnicodeEncodeError: the text has no UTF-8.
    """
    kind = _BINARY
    if isinstance(message, str):
        kind, message = _TEXT, message.encode()
    length = len(message)
    if length < _TWO:
        return bytes((kind, length)) + message
    return (_MIDDLE(kind, _TWO, length) if length < 65536 else _LONG(kind, _TWO + 1, length)) + message
