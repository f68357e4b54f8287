"""Questions over UDP: the sockets that send them, and the replies that come back.

Each socket has a random port and is connected to one server, so that the kernel keeps other senders away. A limited
number of questions share a port, told apart by their ids; when all have ended the port is given up. A question needs no
greenlet: the loop calls back when a datagram is there.
"""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Callable, Iterator

from hubbub.abc import READ
from hubbub.lowlevel import closing, get_hub, monotonic

from hubbub_dns._servers import Server, sockaddr
from hubbub_dns._wire import Malformed, Query, Reply, read_reply

__all__ = ["Exchange", "Ports"]

_PER_PORT = 32
"""How many questions go out from one port before a new one is opened."""
_PER_TURN = 64
"""How many datagrams are read before other callbacks and greenlets run."""
_MAX_DATAGRAM = 65_535

_buffer = memoryview(bytearray(_MAX_DATAGRAM))
"""Shared by all ports: what is read is copied at once."""


class Exchange:
    """A query that was sent to a server, and its outcome.

    :param timeout: seconds to wait for the reply.
    :param listener: called in the hub when there is an outcome, when the server may dislike EDNS, or when the time is
        over; it must not wait.
    """

    __slots__ = ("_port", "deadline", "disliked", "listener", "outcome", "query", "server")

    def __init__(
        self, port: _Port, query: Query, timeout: float, listener: Callable[[Exchange], None] | None = None
    ) -> None:
        self._port = port
        self.listener = listener
        self.outcome: Reply | OSError | None = None
        self.disliked: bool = False
        """Whether a datagram says, without proof, that the server does not understand EDNS."""
        self.query: Query = query
        self.server: Server = port.server
        self.deadline: float = monotonic() + timeout

    def settle(self, outcome: Reply | OSError) -> None:
        """Set the outcome: a reply to the query has come, or the server cannot be reached."""
        self.outcome = outcome
        self.tell()

    def dislike(self) -> None:
        """Note that the server may not understand EDNS. A reply still counts."""
        if not self.disliked:
            self.disliked = True
            self.tell()

    def tell(self) -> None:
        """Call the listener."""
        if self.listener is not None:
            self.listener(self)

    def end(self) -> None:
        """Stop waiting for the reply. Harmless when it has come."""
        self.listener = None
        self._port.drop(self)


class Ports:
    """The sockets of a resolver. Belongs to one hub."""

    def __init__(self) -> None:
        self._open: set[_Port] = set()
        self._filling: dict[Server, _Port] = {}

    def begin(
        self,
        server: Server,
        name: str | bytes,
        rtype: int,
        *,
        edns: bool,
        timeout: float,
        listener: Callable[[Exchange], None] | None = None,
    ) -> Exchange:
        """Send a question.

        :param name: a host name, or any name as it goes over the wire.
        :raises OSError: the server cannot be reached, or there is no socket.
        """
        port = self._filling.get(server)
        if port is None or port.taken >= _PER_PORT:
            port = self._filling[server] = _Port(server, self._gone)
            self._open.add(port)
        query = Query.make(name, rtype, edns)
        while query.id in port.pending:
            query = Query.make(name, rtype, edns)
        exchange = Exchange(port, query, timeout, listener)
        port.begin(exchange)
        return exchange

    def under_way(self) -> Iterator[Exchange]:
        """All exchanges without an outcome; exchanges may begin and end during the iteration."""
        for port in list(self._open):
            yield from list(port.pending.values())

    def forget(self) -> None:
        """Called when the servers have changed. Nothing to do: ports are kept for each server."""

    def _gone(self, port: _Port) -> None:
        self._open.discard(port)
        if self._filling.get(port.server) is port:
            del self._filling[port.server]

    def close(self) -> None:
        """Close all sockets; greenlets that wait get EBADF."""
        for port in list(self._open):
            port.fail(OSError(errno.EBADF, "the resolver was closed"))

    def abandon(self) -> None:
        """In the child after ``fork``: give the sockets up, which the parent's loop watches."""
        for port in self._open:
            port.abandon()
        self._open.clear()
        self._filling.clear()


class _Port:
    """One socket.

    :param gone: called with the port when it is closed.
    """

    def __init__(self, server: Server, gone: Callable[[_Port], None]) -> None:
        self.server: Server = server
        self.taken: int = 0
        """How many questions have gone out from the port."""
        self.pending: dict[int, Exchange] = {}
        """The exchanges under way, by id."""
        self._gone = gone
        family, address = sockaddr(server)
        self._sock = _socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect(address)
        except BaseException:
            self._sock.close()
            raise
        self._watcher = get_hub().loop.io(self._sock.fileno(), READ)
        self._watcher.start(self._ready)

    def begin(self, exchange: Exchange) -> None:
        """Send a question for the first time."""
        self.taken += 1
        self.pending[exchange.query.id] = exchange
        try:
            self.send(exchange.query)
        except OSError as error:
            self.drop(exchange)
            self.fail(error)
            raise

    def send(self, query: Query) -> None:
        """Send a question."""
        try:
            self._sock.send(query.to_wire())
        except BlockingIOError:
            pass  # as if the datagram was lost on the way

    def drop(self, exchange: Exchange) -> None:
        """Stop waiting for the reply to a question."""
        if self.pending.pop(exchange.query.id, None) is not None and not self.pending:
            self._close()

    def _ready(self) -> None:
        receive, pending = self._sock.recv_into, self.pending
        for _ in range(_PER_TURN):
            try:
                wire = bytes(_buffer[: receive(_buffer)])
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(error)
                return
            exchange = pending.get(int.from_bytes(wire[:2]))
            if exchange is None:
                continue
            if not exchange.query.matches(wire):
                if exchange.query.is_disliked(wire):
                    exchange.dislike()
                continue
            try:
                reply = read_reply(wire)
            except Malformed:
                continue  # as if the datagram had not come
            self.drop(exchange)
            exchange.settle(reply)
            if not pending:
                return

    def fail(self, error: OSError) -> None:
        """End the questions under way with an error: the server cannot be reached."""
        failed = list(self.pending.values())
        self.pending.clear()
        self._close()
        for exchange in failed:
            exchange.settle(OSError(*error.args))

    def _close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._watcher.close()
        del self._watcher  # it refers to this object
        closing(self._sock.fileno())
        self._sock.close()
        self._gone(self)

    def abandon(self) -> None:
        """In the child after ``fork``: as for :meth:`Ports.abandon`."""
        self._sock.close()
        self.pending.clear()
