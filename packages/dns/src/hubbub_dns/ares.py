"""c-ares, driven by the hub's loop: it says which descriptors it waits for, the loop watches them.

c-ares sends the queries, again when they are lost, over TCP when replies are too long, and reads what comes back. The
hosts file, the search list, the cache and the order of addresses are this package's, as for the dnspython resolver.

Every question under way has a channel of its own. A channel closes its socket when nothing is under way on it, so each
question goes out from a fresh, random port, and calling one off disturbs no other.
"""

from __future__ import annotations

import _socket
import os
import socket
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from hubbub.abc import READ, WRITE
from hubbub.lowlevel import BaseLoop, closing, get_hub

from hubbub_dns._answer import AAAA, CNAME, MAX_CHAIN, PTR, SOA, A, Answer, Record, follow
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._flights import Land
from hubbub_dns._resolvconf import Settings
from hubbub_dns._servers import Server
from hubbub_dns.stub import StubResolver

try:
    import fcntl as _fcntl
    import termios as _termios
except ImportError:  # Windows
    _fcntl = None  # type: ignore[assignment]  # asked for before use

try:
    import pycares
    from pycares import errno as status
except ImportError as error:
    raise ImportError(f"the ares resolver needs pycares: pip install 'hubbub-dns[ares]' ({error})") from error

__all__ = ["Resolver"]

_NEGATIVE_TTL = 5.0
"""Seconds to keep the answer that there is nothing: pycares does not hand on the record that says how long."""
_SENDINGS = 5
_LEAST_RESEND = 0.25
_MAX_IDLE = 256
_MAX_ASKED = 64
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


class Resolver(StubResolver):
    """Takes the parameters of :class:`hubbub_dns.stub.StubResolver`.

    ``timeout`` times ``attempts`` times the number of servers is the limit in total; within it c-ares sends again
    sooner, and then less and less often.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for server in self._given_servers or ():
            if server.scheme:
                raise ValueError(f"c-ares asks no server over {server.scheme}; the dnspython resolver does")
        self._channels: set[_Channel] = set()
        self._idle: list[_Channel] = []

    def _servers_changed(self) -> None:
        idle, self._idle = self._idle, []
        self._channels.difference_update(idle)
        for channel in idle:
            channel.close()

    def _launch(self, settings: Settings, name: str, rtype: int, land: Land[Answer]) -> Callable[[], None]:
        channel = self._idle.pop() if self._idle else self._new_channel(settings)
        return channel.ask(name, rtype, land)

    def _new_channel(self, settings: Settings) -> _Channel:
        channel = _Channel(settings, self.servers, self._release)
        self._channels.add(channel)
        return channel

    def _release(self, channel: _Channel) -> None:
        if channel.settings is self._settings and channel.servers == self.servers and len(self._idle) < _MAX_IDLE:
            self._idle.append(channel)
        else:
            self._channels.discard(channel)
            channel.close()

    def close(self) -> None:
        """Call off what is under way (those who wait get EAI_AGAIN) and give the channels back."""
        super().close()
        self._servers_changed()
        self._read = None

    def reinit(self) -> None:
        """In the child after ``fork``: the channels are the parent's."""
        super().reinit()
        for channel in self._channels:
            channel.abandon()
        self._channels = set()
        self._idle = []


class _Channel:
    """A c-ares channel that serves one question at a time. Belongs to one loop."""

    def __init__(self, settings: Settings, servers: Sequence[Server], release: Callable[[_Channel], None]) -> None:
        self.settings = settings
        self.servers = servers
        self._release = release
        self._loop: BaseLoop = get_hub().loop
        self._limit = settings.timeout * settings.attempts * len(servers)
        self._watchers: dict[int, Any] = {}
        self._timer: tuple[int, Callable[[], None]] | None = None
        self._deadline = 0.0
        self._asked: set[tuple[str, int]] = set()
        self._question: _Question | None = None
        self._outcome: tuple[Any, int | None] | None = None
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

    def ask(self, name: str, rtype: int, land: Land[Answer]) -> Callable[[], None]:
        """Begin to ask; returns what calls it off."""
        self._question = question = _Question(name, rtype, land)
        self._deadline = monotonic() + self._limit
        self._send(question)
        self._go_on()
        return self.call_off

    def _send(self, question: _Question) -> None:
        key = (question.chain[-1].lower(), question.rtype)
        if key in self._asked or len(self._asked) >= _MAX_ASKED:
            self._forget_answers()
        self._asked.add(key)
        try:
            self._ares.query(key[0], question.rtype, callback=self._answered)
        except pycares.AresError as error:
            self._outcome = None, error.args[0]

    def _forget_answers(self) -> None:
        """c-ares has a cache of its own, without a switch; a change of servers empties it."""
        servers = [_csv(server) for server in self.servers]
        self._ares.servers = [*servers, "127.0.0.1:9"]
        self._ares.servers = servers
        self._asked.clear()

    def _answered(self, result: Any, error: int | None) -> None:
        # Called from within c-ares, which is not to be called again from here.
        self._outcome = result, error

    def _go_on(self) -> None:
        """After c-ares has done something: pass the outcome on, ask for more or set the timer."""
        question = self._question
        while question is not None and self._outcome is not None:
            outcome, self._outcome = question.take(*self._outcome), None
            if outcome is not None:
                self._finish(question, outcome)
                return
            self._send(question)
        if question is not None:
            if monotonic() < self._deadline:
                self._set_timer()
            else:
                self._expired()

    def _finish(self, question: _Question, outcome: Answer | LookupFailed) -> None:
        self._question = None
        self._stop_timer()
        self._release(self)
        question.land(outcome)

    def call_off(self) -> None:
        """Nobody waits for the answer any more."""
        self._cancel()
        self._release(self)

    def _cancel(self) -> None:
        self._question = None
        self._stop_timer()
        self._ares.cancel()
        self._outcome = None

    # What c-ares waits for ------------------------------------------------------------------------------------------

    def _socket_state(self, fd: int, readable: bool, writable: bool) -> None:
        watcher = self._watchers.pop(fd, None)
        if watcher is not None:
            watcher.close()
        if not (readable or writable):
            closing(fd)
            return
        watcher = self._watchers[fd] = self._loop.io(fd, (READ if readable else 0) | (WRITE if writable else 0))
        watcher.start(self._ready, fd, pass_events=True)

    def _ready(self, events: int, fd: int) -> None:
        # A descriptor of c-ares as a socket; its family does not matter here.
        sock = _socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 0, fd)
        try:
            datagrams = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM
            if datagrams and events & READ:
                _drop_queries(sock)
            none = pycares.ARES_SOCKET_BAD
            self._ares.process_fd(fd if events & READ else none, fd if events & WRITE else none)
            if not datagrams and fd in self._watchers and _has_hung_up(sock):
                # c-ares keeps a connection that ended in the middle of a reply; it would be readable for ever.
                self._watchers[fd].stop()
        finally:
            sock.detach()
        self._go_on()

    def _set_timer(self) -> None:
        self._stop_timer()
        wait = min(self._ares.timeout(), self._deadline - monotonic())  # type: ignore[no-untyped-call]  # pycares
        expire = self._expired
        self._timer = self._loop.call_later(max(wait, 0.001), expire), expire

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._loop.cancel_later(*timer)

    def _expired(self) -> None:
        self._timer = None
        question = self._question
        if question is None:
            return
        if monotonic() >= self._deadline:
            self._cancel()
            self._finish(question, _SILENCE)
            return
        self._ares.process_fd(pycares.ARES_SOCKET_BAD, pycares.ARES_SOCKET_BAD)
        self._go_on()

    # The end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back. Sockets are closed here, on the loop's thread; c-ares frees the rest on its own."""
        self._cancel()
        self._ares.close()

    def abandon(self) -> None:
        """In the child after ``fork``."""
        _abandoned.append(self._ares)
        for fd in self._watchers:
            os.close(fd)
        self._watchers = {}
        self._question = self._timer = None


class _Question:
    """One question, and how far its answer has come."""

    __slots__ = ("_ttl", "chain", "land", "rtype")

    def __init__(self, name: str, rtype: int, land: Land[Answer]) -> None:
        self.chain: tuple[str, ...] = (name,)
        self.rtype = rtype
        self.land = land
        self._ttl = float("inf")

    def take(self, result: Any, error: int | None) -> Answer | LookupFailed | None:
        """The outcome, or None when the last name of the chain is to be asked for."""
        if error in _ABSENT:
            return Answer(self.chain, (), min(self._ttl, _NEGATIVE_TTL), _ABSENT[error])
        if error is not None:
            return _FAILURES.get(error, _SILENCE)
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


def _drop_queries(sock: _socket.socket) -> None:
    """Throw away datagrams at the head of the queue that are queries: c-ares takes its own, sent back, for a reply."""
    try:
        # Looking at a queue that is empty would take the error that c-ares is to find there.
        while _waiting_bytes(sock.fileno()) >= 3 and not sock.recv(3, socket.MSG_PEEK)[2] & 0x80:
            sock.recv(3)
    except OSError:
        return


def _waiting_bytes(fd: int) -> int:
    """The length of the next datagram; 0 where the system does not tell."""
    if _fcntl is None:
        return 0
    return int.from_bytes(_fcntl.ioctl(fd, _termios.FIONREAD, b"\0" * 4), sys.byteorder)


def _has_hung_up(sock: _socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return False


def _csv(server: Server) -> str:
    """A server as ares_set_servers_csv(3) wants it."""
    address, _, scope = server.address.partition("%")
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{server.port}" + (f"%{scope}" if scope else "")
