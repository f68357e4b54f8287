"""A server of stream connections: TCP, UNIX sockets, TLS over either."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import hubbub
from greenlet import getcurrent, greenlet
from hubbub.io import Socket
from hubbub.lowlevel import interrupt, monotonic

from hubbub_server._listener import bind, parse_address
from hubbub_server._networks import Networks
from hubbub_server._proxy import read_header
from hubbub_server._tls import check_context, send_close_notify
from hubbub_server.baseserver import BaseServer, exhausted

__all__ = ["StreamServer"]


class StreamServer(BaseServer):
    """Calls ``handle(socket, address)`` for each connection, and closes the socket when that has returned.

    :param listener: see :class:`~hubbub_server.baseserver.BaseServer`.
    :param backlog: how many connections the kernel queues (:manpage:`listen(2)`).
    :param spawn: see :class:`~hubbub_server.baseserver.BaseServer`.
    :param ssl_context: serve TLS; a context whose sockets cooperate, such as one of ``hubbub_net.ssl``. The handshake
        runs in the handler's greenlet.
    :param handshake_timeout: seconds for the TLS handshake; None for no limit.
    :param reuse_port: SO_REUSEPORT on a listener made from an address.
    :param proxy_from: networks of proxies, such as ``"10.0.0.0/8"``, or ``"unix"``. Each of their connections must
        begin with a header of the PROXY protocol, version 1 or 2, within ``handshake_timeout``; the address in it is
        given to the handler. A header of other clients is not believed.
    :raises ValueError: ``proxy_from`` has something that is no network.
    :raises TypeError: ``ssl_context`` would block.
    """

    reuse_addr: bool = True
    """SO_REUSEADDR on a listener made from an address."""
    handshake_patience: float = 1.0
    """Seconds after which a TLS handshake counts as idle when there is no room for another client."""

    def __init__(
        self,
        listener: Any,
        handle: Callable[[Any, Any], Any] | None = None,
        backlog: int | None = None,
        spawn: Any = "default",
        *,
        ssl_context: Any = None,
        handshake_timeout: float | None = 10.0,
        reuse_port: bool = False,
        proxy_from: Iterable[str] = (),
    ) -> None:
        if ssl_context is not None:
            check_context(ssl_context)
        self.ssl_context = ssl_context
        self.handshake_timeout = handshake_timeout
        self._handshakes: dict[greenlet, float] = {}
        """Those that run, each with the time at which it began."""
        self.backlog: int = 128 if backlog is None else backlog
        self.reuse_port = reuse_port
        self.proxies: Networks | None = Networks(proxy_from) if proxy_from else None
        """The networks of ``proxy_from``."""
        super().__init__(listener, handle, spawn)

    @property
    def ssl_enabled(self) -> bool:
        """Whether connections are TLS."""
        return self.ssl_context is not None

    @property
    def handshake_count(self) -> int:
        """How many connections are at their beginning: TLS, or the header of a proxy."""
        return len(self._handshakes)

    @classmethod
    def get_listener(
        cls, address: Any, backlog: int | None = None, family: int | None = None, reuse_port: bool = False
    ) -> Socket:
        """A listening socket for ``address``.

        :raises OSError: it cannot be bound.
        """
        found, target = parse_address(address)
        return bind(
            found if family is None else family,
            target,
            backlog=128 if backlog is None else backlog,
            reuse_addr=cls.reuse_addr,
            reuse_port=reuse_port,
        )

    def init_socket(self) -> None:
        """Bind and listen."""
        self.socket: Socket = bind(
            self.family,
            self.address,
            backlog=self.backlog,
            reuse_addr=self.reuse_addr,
            reuse_port=self.reuse_port,
        )

    def do_read(self) -> tuple[Any, ...] | None:
        """Accept one connection."""
        return self.socket.accept()

    def drain_backlog(self) -> None:
        """Start handlers for the connections that wait in the kernel's queue."""
        limit = self.socket.gettimeout()
        self.stop_accepting()
        self.socket.settimeout(0)
        try:
            for _ in range(self.backlog):
                if self._is_full():
                    return
                self._drain_one()
        except BlockingIOError:
            return
        except OSError as error:
            self._recover(error)
        finally:
            self.socket.settimeout(limit)

    def _drain_one(self) -> None:
        try:
            accepted = self.socket.accept()
        except OSError as error:
            if not (exhausted(error) and self.make_room()):
                raise
            accepted = self.socket.accept()
        self._start_handler(accepted)

    # Room -----------------------------------------------------------------------------------------------------------

    def make_room(self) -> bool:
        """Close the connection that is idle for longest. A TLS handshake is after :attr:`handshake_patience`."""
        for _, handler in sorted(self._idle(), key=itemgetter(0)):
            if self._dismiss(handler):
                self._wait_gone(handler)
                return True
        return False

    def _idle(self) -> Iterator[tuple[float, greenlet]]:
        """The handlers that are idle, each with the time since when."""
        late = monotonic() - self.handshake_patience
        for handler, began in self._handshakes.items():
            if began < late:
                yield began + self.handshake_patience, handler

    def _dismiss(self, handler: greenlet) -> bool:
        """Have an idle handler end soon. False: it is not idle after all."""
        error = TimeoutError("the handshake took too long, and other clients were waiting")
        interrupt(handler, error, lambda: handler in self._handshakes)
        return True

    def _wait_gone(self, handler: greenlet) -> None:
        """Wait until a handler has ended, which takes a few turns of the loop."""
        for _ in range(100):
            if handler not in self.handlers and handler not in self._handshakes:
                return
            hubbub.sleep(0.001)

    def do_close(self, sock: socket.socket, *args: Any) -> None:
        """Close the connection."""
        if self.ssl_context is not None and hasattr(sock, "unwrap"):
            send_close_notify(sock)
        sock.close()

    def run_handler(self, sock: Any, address: Any) -> None:
        """Handle one connection, from the handshake, if there is one, to its end."""
        if self.proxies is not None and self.proxies.has(address):
            try:
                address = self._limited(lambda: read_header(sock, address))
            except OSError as error:
                self.handshake_failed(error, address)
                sock.close()
                return
            except BaseException:
                sock.close()
                raise
        if self.ssl_context is not None:
            try:
                sock = self.wrap_socket(sock)
            except OSError as error:
                self.handshake_failed(error, address)
                sock.close()
                return
            except BaseException:
                sock.close()
                raise
        # As in the base class, without a *args: such a call takes C stack, which is kept for every waiting connection.
        current = getcurrent()
        handlers = self.handlers
        handlers[current] = None
        try:
            self._handle(sock, address)
        finally:
            handlers.pop(current, None)
            self.do_close(sock, address)

    def wrap_socket(self, sock: Any) -> Any:
        """The TLS socket for an accepted connection, its handshake done.

        :raises TimeoutError: the handshake took longer than :attr:`handshake_timeout`.
        :raises OSError: it failed.
        """
        return self._limited(lambda: self.ssl_context.wrap_socket(sock, server_side=True))

    def _limited(self, function: Callable[[], Any]) -> Any:
        """Call a function that has to do with the beginning of a connection, for :attr:`handshake_timeout` at most."""
        limit = hubbub.Timeout.start_new(self.handshake_timeout, TimeoutError("the handshake took too long"))
        self._handshakes[getcurrent()] = monotonic()
        try:
            return function()
        finally:
            limit.cancel()
            self._handshakes.pop(getcurrent(), None)

    def handshake_failed(self, error: OSError, address: Any) -> None:
        """A client's TLS handshake, or a proxy's header, failed. Anybody can cause that, so nothing is said; override
        to count or log."""
