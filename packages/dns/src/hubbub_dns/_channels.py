"""c-ares channels, driven by the hub's loop: c-ares says which descriptors it waits for, the loop watches them."""

from __future__ import annotations

import _socket
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pycares
from hubbub.abc import READ, WRITE
from hubbub.lowlevel import BaseLoop, closing, get_hub
from pycares import errno as status

from hubbub_dns._answer import AAAA, CNAME, MAX_CHAIN, PTR, SOA, A, Answer, Record, follow
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._flights import Flight
from hubbub_dns._reflections import drop_queries, refuse_queries
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import Server

__all__ = ["PER_PORT", "Channel", "Question"]

PER_PORT = 32
"""Questions that go out from one port before there is a new one."""
_NEGATIVE_TTL = 5.0
"""Seconds to keep the answer that there is nothing: pycares does not hand on the record that says how long."""
_SENDINGS = 6
_LEAST_RESEND = 0.25
_MAX_ASKED = 256
_NO_SOCKET = pycares.ARES_SOCKET_BAD
_VALUES = {A: "addr", AAAA: "addr", CNAME: "cname", PTR: "dname"}
_FAILURES = {
    status.ARES_EFORMERR: LookupFailed(Failure.NO_RECOVERY),
    status.ARES_EBADRESP: LookupFailed(Failure.NO_RECOVERY),
    status.ARES_EBADNAME: LookupFailed(Failure.NOT_FOUND),
    status.ARES_ESERVFAIL: LookupFailed(Failure.TRY_AGAIN, servfail=True),
    status.ARES_ENOTIMP: LookupFailed(Failure.TRY_AGAIN),
    status.ARES_EREFUSED: LookupFailed(Failure.TRY_AGAIN),
}
_SILENCE = LookupFailed(Failure.TRY_AGAIN, answered=False)
_ABSENT = {status.ARES_ENODATA: Failure.NO_DATA, status.ARES_ENOTFOUND: Failure.NOT_FOUND}

_abandoned: list[Any] = []
"""Channels of a parent process: c-ares must neither use nor destroy them here."""


class Question:
    """One question, and how far its answer has come."""

    __slots__ = ("_channel", "_ttl", "chain", "deadline", "flight", "rtype")

    def __init__(self, channel: Channel, flight: Flight[Answer]) -> None:
        self._channel = channel
        self.flight = flight
        _, name, self.rtype = flight.key
        self.chain: tuple[str, ...] = (name,)
        self.deadline = monotonic() + channel.limit
        self._ttl = float("inf")

    def answered(self, result: Any, error: int | None) -> None:
        """Called from within c-ares, which is not to be called again from here."""
        channel = self._channel
        channel.held -= 1
        channel.outcomes.append((self, result, error))

    def call_off(self) -> None:
        """Nobody waits for the answer any more."""
        self._channel.call_off(self)

    def take(self, result: Any, error: int | None) -> Answer | LookupFailed | None:
        """The outcome, or None when the last name of the chain is to be asked for."""
        if error is not None:
            if error in _ABSENT:
                return Answer(self.chain, (), min(self._ttl, _NEGATIVE_TTL), _ABSENT[error])
            return _FAILURES.get(error, _SILENCE)
        return self._follow(result)

    def plain(self, records: list[Any]) -> Answer | None:
        """What comes of records that all answer the question, as most do; None if there are others or none."""
        chain, rtype, ttl = self.chain, self.rtype, self._ttl
        name = chain[-1].lower()
        values = []
        for record in records:
            if record.type != rtype or record.name.lower() != name:
                return None
            values.append(record.data.dname if rtype == PTR else record.data.addr)
            if record.ttl < ttl:
                ttl = record.ttl
        return Answer(chain, tuple(dict.fromkeys(values)), ttl) if values else None

    def _follow(self, result: Any) -> Answer | LookupFailed | None:
        records = [
            Record(record.name, record.type, record.ttl, getattr(record.data, _VALUES[record.type]))
            for record in result.answer
            if record.type in _VALUES
        ]
        soa = [min(record.ttl, record.data.minimum) for record in result.authority if record.type == SOA]
        before = len(self.chain)
        try:
            answer = follow(records, self.chain, self.rtype, self._ttl, True, soa[0] if soa else 0.0)
        except LookupFailed as failed:
            return failed
        if answer.failure is None or soa or len(answer.chain) == before:
            return answer
        self.chain, self._ttl = answer.chain, min(record.ttl for record in records)
        return LookupFailed(Failure.NO_RECOVERY) if len(self.chain) > MAX_CHAIN else None


class Channel:
    """Puts a few questions to the servers, from one random port. Belongs to one loop.

    c-ares closes a channel's sockets when nothing is under way on it. So a channel that takes no more than so many
    questions until all have ended goes on with a fresh port.

    :param emptied: called with the channel when nothing is under way any more.
    """

    def __init__(self, settings: Settings, servers: Sequence[Server], emptied: Callable[[Channel], None]) -> None:
        self.settings = settings
        self.servers = servers
        self.limit = settings.timeout * settings.attempts * len(servers)
        """Seconds that a question may take."""
        self._emptied = emptied
        self._loop: BaseLoop = get_hub().loop
        self._watchers: dict[int, Any] = {}
        self._streams: set[int] = set()
        self._unguarded: set[int] = set()
        self.taken = 0
        """How many questions it was given since none was under way: at most :data:`PER_PORT`."""
        self._under_way: set[Question] = set()
        self.held = 0
        """Questions that c-ares has not done with, those that were called off included."""
        self.outcomes: deque[tuple[Question, Any, int | None]] = deque()
        """What c-ares has said and nobody was told yet."""
        self._asked: set[tuple[str, int]] = set()
        # The time doubles from one sending to the next.
        first = settings.timeout * settings.attempts / (2**_SENDINGS - 1)
        self._ares = pycares.Channel(
            flags=pycares.ARES_FLAG_EDNS | (pycares.ARES_FLAG_USEVC if settings.use_vc else 0),
            timeout=max(first, _LEAST_RESEND),
            tries=_SENDINGS,
            servers=[_csv(server) for server in servers],
            rotate=settings.rotate,
            lookups="b",
            resolvconf_path=os.devnull,
            sock_state_cb=self._socket_state,
        )

    # Asking ---------------------------------------------------------------------------------------------------------

    def ask(self, flight: Flight[Answer]) -> None:
        """Begin to ask."""
        question = flight.task = Question(self, flight)
        self.taken += 1
        self._under_way.add(question)
        self._send(question)
        if self.outcomes:  # c-ares knew at once; whoever asks is not ready to hear it
            self._loop.run_callback(self._deliver)

    def _send(self, question: Question) -> None:
        key = (question.chain[-1].lower(), question.rtype)
        if key in self._asked or len(self._asked) >= _MAX_ASKED:
            self._forget_answers()
        self._asked.add(key)
        self.held += 1
        try:
            self._ares.query(key[0], question.rtype, callback=question.answered)
        except pycares.AresError as error:
            question.answered(None, error.args[0])

    def _forget_answers(self) -> None:
        """c-ares has a cache of its own, without a switch; a change of servers empties it."""
        servers = [_csv(server) for server in self.servers]
        self._ares.servers = [*servers, "127.0.0.1:9"]
        self._ares.servers = servers
        self._asked.clear()

    def _deliver(self) -> None:
        """After c-ares has done something: pass outcomes on, or ask for more."""
        outcomes = self.outcomes
        while outcomes:
            question, result, error = outcomes.popleft()
            if question not in self._under_way:
                continue
            outcome = (question.plain(result.answer) if error is None else None) or question.take(result, error)
            if outcome is None:
                self._send(question)
            else:
                self.call_off(question)
                question.flight.land(outcome)

    def call_off(self, question: Question) -> None:
        """Nobody waits for the answer any more. c-ares goes on with the others, if there are any."""
        self._under_way.discard(question)
        if not self._under_way:
            if self.held:
                self._ares.cancel()
            self.outcomes.clear()
            self.taken = 0
            self._emptied(self)

    def tick(self) -> None:
        """Let c-ares send again what was lost, and end questions whose time is over. To be called now and then."""
        now = monotonic()
        for question in [question for question in self._under_way if question.deadline <= now]:
            self.call_off(question)
            question.flight.land(_SILENCE)
        self._ares.process_fd(_NO_SOCKET, _NO_SOCKET)
        self._deliver()

    # What c-ares waits for ------------------------------------------------------------------------------------------

    def _socket_state(self, fd: int, readable: bool, writable: bool) -> None:
        watcher = self._watchers.pop(fd, None)
        if watcher is None:
            self._opened(fd)
        else:
            watcher.close()
        if not (readable or writable):
            self._streams.discard(fd)
            self._unguarded.discard(fd)
            closing(fd)
            return
        watcher = self._watchers[fd] = self._loop.io(fd, (READ if readable else 0) | (WRITE if writable else 0))
        watcher.start(self._ready, fd, pass_events=True)

    def _opened(self, fd: int) -> None:
        with _borrowed(fd) as sock:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM:
                self._streams.add(fd)
            elif not refuse_queries(sock):
                self._unguarded.add(fd)

    def _ready(self, events: int, fd: int) -> None:
        if fd in self._unguarded and events & READ:
            with _borrowed(fd) as sock:
                drop_queries(sock)
        self._ares.process_fd(fd if events & READ else _NO_SOCKET, fd if events & WRITE else _NO_SOCKET)
        if fd in self._streams and _has_hung_up(fd):
            # c-ares keeps a connection that ended in the middle of a reply; it would be readable for ever.
            self._watchers[fd].stop()
        self._deliver()

    # The end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back. Sockets are closed here, on the loop's thread; c-ares frees the rest on its own."""
        self._under_way.clear()
        self._ares.cancel()
        self.outcomes.clear()
        self._ares.close()

    def abandon(self) -> None:
        """In the child after ``fork``."""
        _abandoned.append(self._ares)
        for fd in self._watchers:
            os.close(fd)
        self._watchers = {}
        self._under_way.clear()


@contextmanager
def _borrowed(fd: int) -> Iterator[_socket.socket]:
    """A descriptor of c-ares as a socket; its family and type do not matter."""
    sock = _socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 0, fd)
    try:
        yield sock
    finally:
        sock.detach()


def _has_hung_up(fd: int) -> bool:
    with _borrowed(fd) as sock:
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except OSError:
            return False


def _csv(server: Server) -> str:
    """A server as ares_set_servers_csv(3) wants it."""
    address, _, scope = server.address.partition("%")
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{server.port}" + (f"%{scope}" if scope else "")
