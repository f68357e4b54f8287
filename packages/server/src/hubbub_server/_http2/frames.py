"""What a peer sends, cut into frames and counted before anything else looks at it (RFC 9113, 4 and 6). No I/O.

h2 knows what the frames mean. What it costs to take them is bounded here: how long a frame and a field block may be,
and how many frames may come that bring neither a request nor a body.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from h2.errors import ErrorCodes

__all__ = ["MAX_FRAME", "NO_STREAM", "PREFACE", "PRIORITY_BYTES", "Allowance", "ConnectionFault", "Frame", "Kind",
           "Splitter", "goaway", "reset"]  # fmt: skip

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What the connection of a client begins with (RFC 9113, 3.4)."""
MAX_FRAME: Final = 16384
"""Most bytes of a frame's payload: what every peer may send, and more was not offered."""
NO_STREAM: Final = 2**31 - 1
"""The last stream that a first GOAWAY names: none is ruled out yet (RFC 9113, 6.8)."""
PRIORITY_BYTES: Final = 5
_PADDED, _END_HEADERS, _END_STREAM = 0x8, 0x4, 0x1
_ACK = 0x1
_MOST_FRAMES = 50
"""Most frames of one field block."""
_SHORT = 256
"""A DATA frame of fewer bytes that the peer's window has cut short earns nothing."""


class Kind:
    """Types of frames."""

    DATA: Final = 0
    HEADERS: Final = 1
    PRIORITY: Final = 2
    RST_STREAM: Final = 3
    SETTINGS: Final = 4
    PUSH_PROMISE: Final = 5
    PING: Final = 6
    GOAWAY: Final = 7
    WINDOW_UPDATE: Final = 8
    CONTINUATION: Final = 9


class ConnectionFault(Exception):
    """The peer has broken a rule of the connection as a whole, which ends with this error (RFC 9113, 5.4.1).

    :param code: what GOAWAY says.
    :param detail: one sentence, without anything that the peer sent.
    """

    def __init__(self, code: ErrorCodes, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code.name}: {self.detail}"


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream: int
    data: bytes
    """All of it, with its head of nine bytes."""

    @property
    def ends_stream(self) -> bool:
        """Whether a DATA or HEADERS frame is the last of its stream."""
        return bool(self.flags & _END_STREAM)

    @property
    def acknowledges(self) -> bool:
        """Whether a SETTINGS or PING frame is an answer."""
        return bool(self.flags & _ACK)

    @property
    def carries_nothing(self) -> bool:
        """Whether a DATA frame has no bytes of a body."""
        size = len(self.data) - 9
        return size == 0 or (bool(self.flags & _PADDED) and size == 1 + self.data[9])


class Splitter:
    """Cuts what was received into frames.

    :param block_bytes: longest field block, as it was sent.
    """

    def __init__(self, block_bytes: int) -> None:
        self._buffer = bytearray()
        self._limit = block_bytes
        self._block = 0
        self._block_size = self._block_frames = 0
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        self._buffer += data

    def next(self) -> Frame | None:
        """The next frame, or None if it has not all arrived.

        :raises ConnectionFault: it is too long, or must not come here.
        """
        buffer = self._buffer
        if len(buffer) < 9:
            return None
        size = int.from_bytes(buffer[:3], "big")
        if size > MAX_FRAME:
            raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "A frame is too long.")
        if len(buffer) < size + 9:
            return None
        data = bytes(buffer[: size + 9])
        del buffer[: size + 9]
        frame = Frame(data[3], data[4], int.from_bytes(data[5:9], "big") & NO_STREAM, data)
        if not self._begun or self._block or frame.kind == Kind.CONTINUATION or frame.kind == Kind.HEADERS:
            self._check_order(frame)
        return frame

    def _check_order(self, frame: Frame) -> None:
        if not self._begun:
            if frame.kind != Kind.SETTINGS or frame.acknowledges:
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "The first frame is not SETTINGS.")
            self._begun = True
        elif self._block:
            if frame.kind != Kind.CONTINUATION or frame.stream != self._block:
                raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "Another frame is within a field block.")
            self._note_block(frame)
        elif frame.kind == Kind.CONTINUATION:
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "A CONTINUATION frame continues nothing.")
        else:
            self._block_size = self._block_frames = 0
            self._note_block(frame)

    def _note_block(self, frame: Frame) -> None:
        self._block_size += len(frame.data) - 9
        self._block_frames += 1
        if self._block_size > self._limit or self._block_frames > _MOST_FRAMES:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "A field block is too long.")
        self._block = 0 if frame.flags & _END_HEADERS else frame.stream

    @property
    def in_block(self) -> bool:
        """Whether a field block has begun and not ended."""
        return bool(self._block)

    @property
    def incomplete(self) -> bool:
        """Whether a frame, or a field block, has begun and not ended."""
        return bool(self._buffer) or bool(self._block)

    @property
    def data_of(self) -> int:
        """The stream of the DATA frame of which a part has arrived; 0 if there is none."""
        buffer = self._buffer
        if len(buffer) < 9 or buffer[3] != Kind.DATA:
            return 0
        return int.from_bytes(buffer[5:9], "big") & NO_STREAM


class Allowance:
    """How many frames may come that bring nothing: each costs one, time and whatever is served give some back.

    :param limit: so many at once.
    :param rate: so many more per tick.
    """

    __slots__ = ("_limit", "_rate", "_since", "left")

    def __init__(self, limit: int, rate: float) -> None:
        self.left: float = limit
        """What is left of it."""
        self._limit = limit
        self._rate = rate
        self._since = 0.0

    def spend(self, now: float) -> None:
        """One has come.

        :param now: in ticks.
        :raises ConnectionFault: it is one too many.
        """
        self.left -= 1.0
        if self.left >= 0.0:
            return
        self.earn((now - self._since) * self._rate)
        self._since = now
        if self.left < 0.0:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "Too many frames bring neither a request nor a body.")

    def earn(self, count: float) -> None:
        """What the peer's frames have to do with, which is served."""
        left = self.left + count
        self.left = left if left < self._limit else self._limit

    def sent(self, size: int, cut: bool) -> None:
        """A DATA frame of ``size`` bytes was sent, for which a peer opens its two windows again.

        :param cut: whether the peer's window was too small for more.
        """
        if size >= _SHORT or not cut:
            self.earn(3.0)


def goaway(last: int, code: ErrorCodes, detail: str = "") -> bytes:
    """A GOAWAY frame (RFC 9113, 6.8).

    :param last: the last stream that is served.
    """
    text = detail.encode("ascii")
    return struct.pack(">HBBBIII", 0, 8 + len(text), Kind.GOAWAY, 0, 0, last, code) + text


def reset(stream: int, code: ErrorCodes) -> bytes:
    """A RST_STREAM frame (RFC 9113, 6.4)."""
    return struct.pack(">HBBBII", 0, 4, Kind.RST_STREAM, 0, stream, code)
