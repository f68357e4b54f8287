"""c-ares channels, driven by the hub's loop: c-ares says which descriptors it waits for, the loop watches them.

Each channel asks one server, and sends a query once: :mod:`hubbub_dns._upstream` decides which server is asked when,
and how long each has, as for the other resolver.
"""

from __future__ import annotations

import _socket
import errno
import math
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pycares
from hubbub.abc import READ, WRITE
from hubbub.lowlevel import BaseLoop, closing, get_hub, monotonic
from pycares import errno as status

from hubbub_dns._native import NO_SOCKET, calls_of
from hubbub_dns._reflections import refuse_queries
from hubbub_dns._servers import Server
from hubbub_dns._wire import Malformed, Reply, peek, read_reply

__all__ = ["Channels"]

_PER_PORT = 32
"""How many questions go out from one port before a new one is opened."""
_MAX_MEASURED = 2
"""After more replies than this c-ares gives up sooner than its time limit says."""
_NEGATIVE_TTL = 5.0
"""Seconds to keep a negative answer, as c-ares does not tell how long the server allows."""
_PATIENCE = 5.0
"""Seconds that c-ares waits for a reply to its first try, at most, whatever its time limit says."""
_TICK = 0.25
_MAX_ASKED = 256
_MAX_IDLE = 16
_MAX_PEEKED = 32
_MAX_DATAGRAM = 4096
_NOBODY = ["127.0.0.1:9"]
_PLAIN = b"\x81\x80\0\1\0\1\0\0\0\0"
"""Flags and counts of the usual reply: no error, from a recursive server, with one question and one record."""
_NXDOMAIN, _REFUSED = 3, 5
_TIMEOUT = status.ARES_ETIMEOUT
_RCODES = {
    status.ARES_ENODATA: 0,
    status.ARES_EFORMERR: 1,
    status.ARES_ESERVFAIL: 2,
    status.ARES_ENOTFOUND: _NXDOMAIN,
    status.ARES_ENOTIMP: 4,
    status.ARES_EREFUSED: _REFUSED,
}
_UNREACHABLE = {
    status.ARES_ECONNREFUSED: errno.ECONNREFUSED,
    status.ARES_ETIMEOUT: errno.ETIMEDOUT,
    status.ARES_ENOMEM: errno.ENOMEM,
}

_abandoned: list[Any] = []
"""Channels of a parent process: c-ares must neither use nor destroy them here."""


class _Query(NamedTuple):
    """The part of :class:`hubbub_dns._wire.Query` that is needed outside of this module."""

    edns: bool


class _Exchange:
    """A question to one server, and its outcome. See :class:`hubbub_dns._ports.Exchange`."""

    __slots__ = ("channel", "deadline", "disliked", "key", "listener", "outcome", "query", "server")

    def __init__(self, channel: _Channel, key: tuple[str, int], timeout: float, listener: Any) -> None:
        self.channel = channel
        self.key = key
        self.server = channel.server
        self.query = channel.query
        self.deadline = monotonic() + timeout
        self.listener: Callable[[Any], None] | None = listener
        self.outcome: Reply | OSError | None = None
        self.disliked = False

    def answered(self, reply: Reply | None, error: int | None) -> None:
        """Keep what c-ares has found. c-ares calls this, and must not be called again from here."""
        channel = self.channel
        channel.held -= 1
        channel.outcomes.append((self, reply, error))

    def dislike(self) -> None:
        """Note that the server may not understand EDNS. A reply still counts."""
        if self.query.edns and not self.disliked:
            self.disliked = True
            self.tell()

    def tell(self) -> None:
        """Call the listener."""
        if self.listener is not None:
            self.listener(self)

    def end(self) -> None:
        """Stop waiting for the reply. Harmless when it has come."""
        self.listener = None
        self.channel.drop(self)


class Channels:
    """All channels of a resolver, in the place of :class:`hubbub_dns._ports.Ports`. Belongs to one hub."""

    def __init__(self) -> None:
        self._busy: set[_Channel] = set()
        self._pools: dict[tuple[Server, bool, float], _Pool] = {}
        self._clock: Any = None

    def begin(
        self,
        server: Server,
        name: str,
        rtype: int,
        *,
        edns: bool,
        timeout: float,
        listener: Callable[[Any], None] | None = None,
    ) -> Any:
        """Put a question.

        :param name: a host name, without the dot at its end.
        :raises OSError: the server cannot be reached, or there is no socket.
        """
        kind = (server, edns, timeout)
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = _Pool(self._busy, *kind)
        channel = pool.filling
        if channel is None or channel.room <= 0:
            channel = pool.filling = pool.idle.pop() if pool.idle else _Channel(pool)
        self._busy.add(channel)
        exchange = _Exchange(channel, (name.lower(), rtype), timeout, listener)
        channel.ask(exchange)
        if self._clock is None:
            self._clock = get_hub().loop.timer(_TICK, _TICK, ref=False)
            self._clock.start(self._tick)
        return exchange

    def under_way(self) -> Iterator[Any]:
        """All exchanges without an outcome; exchanges may begin and end during the iteration."""
        for channel in list(self._busy):
            yield from list(channel.under_way)

    def _tick(self) -> None:
        if not self._busy:
            self._stop_clock()
        for channel in list(self._busy):
            channel.tick()

    def _stop_clock(self) -> None:
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.close()

    def forget(self) -> None:
        """Close the channels when they are idle: the servers have changed."""
        for pool in self._pools.values():
            pool.outdated = True
            for channel in pool.channels() - self._busy:
                channel.close()
        self._pools.clear()

    def close(self) -> None:
        """Close all channels; greenlets that wait get an OSError."""
        self.forget()
        for channel in list(self._busy):
            channel.fail(OSError(errno.EBADF, "the resolver was closed"))
        self._stop_clock()

    def abandon(self) -> None:
        """In the child after ``fork``: give the channels up, which are the parent's."""
        self._clock = None
        for channel in self._busy.union(*[pool.channels() for pool in self._pools.values()]):
            channel.abandon()
        self._busy.clear()
        self._pools.clear()


class _Pool:
    """The channels of one kind: to one server, with or without EDNS, with one time limit for replies.

    :param busy: the channels of all kinds that have questions under way.
    """

    __slots__ = ("_busy", "edns", "filling", "idle", "outdated", "server", "timeout")

    def __init__(self, busy: set[_Channel], server: Server, edns: bool, timeout: float) -> None:
        self._busy = busy
        self.server = server
        self.edns = edns
        self.timeout = timeout
        self.filling: _Channel | None = None
        """The channel that gets new questions, as long as it has room."""
        self.idle: list[_Channel] = []
        """Other channels that have no questions under way."""
        self.outdated = False
        """Whether the pool gets no more questions, so that its channels are closed when they are idle."""

    def channels(self) -> set[_Channel]:
        """All channels but those that are busy and have no room."""
        return {*self.idle, *([] if self.filling is None else [self.filling])}

    def take_back(self, channel: _Channel) -> None:
        """Keep or close a channel that has no questions under way any more."""
        self._busy.discard(channel)
        usable = channel.is_sound and not self.outdated
        if usable and channel is self.filling:
            return
        if usable and len(self.idle) < _MAX_IDLE:
            self.idle.append(channel)
            return
        if channel is self.filling:
            self.filling = None
        channel.close()


class _Channel:
    """Puts a few questions to one server, from one random port. Belongs to one loop.

    c-ares closes a channel's sockets when no question is under way on it. So a channel takes a limited number of
    questions, and goes on with a fresh port when all of them have ended.

    :param pool: gets the channel back whenever no question is under way on it any more.
    """

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self.server = pool.server
        self._servers = [_csv(pool.server)]
        self.query = _Query(pool.edns)
        self._loop: BaseLoop = get_hub().loop
        self._watchers: dict[int, Any] = {}
        self._sockets: dict[int, _Lent] = {}
        self._streams: set[int] = set()
        self.room = _PER_PORT
        """How many more questions the channel takes before all have ended; none if below 1."""
        self._measured = 0
        """How many replies c-ares has measured the server's speed with."""
        self.under_way: set[_Exchange] = set()
        self.held = 0
        """How many questions c-ares still holds, called off ones included."""
        self.outcomes: deque[tuple[_Exchange, Reply | None, int | None]] = deque()
        """Outcomes from c-ares that listeners were not told yet."""
        self._unusual: dict[tuple[str, int], Reply] = {}
        """Replies, perhaps forged, that c-ares reports only as "there is nothing", by name and type."""
        self._asked: set[tuple[str, int]] = set()
        self.is_sound = True
        self._ares = pycares.Channel(
            flags=pycares.ARES_FLAG_EDNS if pool.edns else 0,
            timeout=max(pool.timeout, _PATIENCE),
            tries=1 + max(0, math.ceil(math.log2(pool.timeout / _PATIENCE))),
            servers=self._servers,
            lookups="b",
            resolvconf_path=os.devnull,
            sock_state_cb=self._socket_state,
        )
        self._calls = calls_of(self._ares)

    # Asking ---------------------------------------------------------------------------------------------------------

    def ask(self, exchange: _Exchange) -> None:
        """Begin to ask a question.

        :raises OSError: the server cannot be reached, or there is no socket.
        """
        name, rtype = key = exchange.key
        asked = self._asked
        if not self.held and (key in asked or len(asked) >= _MAX_ASKED or self._measured > _MAX_MEASURED):
            self._forget_answers()
        self.room -= 1
        self.under_way.add(exchange)
        asked.add(key)
        self.held += 1
        self._calls.query(self._ares, name, rtype, exchange.answered)
        if self.outcomes:  # c-ares knew at once, but the listener expects no call before this one has returned
            self._loop.run_callback(self._deliver)

    def _forget_answers(self) -> None:
        """Clear the cache and the measurements of c-ares by a change of its servers, as they cannot be turned off.

        Only when c-ares holds no question: it would have to send it again.
        """
        self._ares.servers = _NOBODY
        self._ares.servers = self._servers
        self._asked.clear()
        self._measured = 0

    def _deliver(self) -> None:
        """Hand the outcomes to the exchanges. Called after each call of c-ares."""
        outcomes, under_way = self.outcomes, self.under_way
        while outcomes:
            exchange, reply, error = outcomes.popleft()
            if exchange not in under_way:
                continue
            if error != _TIMEOUT:
                self._measured += 1
                if self._measured > _MAX_MEASURED:
                    self.room = 0
            if error is None and not self._unusual:
                exchange.outcome = reply
            else:
                exchange.outcome = self._outcome(exchange.key, reply, error)
            if len(under_way) > 1:
                under_way.discard(exchange)
            else:
                self.drop(exchange)
            listener = exchange.listener
            if listener is not None:
                listener(exchange)
        self._unusual.clear()

    def _outcome(self, key: tuple[str, int], reply: Reply | None, error: int | None) -> Reply | OSError:
        unusual = self._unusual.get(key)
        if unusual is not None and (error is None or error == status.ARES_ENODATA or error not in _RCODES):
            return Reply(unusual.rcode, False, lame=unusual.lame)
        if reply is not None:
            return reply
        if error not in _RCODES:
            return OSError(_UNREACHABLE.get(error, errno.EIO), f"c-ares: {status.errorcode.get(error, error)}")
        return Reply(_RCODES[error], False, negative_ttl=_NEGATIVE_TTL)

    def drop(self, exchange: _Exchange) -> None:
        """Stop waiting for one reply. c-ares goes on with other questions, if there are any."""
        if exchange not in self.under_way:
            return
        self.under_way.discard(exchange)
        if not self.under_way:
            if self.held:
                self._ares.cancel()
            self.outcomes.clear()
            self.room = _PER_PORT
            self._pool.take_back(self)

    def fail(self, error: OSError) -> None:
        """End all questions of the channel with an error."""
        self.is_sound = False
        for exchange in list(self.under_way):
            exchange.outcome = OSError(*error.args)
            self.drop(exchange)
            exchange.tell()

    def tick(self) -> None:
        """Let c-ares check its time limits. The clock calls this now and then."""
        self._calls.process(self._ares, NO_SOCKET, NO_SOCKET)
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
            del self._sockets[fd]
            closing(fd)
            return
        watcher = self._watchers[fd] = self._loop.io(fd, (READ if readable else 0) | (WRITE if writable else 0))
        watcher.start(self._ready, fd, pass_events=True)

    def _opened(self, fd: int) -> None:
        sock = self._sockets[fd] = _Lent(socket.AF_INET, socket.SOCK_DGRAM, 0, fd)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM:
            self._streams.add(fd)
        else:
            refuse_queries(sock)

    def _ready(self, events: int, fd: int) -> None:
        if events & READ and fd not in self._streams:
            try:
                sock = self._sockets[fd]
                wire = sock.recv(_MAX_DATAGRAM, socket.MSG_PEEK)
                if not _is_plain(wire):
                    self._look_at(sock, wire)
            except BlockingIOError:
                pass
            except OSError as error:  # the server cannot be reached
                self.fail(error)
                return
        self._calls.process(self._ares, fd if events & READ else NO_SOCKET, fd if events & WRITE else NO_SOCKET)
        if fd in self._streams and _has_hung_up(self._sockets[fd]):
            # c-ares keeps a connection that ended in the middle of a reply; it would be readable for ever.
            self._watchers[fd].stop()
        self._deliver()

    def _look_at(self, sock: _socket.socket, wire: bytes) -> None:
        """Throw away the datagrams at the head of the socket's queue that c-ares should not see.

        c-ares believes records of another class, takes its own query, sent back, for a reply, and does not report why
        a name has no records.

        :param wire: the first datagram, which is not plain.
        :raises BlockingIOError: no datagram is left.
        :raises OSError: the server cannot be reached.
        """
        for _ in range(_MAX_PEEKED):
            key, disliked = peek(wire)
            if key is not None and len(wire) < _MAX_DATAGRAM:
                try:
                    # It is not believed yet: only c-ares knows whether its id is right.
                    reply = read_reply(wire)
                    if reply.lame or reply.rcode > _REFUSED:
                        self._unusual[key] = reply
                    return
                except Malformed:
                    pass  # as if it had not come
            elif key is not None:
                return
            if disliked:
                for exchange in list(self.under_way):
                    exchange.dislike()
            sock.recv(1)
            wire = sock.recv(_MAX_DATAGRAM, socket.MSG_PEEK)
            if _is_plain(wire):
                return

    # The end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the sockets, on the loop's thread; c-ares frees the rest on its own thread."""
        self.under_way.clear()
        self._ares.cancel()
        self.outcomes.clear()
        self._ares.close()

    def abandon(self) -> None:
        """In the child after ``fork``: keep the parent's channel from being used or destroyed."""
        _abandoned.append(self._ares)
        self._sockets.clear()
        for fd in self._watchers:
            os.close(fd)
        self._watchers = {}
        self.under_way.clear()


def _is_plain(wire: bytes) -> bool:
    """Whether a datagram is the usual reply: one whole record, of class IN, and no more. Runs for each datagram."""
    end = wire.find(0, 12) + 5
    if not wire.startswith(_PLAIN, 2) or wire[end : end + 1] != b"\xc0" or wire[end + 4 : end + 6] != b"\0\1":
        return False
    return len(wire) == end + 12 + int.from_bytes(wire[end + 10 : end + 12])


class _Lent(_socket.socket):
    """A socket on a descriptor of c-ares, which alone closes it. Its family and type do not matter."""

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


def _has_hung_up(sock: _Lent) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except OSError:
        return False


def _csv(server: Server) -> str:
    """A server as ares_set_servers_csv(3) wants it."""
    address, _, scope = server.address.partition("%")
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{server.port}" + (f"%{scope}" if scope else "")
