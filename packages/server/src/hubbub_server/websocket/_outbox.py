"""What is on its way to a client: frames in order, each whole or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import hubbub

from hubbub_server.websocket.stream import Stream

__all__ = ["Outbox"]

_AT_ONCE = 65536
"""So many bytes of frames are joined for one send."""


class Outbox:
    """Sends frames without making their senders wait: what the stream does not take at once, a greenlet sends.

    Nobody interrupts that greenlet, so no frame is cut short by the end of its sender.

    :param stream: where to.
    :param told: called when there is more room than before, and when all is sent.
    :param broken: called when the client is gone.
    """

    __slots__ = ("_broken", "_frames", "_pong", "_stream", "_told", "_writing", "size")

    def __init__(self, stream: Stream, told: Callable[[], object], broken: Callable[[], object]) -> None:
        self._stream = stream
        self._told = told
        self._broken = broken
        self._frames: deque[bytes] = deque()
        self._pong: bytes | None = None
        self._writing = False
        self.size: int = 0
        """Bytes that wait to be sent."""

    @property
    def empty(self) -> bool:
        """Whether everything was sent."""
        return not self._writing

    def tell_nobody(self) -> None:
        """Who has this needs to know nothing more, and is not kept by it any longer."""
        self._told = self._broken = _nothing

    def put(self, frame: bytes) -> None:
        """Send a frame, after those before it."""
        if self._writing:
            self._frames.append(frame)
            self.size += len(frame)
            return
        try:
            sent = self._stream.send_nowait(frame)
        except OSError:
            self._broken()
            return
        if sent < len(frame):
            self._writing = True
            self.size = len(frame) - sent
            hubbub.spawn(self._write, frame[sent:])

    def put_pong(self, frame: bytes) -> None:
        """Send a pong before other frames. It replaces one that is not sent yet (RFC 6455, 5.5.3)."""
        if self._writing:
            self._pong = frame
        else:
            self.put(frame)

    def _write(self, data: bytes) -> None:
        """Send until there is nothing left. Run in a greenlet of its own."""
        try:
            while data:
                self._stream.send(data)
                data = self._next(len(data))
                self._told()
        except OSError:
            self._frames.clear()
            self.size = 0
            self._broken()
        finally:
            self._writing = False
        self._told()

    def _next(self, sent: int) -> bytes:
        """The next bytes to send, after ``sent`` bytes that count."""
        self.size = max(self.size - sent, 0)
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self.size += len(pong)
            return pong
        frames = self._frames
        if not frames:
            return b""
        data = frames.popleft()
        if len(data) < _AT_ONCE and frames:
            parts = [data]
            total = len(data)
            while frames and total < _AT_ONCE:
                parts.append(frames.popleft())
                total += len(parts[-1])
            data = b"".join(parts)
        return data


def _nothing() -> None:
    """Nobody wants to know."""
