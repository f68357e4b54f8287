"""One client's connection over HTTP/2: the driver between a socket, h2, and the streams.

The greenlet of the connection receives. Each request is answered in a greenlet of its own, which hands its frames over
and waits only for its client's windows and for room. What all of them have handed over in a turn of the loop is sent at
its end, by one system call; if the socket does not take it, by a greenlet for that purpose. So a request that is
interrupted leaves no half of a frame behind.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hubbub
from greenlet import getcurrent
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hubbub.io import Socket
from hubbub.lock import Semaphore
from hubbub.lowlevel import Waiter, WaitQueue, monotonic, run_callback

from hubbub_server._http2.exchange import Http2Exchange
from hubbub_server._http2.frames import (
    NO_STREAM,
    PREFACE,
    PRIORITY_BYTES,
    Allowance,
    ConnectionFault,
    Frame,
    Kind,
    Splitter,
    goaway,
    reset,
)
from hubbub_server._http2.protocol import Protocol
from hubbub_server._http2.stream import Stream
from hubbub_server._http2.websocket import offered
from hubbub_server.http.clock import NEVER
from hubbub_server.http.connection import IDLE, READING, Connection, Service
from hubbub_server.http.errors import ClientDisconnected
from hubbub_server.http.request import HeadParser

__all__ = ["Http2Connection"]

_RECEIVE: Final = 65536
_MOST_HELD: Final = 65536
"""With so many bytes that the client has not taken, no more of a body is handed over, and nothing is received."""
_FRAME_COST: Final = 4096
"""What a frame costs, in bytes that could be moved instead."""
_PER_SECOND: Final = 10.0
"""Frames that bring nothing and are always allowed."""
_PER_REQUEST: Final = 5.0
"""Frames that bring nothing and come with a request."""
_LAST_WORDS: Final = 0.4
"""Seconds for a connection that is killed to say so."""
_PROBE: Final = b"hubbubGO"
"""What the PING says whose answer shows that the client has got as far as the first GOAWAY."""
_STAYS, _WAITS, _ANNOUNCED, _LEAVES = range(4)
_send = Socket.__bases__[0].send  # type: ignore[attr-defined]  # of the kernel: it is told not to wait
_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_OF_A_STREAM = frozenset({Kind.DATA, Kind.RST_STREAM, Kind.WINDOW_UPDATE})


class Http2Connection(Connection):
    """Serves the requests of one client, many at a time. ``run`` is called in the greenlet of the connection.

    The parameters are those of :class:`~hubbub_server.http.connection.Connection`, and:

    :param received: what was received already, from the preface on.
    :param serve_stream: called with each stream in a greenlet of its own; it calls :meth:`serve_stream` in turn.
    """

    __slots__ = (
        "_count",
        "_drained",
        "_faults",
        "_flying",
        "_idle_until",
        "_incomplete_until",
        "_leave_by",
        "_leaving",
        "_lost",
        "_out",
        "_peer_leaves",
        "_plain",
        "_push_due",
        "_queue",
        "_received",
        "_room",
        "_running",
        "_serve_stream",
        "_splitter",
        "_window_patience",
        "_writer",
        "allowance",
        "fault",
        "protocol",
        "streams",
        "tunnels",
        "turn",
    )

    def __init__(
        self,
        service: Service,
        sock: Any,
        address: Any,
        parser: HeadParser,
        adjust: Callable[[dict[str, Any]], object] | None,
        received: bytes,
        serve_stream: Callable[[Stream], None],
    ) -> None:
        super().__init__(service, sock, address, parser, adjust)
        limits = self.limits
        self.tunnels: bool = offered()
        """Whether WebSockets are served."""
        self.protocol: Protocol = Protocol(limits, self.tunnels)
        self.streams: dict[int, Stream] = {}
        """Those that run, or wait for others to end."""
        self.turn: Semaphore = Semaphore(1)
        """Held while a piece of a body is handed over, so that streams take turns."""
        self.allowance: Allowance = Allowance(limits.control_frames, _PER_SECOND * self.clock.seconds)
        """How many frames may come that bring nothing."""
        self.fault: ConnectionFault | None = None
        """Why the connection ends, if the client is at fault."""
        self._splitter = Splitter(limits.header_bytes)
        self._received = received
        self._serve_stream = serve_stream
        self._queue: deque[Stream] = deque()
        self._running: set[hubbub.Greenlet[Any]] = set()
        self._count = 0
        self._faults = 0
        self._leaving = _STAYS
        self._leave_by = NEVER
        self._incomplete_until = NEVER
        self._idle_until = self.clock.now + self.clock.first_ticks
        self._peer_leaves = False
        self._lost = False
        self._out = bytearray()
        self._flying = 0
        self._push_due = False
        self._writer = False
        self._plain = type(sock) is Socket and bool(_DONTWAIT)
        self._room = WaitQueue()
        self._drained = WaitQueue()
        self._window_patience = self.clock.write.ticks

    @property
    def state(self) -> str:
        """What it does, for who counts: ``"answering"`` streams, or ``"idle"``."""
        return "answering" if self.streams else "idle"

    # Life -----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until either side has enough."""
        try:
            try:
                self._run()
            except ConnectionFault as error:
                self.fault = self.fault or error
            self._finish()
            self._lost = True
            self.sock.close()
            hubbub.joinall(list(self._running))
        except hubbub.GreenletExit:
            with hubbub.shield():
                self._kill()
            raise
        finally:
            self._lost = True
            self._lose_streams()

    def _run(self) -> None:
        data = self._preface()
        if data is None:
            return
        self.flush()
        if self.service.stopping:
            self.hurry(self.clock.now + self.clock.first_ticks)
        while True:
            if data:
                self._take(data)
            if self.fault is not None or self._is_over():
                return
            self._set_deadline()
            data = self._receive(_RECEIVE)
            if not data:
                if self._splitter.incomplete and self.expired:
                    raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "A frame took too long.")
                return

    def _preface(self) -> bytes | None:
        """Receive the preface; what follows it, or None if there will be none.

        :raises ConnectionFault: it is another.
        """
        data = self._received
        self._received = b""
        self.since = monotonic()
        while len(data) < len(PREFACE):
            if not PREFACE.startswith(data):
                break
            self._phase = READING if data else IDLE
            self.deadline = self._idle_until
            piece = self._receive(_RECEIVE)
            if not piece:
                return None
            data += piece
        if not data.startswith(PREFACE):
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "The connection does not begin with the preface.")
        return data[len(PREFACE) :]

    def _set_deadline(self) -> None:
        """Say how long may be waited for more."""
        clock = self.clock
        if self._splitter.incomplete and not self._splitter.data_of:
            if self._incomplete_until == NEVER:
                self._incomplete_until = clock.now + clock.header_ticks
            self.deadline = self._incomplete_until
        else:
            self._incomplete_until = NEVER
            if not self.streams:
                self.deadline = self._idle_until
                self._phase = IDLE
        self.deadline = min(self.deadline, self._leave_by)

    def expire(self) -> None:
        """The time to receive is up. Called on the hub."""
        if self.clock.now < self._leave_by:
            super().expire()
        elif self._leaving == _WAITS and self.clock.now < self.clock.busy_until and self.streams:
            self._leave_by = self.deadline = self.clock.busy_until
        elif self._leaving == _WAITS:
            self._announce()
        else:
            self._leave()

    def hurry(self, deadline: float) -> None:
        """The server stops, or has served enough here: say so when no request runs; after ``deadline`` also if some do,
        though a server that stops waits longer then.

        Clients that are built on h2 take nothing any more once they have seen a GOAWAY.
        """
        if self._leaving or self._lost or self.fault is not None:
            return
        self._leaving = _WAITS
        self._leave_by = deadline
        self.deadline = min(self.deadline, deadline)
        if not self.streams:
            self._announce()

    def _announce(self) -> None:
        """Send the first GOAWAY. Requests that are on their way are served still."""
        self._leaving = _ANNOUNCED
        self._leave_by = self.clock.now + self.clock.idle_ticks
        self.deadline = min(self._incomplete_until, self._leave_by)
        self.protocol.ping(_PROBE)  # before, as clients that are built on h2 take none after a GOAWAY
        self._say(goaway(NO_STREAM, ErrorCodes.NO_ERROR))

    def _leave(self) -> None:
        """The client has seen the first GOAWAY, or had time to: what comes from now on is not served."""
        self._leaving = _LEAVES
        self._leave_by = self.deadline = NEVER
        self._say(goaway(self.protocol.highest_inbound_stream_id, ErrorCodes.NO_ERROR))
        if self._is_over():
            self._shut(socket.SHUT_RD)

    def _is_over(self) -> bool:
        return not self.streams and (self._leaving == _LEAVES or self._peer_leaves)

    def _finish(self) -> None:
        """Nothing more is received: say why, and let what was said arrive."""
        fault = self.fault
        if not self._lost:
            code, detail = (ErrorCodes.NO_ERROR, "") if fault is None else (fault.code, fault.detail)
            self._say(goaway(self.protocol.highest_inbound_stream_id, code, detail))
        self._lose_streams()
        while self._unsent and not self._lost:
            self._drained.wait(Waiter())
        if not self._lost and fault is not None:
            self._linger()

    def lose(self, reason: str) -> None:
        """The connection is broken, or is to be."""
        self._lost = True
        self._out.clear()
        self._lose_streams(reason)
        self._room.wake_all()
        self._drained.wake_all()
        self._shut(socket.SHUT_RDWR)

    def _lose_streams(self, reason: str = "the client closed the connection") -> None:
        self._queue.clear()
        for stream in list(self.streams.values()):
            stream.lose(reason)

    def _kill(self) -> None:
        """The greenlet of the connection is killed: so are those of its streams, and what they say is sent."""
        hubbub.killall(list(self._running), timeout=_LAST_WORDS)
        if not self._lost:
            self._say(goaway(self.protocol.highest_inbound_stream_id, ErrorCodes.NO_ERROR))
            self._drained.wait(Waiter(), _LAST_WORDS)

    # Receiving ------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        splitter = self._splitter
        splitter.feed(data)
        try:
            while self.fault is None and (frame := splitter.next()) is not None:
                self._take_frame(frame)
                if not splitter.in_block:
                    self._incomplete_until = NEVER  # the time is for each frame, or block, by itself
                self.note_work(_FRAME_COST)
        finally:
            self.flush()
        if (number := splitter.data_of) and number in self.streams:
            self.streams[number].credit(len(data))
        while self._unsent > _MOST_HELD and not self._lost:
            self._drained.wait(Waiter())

    def _take_frame(self, frame: Frame) -> None:
        kind = frame.kind
        newest = self.protocol.highest_inbound_stream_id
        if kind in _OF_A_STREAM and frame.stream and (frame.stream > newest or not frame.stream % 2):
            raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "A frame is about a stream that has not begun.")
        if kind == Kind.DATA:
            if frame.stream not in self.streams or (frame.carries_nothing and not frame.ends_stream):
                self.allowance.spend(self.clock.now)
        elif kind != Kind.HEADERS or frame.stream <= newest:
            self.allowance.spend(self.clock.now)
            if kind == Kind.PRIORITY:
                _check_priority(frame)
                return
            if kind == Kind.SETTINGS and frame.acknowledges and len(frame.data) != 9:
                raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "An acknowledgement has settings.")
            if kind == Kind.WINDOW_UPDATE and frame.stream and frame.data[9:] == bytes(4):
                self._spoil_stream(frame.stream, ErrorCodes.PROTOCOL_ERROR)
                return
            if kind == Kind.GOAWAY and not frame.stream and len(frame.data) >= 17:
                # h2 would send nothing after it. But requests that were sent before are to be answered.
                self._peer_leaves = True
                return
        try:
            happened = self.protocol.receive_data(frame.data)
        except ProtocolError as error:
            self.protocol.clear_outbound_data_buffer()  # its own GOAWAY
            raise ConnectionFault(ErrorCodes(error.error_code), "A frame is not valid, or not allowed here.") from error
        for event in happened:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)

    def _request_received(self, event: Any) -> None:
        number = event.stream_id
        fields = self.protocol.fields
        self.allowance.earn(_PER_REQUEST)
        limit = self.limits.concurrent_streams
        if self._leaving == _LEAVES or len(self.streams) - self._abandoned() >= limit:
            self.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self.note_fault()
            return
        self._count += 1
        self.streams[number] = stream = Stream(self, number, fields, event.stream_ended is not None)
        if len(self._running) < limit:
            self._begin(stream)
        else:
            self._queue.append(stream)
        if self._count == self.limits.requests_per_connection:
            self.hurry(self.clock.now + self.clock.header_ticks)

    def _abandoned(self) -> int:
        """How many requests run that the client does not want answered any more: to it, they are no streams."""
        if len(self.streams) < self.limits.concurrent_streams:
            return 0
        return sum(1 for stream in self.streams.values() if stream.gone or stream.closed)

    def _begin(self, stream: Stream) -> None:
        self._running.add(hubbub.spawn(self._serve_stream, stream))

    def serve_stream(self, stream: Stream) -> None:
        """Answer the request of a stream. Called in a greenlet of its own."""
        try:
            if not stream.gone:
                Http2Exchange(stream).serve()
        finally:
            self._running.discard(getcurrent())
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        """The request of a stream was answered, or never will be."""
        body = stream.body
        if body is not None:
            body.drop()
        if not stream.gone:
            if not stream.closed:
                stream.reset(ErrorCodes.INTERNAL_ERROR)
            elif body is not None and not body.ended:
                stream.reset(ErrorCodes.NO_ERROR)  # the rest of the request is not wanted (RFC 9113, 8.1)
            if self._faults and not stream.spoiled:
                self._faults -= 1
        self.streams.pop(stream.number, None)
        while self._queue and len(self._running) < self.limits.concurrent_streams:
            self._begin(self._queue.popleft())
        if not self.streams:
            self._none_left()

    def _none_left(self) -> None:
        if self._is_over():
            self._shut(socket.SHUT_RD)
        else:
            if self._leaving == _WAITS:
                self._announce()
            self._idle_until = self.clock.idle_deadline
            self.since = monotonic()
            if not self._splitter.incomplete:
                self.deadline = min(self._idle_until, self._leave_by)
                self._phase = IDLE

    def _data_received(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None:
            self.release(event.stream_id, event.flow_controlled_length)
        else:
            stream.data_arrived(event.data, event.flow_controlled_length)

    def _trailers_received(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.trailers_arrived(self.protocol.fields)

    def _stream_ended(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.ended()

    def _stream_reset(self, event: Any) -> None:
        """By the client, or because of something that it sent."""
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.gone:
            return
        if not stream.closed:
            self.note_fault()
        stream.lose("the client wants no response any more")
        if stream in self._queue:
            self._queue.remove(stream)
            del self.streams[stream.number]

    def _spoil_stream(self, number: int, code: ErrorCodes) -> None:
        """A frame is wrong in a way that concerns its stream alone, which ends."""
        self.reset_stream(number, code)
        stream = self.streams.get(number)
        if stream is not None and not stream.gone:
            stream.closed = True
            stream.spoil()
            stream.lose("a frame of the client was wrong")

    def note_fault(self) -> None:
        """The client has taken a request back, or spoiled it.

        What this costs is more than what it costs the client (CVE-2023-44487, CVE-2025-8671), so it may not do so again
        and again. A request that is answered makes up for one.
        """
        self._faults += 1
        if self._faults > self.limits.stream_resets and self.fault is None:
            self.fault = ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "Too many streams were reset.")
            self._shut(socket.SHUT_RD)

    def _window_updated(self, event: Any) -> None:
        if not event.stream_id:
            self._room.wake_all()
        elif (stream := self.streams.get(event.stream_id)) is not None:
            stream.window_opened()

    def _settings_changed(self, event: Any) -> None:
        for stream in self.streams.values():
            stream.window_opened()

    def _ping_answered(self, event: Any) -> None:
        if self._leaving == _ANNOUNCED and event.ping_data == _PROBE:
            # It was before the GOAWAY, and what the client has sent between the two is served too.
            self._leave_by = min(self._leave_by, self.clock.now + 1.0)

    # Sending --------------------------------------------------------------------------------------------------------

    @property
    def _unsent(self) -> int:
        return len(self._out) + self._flying

    def release(self, number: int, size: int) -> None:
        """A stream has taken in so many bytes: the client may send as many more."""
        if size and not self._lost:
            self.protocol.acknowledge_received_data(size, number)
            self.flush()

    def reset_stream(self, number: int, code: ErrorCodes) -> None:
        """Send RST_STREAM, on a stream that may have ended already."""
        state = self.protocol.streams.get(number)
        if state is None or state.closed:
            self._say(reset(number, code))
            return
        self.protocol.reset_stream(number, code)
        self.flush()

    def _say(self, data: bytes) -> None:
        """Send frames that h2 need not know of."""
        self.flush()
        if not self._lost:
            self._out += data
            self._push_soon()

    def flush(self) -> None:
        """Have what was handed over sent, soon."""
        data = self.protocol.data_to_send()
        if data and not self._lost:
            self._out += data
            self._push_soon()

    def _push_soon(self) -> None:
        if not (self._push_due or self._writer):
            self._push_due = True
            run_callback(self._push)

    def _push(self) -> None:
        """Send what the socket takes. Called on the hub."""
        self._push_due = False
        if self._plain and self._out:
            try:
                del self._out[: _send(self.sock, self._out, _DONTWAIT)]
            except BlockingIOError:
                pass
            except OSError:
                self.lose("the client closed the connection")
        if self._out:
            self._writer = True
            hubbub.spawn(self._write)
        else:
            self._went()

    def _write(self) -> None:
        """Send what the socket did not take at once, in a greenlet of its own."""
        try:
            while self._out:
                data, self._out = bytes(self._out[:_MOST_HELD]), self._out[_MOST_HELD:]
                self._flying = len(data)
                self.send(data)
                self._flying = 0
                self._went()
        except ClientDisconnected:
            self._flying = 0
            self.lose("the client closed the connection or does not read")
        finally:
            self._writer = False

    def _went(self) -> None:
        if self._unsent < _MOST_HELD:
            self.wake_room()
            self._drained.wake_all()

    def wake_room(self) -> None:
        """The stream that has its turn is to look again."""
        self._room.wake_all()

    def room(self) -> int:
        """How much of a body can be sent now; 0 if nothing."""
        return self.protocol.outbound_flow_control_window if self._unsent < _MOST_HELD else 0

    def await_room(self, stream: Stream) -> None:
        """Wait until something of a body can be sent on the connection. The stream has its turn.

        :raises ClientDisconnected: it is over meanwhile.
        """
        clock = self.clock
        while not stream.gone:
            window = self.protocol.outbound_flow_control_window
            if window > 0 and self._unsent < _MOST_HELD:
                return
            began = clock.now
            if window <= 0:
                stream.blocks_all = True
                stream.write_deadline = began + self._window_patience
            try:
                self._room.wait(Waiter())
            finally:
                stream.blocks_all = False
                stream.write_deadline = NEVER
            if window <= 0:
                moved = max(self.protocol.outbound_flow_control_window, 0)
                self._window_patience = clock.write.after(self._window_patience, clock.now - began, moved)


def _check_priority(frame: Frame) -> None:
    """Priorities are not heeded (RFC 9113, 5.3.2); their frames must be right all the same."""
    if not frame.stream:
        raise ConnectionFault(ErrorCodes.PROTOCOL_ERROR, "A PRIORITY frame is about no stream.")
    if len(frame.data) != 9 + PRIORITY_BYTES:
        raise ConnectionFault(ErrorCodes.FRAME_SIZE_ERROR, "A PRIORITY frame is not five bytes long.")


_HANDLERS: Final[dict[type[Any], Callable[[Http2Connection, Any], None]]] = {
    events.RequestReceived: Http2Connection._request_received,
    events.DataReceived: Http2Connection._data_received,
    events.TrailersReceived: Http2Connection._trailers_received,
    events.StreamEnded: Http2Connection._stream_ended,
    events.StreamReset: Http2Connection._stream_reset,
    events.WindowUpdated: Http2Connection._window_updated,
    events.RemoteSettingsChanged: Http2Connection._settings_changed,
    events.PingAckReceived: Http2Connection._ping_answered,
}
