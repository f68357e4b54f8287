"""What came from a client: bytes to messages, pings, pongs and the end. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from hubbub_server.websocket._messages import Measure
from hubbub_server.websocket._usual import message_at

__all__ = ["Close", "Inbox", "Message"]

Message = str | bytes
MESSAGE_COST: Final = 64
"""What a message that waits costs besides its length, in bytes."""
_TAIL = 64
_REASONS = {
    1002: "a frame breaks the protocol",
    1007: "a text is not UTF-8, or compressed data is damaged",
    1009: "a message is too long",
}


class Close(NamedTuple):
    """A close code and its reason (RFC 6455, 7.1.5 and 7.1.6)."""

    code: int
    reason: str


class Inbox:
    """Parses frames, as many at a time as the caller wants, and keeps the messages that are complete.

    :param protocol: wsproto's, of this connection; it sends by the same object.
    :param limit: its extension.
    """

    __slots__ = ("_at", "_fed", "_kind", "_limit", "_pieces", "_protocol", "_received", "_tail", "close", "count",
                 "failure", "messages", "ping", "pongs", "size", "total")  # fmt: skip

    def __init__(self, protocol: FrameProtocol, limit: Measure) -> None:
        self._protocol = protocol
        self._limit = limit
        self._received = b""
        """What nobody has looked at, from :attr:`_at` on. Frames begin there, and no message is under way."""
        self._at = 0
        self._fed = 0
        """Bytes that wsproto was given."""
        self._kind: Any = None
        self._pieces: list[Any] = []
        self._tail: list[Any] = []
        self.messages: deque[Message] = deque()
        """Complete messages, in order."""
        self.size: int = 0
        """What they cost, in bytes."""
        self.ping: bytes | None = None
        """The payload of the last ping that was not responded to."""
        self.pongs: list[bytes] = []
        """The payloads of pongs that nobody has looked at."""
        self.close: Close | None = None
        """What the client's Close frame said. Nothing is parsed after it."""
        self.failure: Close | None = None
        """Why the connection must be ended, once the client has sent what is not allowed. Nothing is parsed then."""
        self.count: int = 0
        """Messages so far."""
        self.total: int = 0
        """Their bytes, or characters of text."""

    @property
    def partial(self) -> bool:
        """Whether a part of a message is here."""
        return self._kind is not None

    def feed(self, data: bytes) -> None:
        """Take what was received, once there is nothing left to parse. :meth:`parse` does the work."""
        if self._kind is None and self._fed == self._limit.parsed:
            self._received, self._at = data, 0
        else:
            self._feed_protocol(data)  # it has a part of a frame, or of a message

    def _feed_protocol(self, data: bytes) -> None:
        self._fed += len(data)
        self._protocol.receive_bytes(data)

    def parse(self, most: int, size: int) -> bool:
        """Parse up to ``most`` frames, or parts of frames, or until the messages cost ``size`` bytes.

        :returns: False if there is nothing left that could be parsed.
        """
        if self.close is not None or self.failure is not None:
            return False
        most = self._parse_usual(most, size)
        if not most:
            return True
        if self._fed == self._limit.parsed:
            return False
        try:
            for frame in self._protocol.received_frames():
                self._take(frame)
                most -= 1
                if not most or self.size >= size or self.close is not None:
                    return self.close is None
        except ParseFailed as error:
            code = int(error.code)
            self.failure = Close(code, _REASONS.get(code, ""))
        return False

    def _parse_usual(self, most: int, size: int) -> int:
        """Parse usual frames in the same way; the rest is given to wsproto. How many more may be parsed now."""
        received, limit = self._received, self._limit.limit
        while self._at < len(received):
            found = message_at(received, self._at, limit)
            if found is None:
                self._feed_protocol(received[self._at :])
                break
            message, self._at = found
            self._complete(message)
            most -= 1
            if not most or self.size >= size:
                return 0
        self._received = b""
        return most

    def _take(self, frame: Any) -> None:
        opcode, payload, _, finished = frame
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if finished and self._kind is None:
                self._complete(payload)
            else:
                self._collect(opcode, payload, finished)
        elif opcode is Opcode.PING:
            self.ping = payload
        elif opcode is Opcode.PONG:
            self.pongs.append(payload)
        else:
            self.close = Close(int(payload[0]), payload[1])

    def _collect(self, kind: Any, payload: Any, finished: bool) -> None:
        """A part of a message. Small parts are joined, so that each byte of them does not take fifty."""
        if self._kind is None:
            self._kind = kind
        if payload:
            self._tail.append(payload)
            if len(self._tail) == _TAIL:
                self._join_tail()
        if finished:
            self._join_tail()
            empty: Any = "" if self._kind is Opcode.TEXT else b""
            self._complete(empty.join(self._pieces))
            self._kind = None
            self._pieces.clear()

    def _join_tail(self) -> None:
        if self._tail:
            self._pieces.append(self._tail[0][:0].join(self._tail))
            self._tail.clear()

    def _complete(self, message: Message) -> None:
        self.messages.append(message)
        self.size += len(message) + MESSAGE_COST
        self.count += 1
        self.total += len(message)

    def pop(self) -> Message:
        """Take the first message."""
        message = self.messages.popleft()
        self.size -= len(message) + MESSAGE_COST
        return message

    def drop(self) -> None:
        """Forget the messages that nobody has taken."""
        self.messages.clear()
        self.size = 0

    def end(self) -> None:
        """Nothing more is parsed. wsproto's object keeps a generator, and that keeps the object: end it, so that the
        garbage collector is not needed."""
        self._received = b""
        generator = getattr(self._protocol, "_parse_more", None)
        if generator is not None:
            # Not close(), which from CPython 3.12 on keeps the frame of a generator that has not begun.
            with suppress(GeneratorExit):
                generator.throw(GeneratorExit)

    def take_pongs(self) -> Iterator[bytes]:
        """Those since the last call."""
        pongs, self.pongs = self.pongs, []
        return iter(pongs)
