"""The WebSocket of one client, as the application has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import hubbub
from hubbub.lowlevel import Waiter, WaitQueue, monotonic

from hubbub_server.http.clock import NEVER, Clock
from hubbub_server.http.limits import Limits
from hubbub_server.websocket._frames import Data, Frames, as_message
from hubbub_server.websocket._inbox import Close, Inbox, Message
from hubbub_server.websocket._outbox import Outbox
from hubbub_server.websocket._patience import Patience
from hubbub_server.websocket.errors import ABNORMAL, GOING_AWAY, NORMAL, ConnectionClosed, QueueFull

if TYPE_CHECKING:
    from hubbub_server.websocket.stream import Stream

__all__ = ["Statistics", "WebSocket"]

_RECEIVE: Final = 16384
_FRAMES: Final = 64
"""After so many frames without a wait the greenlet that parses yields."""
_YIELD_AFTER = 1048576
"""After so many bytes that were sent without a wait the sender yields."""
_UNSENDABLE = (1004, 1005, 1006)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has gone over a WebSocket so far. Sizes are of messages, in bytes, or characters of text."""

    messages_received: int
    received: int
    messages_sent: int
    sent: int
    queued_received: int
    """Of messages that the application has not taken yet, in bytes with some for each message."""
    queued_sent: int
    """Of frames that the client has not taken yet, in bytes."""


class WebSocket:
    """One client's WebSocket (RFC 6455). Made by ``environ["hubbub.websocket"]()``.

    Its methods may be called by any greenlets of the thread of its request, several at a time. They must not be called
    by other threads. It is closed when the application has returned, if that has not closed it before.

    Nothing is received while messages of more than ``Limits.websocket_queue_bytes`` wait for :meth:`receive`, and
    :meth:`send` waits while the client has not taken so many: so neither side can fill the memory of the server. Pings
    are responded to whatever the application does.
    """

    __slots__ = (
        *("_by_client", "_clock", "_close_sent", "_deaf", "_ended", "_inbox", "_limits", "_more", "_news"),
        *("_out", "_patience", "_pings", "_pump", "_reading", "_result", "_sent", "_sent_count", "_stream"),
        *("_unlisted", "_wanted", "_work", "deadline", "environ", "frames", "subprotocol", "__weakref__"),
    )

    def __init__(
        self,
        stream: Stream,
        environ: dict[str, Any],
        frames: Frames,
        subprotocol: str | None,
        clock: Clock,
        limits: Limits,
        ended: Callable[[WebSocket], object],
    ) -> None:
        self.environ: dict[str, Any] = environ
        """That of the request."""
        self.subprotocol: str | None = subprotocol
        """The one that was agreed on, of those that the application has named; None for none."""
        self.frames: Frames = frames
        """Makes its frames."""
        self._stream = stream
        self._clock = clock
        self._limits = limits
        self._inbox = Inbox(frames.protocol, frames.limit)
        self._out = Outbox(stream, self._tell, self._lost)
        self._news = WaitQueue()
        self._reading = False
        """Whether a greenlet receives from the stream, or parses."""
        self._more = False
        """Whether there may be frames that were received and not parsed."""
        self._wanted = 0
        """How many greenlets wait for something that must be received."""
        self._pump = False
        """Whether a greenlet of the WebSocket's own receives, because no other does."""
        self._pings: dict[bytes, float | None] = {}
        self._result: Close | None = None
        """Code and reason, as the application sees them."""
        self._by_client = False
        self._close_sent = False
        self._deaf = False
        """Whether messages are of no interest any more."""
        self._ended = False
        """Whether nothing will be received any more, and all was sent that can be."""
        self._unlisted = ended
        self._sent = self._sent_count = self._work = 0
        self._patience = Patience(clock, limits)
        self.deadline: float = self._patience.next(clock.now)
        """When the server is to call :meth:`expire`, in ticks of its clock."""

    def __repr__(self) -> str:
        state = "open" if self._result is None else f"closed {self._result.code}"
        return f"<{type(self).__name__} {state} of {self.environ.get('REMOTE_ADDR') or 'a client'}>"

    # What the application asks for ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more. Messages that came before may still be received."""
        return self._result is not None

    @property
    def close_code(self) -> int | None:
        """See :class:`~hubbub_server.websocket.ConnectionClosed`; None while it is open."""
        return None if self._result is None else self._result.code

    @property
    def close_reason(self) -> str | None:
        """The text that came with the code; None while it is open."""
        return None if self._result is None else self._result.reason

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate was agreed on."""
        return self.frames.bits is not None

    def receive(self, timeout: float | None = None) -> Message:
        """Wait for the next message: ``str`` if it is a text, ``bytes`` if it is binary.

        A wait that is interrupted loses no message.

        :param timeout: seconds, or None for no limit.
        :raises ConnectionClosed: there will be no more.
        :raises TimeoutError: the time has run out.
        """
        inbox = self._inbox
        if not inbox.messages:
            self._wait_until(lambda: bool(inbox.messages) or self._is_over(), timeout)
            if not inbox.messages:
                self._settle()
                raise self._error()
        message = inbox.pop()
        if self._news:
            self._tell()
        return message

    def __iter__(self) -> Iterator[Message]:
        """The messages, until the WebSocket is closed in good order (1000 or 1001).

        :raises ConnectionClosed: it has ended in another way.
        """
        while True:
            try:
                message = self.receive()
            except ConnectionClosed as error:
                if error.code in (NORMAL, GOING_AWAY):
                    return
                raise
            yield message

    def send(self, data: Data, timeout: float | None = None) -> None:
        """Send a message, a text for ``str``, else a binary one; first wait for room in the queue.

        A message whose wait is interrupted is not sent; no message is ever sent in part.

        :param timeout: seconds, or None for no limit.
        :raises ConnectionClosed: it is closed.
        :raises TimeoutError: the time has run out.
        :raises TypeError: ``data`` is of another type.
        :raises UnicodeEncodeError: the text has no UTF-8 (a lone surrogate).
        """
        if self._work >= _YIELD_AFTER:
            self._work = 0
            hubbub.sleep(0)
        if self._out.size >= self._limits.websocket_queue_bytes:
            self._wait_for_room(timeout)
        self._send(data)

    def send_nowait(self, data: Data) -> None:
        """Send a message if there is room in the queue. Raises as :meth:`send`, but for TimeoutError.

        :raises QueueFull: there is none; nothing is sent.
        """
        if self._out.size >= self._limits.websocket_queue_bytes:
            self._check_open()
            raise QueueFull(f"the client has not taken {self._out.size} bytes yet")
        self._send(data)

    def ping(self, timeout: float | None = None) -> float:
        """Send a ping and wait for the client's pong. (The server does so by itself when it has heard nothing for
        ``Limits.websocket_ping_seconds``.)

        :param timeout: seconds, or None for no limit but that of the server.
        :returns: how many seconds it took.
        :raises ConnectionClosed: it is closed, or was closed meanwhile.
        :raises TimeoutError: the time has run out.
        """
        self._check_open()
        payload = os.urandom(8)
        began = monotonic()
        pings = self._pings
        pings[payload] = None
        try:
            self._out.put(self.frames.ping(payload))
            self._wait_until(lambda: pings[payload] is not None or self._is_over(), timeout)
            heard = pings[payload]
        finally:
            del pings[payload]
        if heard is None:
            self._settle()
            raise self._error()
        return heard - began

    def close(self, code: int = NORMAL, reason: str = "", wait: bool = True) -> None:
        """Close: send what is queued, then the close code; wait for the client to do the same.

        The wait takes ``Limits.websocket_close_seconds`` at most. Messages that were not received are dropped. A second
        call, and one after the client has closed, only waits.

        :param code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, 7.4).
        :param reason: 123 bytes of UTF-8 at most.
        :param wait: False to return at once.
        :raises ValueError: the code may not be sent, or the reason is too long.
        """
        _check_close(code, reason)
        self._deaf = True
        self._inbox.drop()
        self._settle()
        if self._result is None:
            self._begin_close(Close(code, reason))
        if wait:
            self._wait_until(lambda: self._ended, None)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until it is closed, by whomever. Messages go on to be received, as far as the queue has room.

        :raises TimeoutError: the time has run out.
        """
        self._wait_until(lambda: self._result is not None or self._is_over(), timeout)
        self._settle()

    def statistics(self) -> Statistics:
        """What has gone over it so far."""
        inbox = self._inbox
        return Statistics(inbox.count, inbox.total, self._sent_count, self._sent, inbox.size, self._out.size)

    # What the server asks for ---------------------------------------------------------------------------------------

    def go_away(self) -> None:
        """The server stops: close with 1001, without waiting. What the client has sent may still be received."""
        self._settle()
        if self._result is None:
            self._begin_close(Close(GOING_AWAY, "the server is stopping"))

    def abandon(self) -> None:
        """The greenlet of the request ends, and with it the connection. Does not wait."""
        self._lost(self._out.empty)

    def put_frame(self, frame: bytes, size: int) -> None:
        """Send a message that was made into a frame already.

        :param size: bytes of the message.
        :raises ConnectionClosed: it is closed.
        """
        self._check_open()
        self._sent += size
        self._sent_count += 1
        self._work += size
        self._out.put(frame)
        if self._ended:
            raise self._error()

    @property
    def has_room(self) -> bool:
        """Whether the queue takes another message."""
        return self._out.size < self._limits.websocket_queue_bytes

    def expire(self) -> None:
        """:attr:`deadline` has passed: look at what the client should have done. Called on the hub."""
        now = self._clock.now
        if self._ended:
            self.deadline = NEVER
        elif self._close_sent:
            self._lost()
        else:
            self._look(now)

    def _look(self, now: float) -> None:
        patience = self._patience
        if self._is_over():
            self._settle()
        elif not self._reading and not self._is_full() and not self._pump:
            self._pump = True
            hubbub.spawn(self._receive_unasked)
        elif self._reading and self._result is None:
            if patience.is_silent(now):
                self._fail(Close(1011, "the client does not respond to pings"))
                self._lost()
                return
            if self._inbox.partial and patience.is_stalled(now):
                self._fail(Close(1008, "a message takes too long"))
                return
            if patience.wants_ping(now):
                self._out.put(self.frames.ping(b""))
        if not self._close_sent:
            self.deadline = patience.next(now)

    def _receive_unasked(self) -> None:
        """Receive while the application does not, so that pings are responded to and the client's end is seen."""
        try:
            self._wait_until(lambda: self._is_over() or self._wanted > 0, None, 0)
        finally:
            self._pump = False

    # Receiving ------------------------------------------------------------------------------------------------------

    def _wait_until(self, done: Callable[[], bool], timeout: float | None, wanted: int = 1) -> None:
        """Receive, or wait for the greenlet that does, until ``done()``.

        :raises TimeoutError: the time has run out.
        """
        if done():
            return
        self._wanted += wanted
        limit = None if timeout is None else hubbub.Timeout.start_new(timeout)
        try:
            while not done():
                if self._reading or self._ended or self._is_full():
                    self._news.wait(Waiter())
                else:
                    self._read()
        except hubbub.Timeout as error:
            if error is not limit:
                raise
            raise TimeoutError(f"timed out after {timeout:g} seconds") from None
        finally:
            if limit is not None:
                limit.cancel()
            self._wanted -= wanted
            if not self._reading and self._news:
                self._tell()  # another may have to receive now

    def _is_full(self) -> bool:
        return self._inbox.size >= self._limits.websocket_queue_bytes

    def _is_over(self) -> bool:
        """Whether no more messages will come."""
        return self._ended or self._inbox.close is not None or self._inbox.failure is not None

    def _read(self) -> None:
        """Receive once, or go on to parse what was received before."""
        self._reading = True
        self._patience.begin(self._clock.now)
        try:
            if not self._more:
                data = self._stream.receive(_RECEIVE)
                self._patience.heard(self._clock.now, len(data))
                if not data:
                    self._lost(self._out.empty)
                    return
                if self._is_over():
                    return  # a rude client that goes on: what it sends now is dropped
                self._inbox.feed(data)
                self._more = True
            self._parse()
            if not self._inbox.partial:
                self._patience.complete()
        finally:
            self._reading = False
            if self._news:
                self._tell()

    def _parse(self) -> None:
        inbox = self._inbox
        while self._more and not self._is_full():
            self._more = inbox.parse(_FRAMES, self._limits.websocket_queue_bytes)
            if self._deaf:
                inbox.drop()
            if inbox.pongs:
                self._note_pongs()
            if self._more and not self._is_full():
                hubbub.sleep(0)
        if inbox.ping is not None:
            payload, inbox.ping = inbox.ping, None
            if not self._close_sent:
                self._out.put_pong(self.frames.pong(payload))
        if not inbox.messages:
            self._settle()

    def _note_pongs(self) -> None:
        now = monotonic()
        for payload in self._inbox.take_pongs():
            payload = bytes(payload)
            if payload in self._pings:
                self._pings[payload] = now

    # Sending --------------------------------------------------------------------------------------------------------

    def _send(self, data: Data) -> None:
        self._check_open()
        message = as_message(data)
        self.put_frame(self.frames.message(message), len(message))

    def _wait_for_room(self, timeout: float | None) -> None:
        limit = hubbub.Timeout.start_new(timeout)
        try:
            while self._result is None and not self.has_room:
                self._news.wait(Waiter())
        except hubbub.Timeout as error:
            if error is not limit:
                raise
            raise TimeoutError(f"the client took nothing for {timeout:g} seconds") from None
        finally:
            limit.cancel()

    def _check_open(self) -> None:
        if self._result is not None:
            raise self._error()

    def _error(self) -> ConnectionClosed:
        result = self._result
        assert result is not None  # or there would be no error
        return ConnectionClosed(result.code, result.reason, self._by_client)

    # The end --------------------------------------------------------------------------------------------------------

    def _begin_close(self, close: Close) -> None:
        """Send a Close frame after what is queued, and give the client some time to respond."""
        self._result = close
        self._close_sent = True
        self._out.put(self.frames.close(close.code, close.reason))
        self.deadline = self._clock.now + self._clock.ticks(self._limits.websocket_close_seconds)
        self._tell()

    def _fail(self, close: Close) -> None:
        """The client has done what is not allowed (RFC 6455, 7.1.7)."""
        self._inbox.failure = close
        if self._result is None:
            self._begin_close(close)
        if self._out.empty:
            self._stream.end()

    def _settle(self) -> None:
        """Respond to the client's Close frame, or to what it did that is not allowed, if there is either. Before that,
        the application has a second to take the messages that came before, and to respond (RFC 6455, 5.5.1)."""
        inbox = self._inbox
        if self._ended:
            return
        if inbox.failure is not None:
            self._fail(inbox.failure)
        elif inbox.close is not None:
            self._answer_close(inbox.close)

    def _answer_close(self, close: Close) -> None:
        if self._result is None:
            self._by_client = True
            self._result = close
        if not self._close_sent:
            self._close_sent = True
            code = None if close.code in _UNSENDABLE else close.code
            self._out.put(self.frames.close(code))
            self.deadline = self._clock.now + self._clock.ticks(self._limits.websocket_close_seconds)
        self._tell()

    def _lost(self, in_order: bool = False) -> None:
        """The connection is gone, or is given up.

        :param in_order: whether the client may still receive what was sent.
        """
        if self._ended:
            return
        if self._result is None:
            self._by_client = True
            self._result = self._inbox.close or Close(ABNORMAL, "the connection was lost")
        if in_order:
            self._stream.end()
        else:
            self._stream.abort()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._close_sent = True
        self.deadline = NEVER
        unlisted, self._unlisted = self._unlisted, _nobody
        unlisted(self)
        self._tell()
        self._out.tell_nobody()
        self._inbox.end()

    def _tell(self) -> None:
        """Something has changed: let all that wait look."""
        if self._close_sent and self._out.empty and not self._ended:
            if self._inbox.close is not None:
                self._stream.end()  # the closing handshake is complete
                self._end()
                return
            if self._inbox.failure is not None:
                self._stream.end()
        self._news.wake_all()


def _nobody(websocket: WebSocket) -> None:
    """Who was told of the end is not kept any longer: it keeps the WebSocket."""


def _check_close(code: int, reason: str) -> None:
    """Check what a Close frame is to say.

    :raises ValueError: the code may not be sent, or the reason is too long.
    """
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _UNSENDABLE:
        raise ValueError(f"a close code is one of 1000 to 1003, 1007 to 1014, or 3000 to 4999, not {code!r}")
    if len(reason.encode()) > 123:
        raise ValueError(f"the reason of a closing is 123 bytes at most, not {len(reason.encode())}")
