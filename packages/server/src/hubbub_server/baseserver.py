"""What all servers share: the listener, the accept loop, how handlers are spawned, and the end."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import hubbub
from greenlet import getcurrent, greenlet
from hubbub.event import Event
from hubbub.io import Socket

from hubbub_server._listener import adopt, parse_address
from hubbub_server.http.accesslog import LogStream

if TYPE_CHECKING:
    from typing import Self

__all__ = ["BaseServer", "exhausted"]

# Not socket.socket: that may have been replaced since, by a class that Socket does not derive from.
_PlainSocket: type[socket.socket] = Socket.__bases__[0]
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EINTR", "EPROTO", "EPERM"),
        *("ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH", "ENETUNREACH"),
    )
    if hasattr(errno, name)
)
"""Errors of one connection that died in the queue, not of the listener: accept(2), "Error handling"."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that mean: no room."""


def exhausted(error: BaseException) -> bool:
    """Whether descriptors or memory have run out."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED)


class BaseServer:
    """Accepts from a listener and runs a handler for each thing accepted. One hub, one thread.

    Subclasses say what is accepted (:meth:`do_read`) and what becomes of it when the handler has ended
    (:meth:`do_close`).

    :param listener: a bound socket, or an address: ``(host, port)``, ``port``, ``"host:port"``, ``":port"``,
        ``"[v6]:port"``, ``"unix:path"``.
    :param handle: called with what :meth:`do_read` returned.
    :param spawn: how handlers run. ``"default"``: each in a :class:`hubbub.Greenlet`. A number: that many at most.
        An object with ``spawn``: a pool. Another callable, such as :func:`hubbub.spawn_raw`: it is called with the
        handler and its arguments. None: in the accepting greenlet, one after the other.
    """

    min_delay: float = 0.01
    """Seconds to wait after a failure to accept; doubled at each further failure."""
    max_delay: float = 1.0
    """The longest such wait, in seconds."""
    max_accept: int = 100
    """How many connections are accepted before the acceptor yields."""
    stop_timeout: float | None = 1.0
    """How many seconds :meth:`stop` waits for handlers unless told otherwise."""
    socket: Socket
    """The listener; None once the server was closed, not there before it was started."""
    family: int
    """The listener's, one of the ``AF_`` numbers."""
    fatal_errors: ClassVar[tuple[int, ...]] = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)
    """Errors of the listener itself, after which the server closes."""

    def __init__(self, listener: Any, handle: Callable[..., Any] | None = None, spawn: Any = "default") -> None:
        self._stop_event = Event()
        self._stop_event.set()
        self._acceptor: greenlet | None = None
        self.handlers: dict[greenlet, Any] = {}
        """The greenlets in which handlers run, each with what its handler has to do with, or None."""
        self._runner: Callable[..., None] | None = None
        self._given: socket.socket | None = None
        self._bound = False
        self._closing = False
        self.pool: Any = None
        self.delay: float = self.min_delay
        try:
            self.set_listener(listener)
            self.set_spawn(spawn)
            if handle is not None:
                self.set_handle(handle)
        except BaseException:
            self.close()
            raise

    # What it is made of ---------------------------------------------------------------------------------------------

    def set_listener(self, listener: Any) -> None:
        """Take a bound socket or an address.

        :raises TypeError: a TLS socket, or nothing that could be an address.
        :raises ValueError: an address that cannot be read.
        """
        if isinstance(listener, _PlainSocket):
            if hasattr(listener, "do_handshake"):
                raise TypeError(f"expected a plain socket and ssl_context, not the TLS socket {listener!r}")
            self.socket = adopt(listener)
            self._given = listener
            self.address: Any = self.socket.getsockname()
            self.family = int(self.socket.family)
            self._bound = True
        else:
            self.family, self.address = parse_address(listener)
            self._bound = False

    def set_spawn(self, spawn: Any) -> None:
        """Set how handlers run; see the class.

        :raises TypeError: not one of the forms.
        :raises ValueError: a number below 1, with which no client would be served.
        """
        self.pool = None
        self._spawn: Callable[..., Any] | None
        if spawn == "default":
            self._spawn = hubbub.Greenlet.spawn
        elif spawn is None:
            self._spawn = None
        elif isinstance(spawn, int) and not isinstance(spawn, bool):
            from hubbub.pool import Pool

            if spawn < 1:
                raise ValueError(
                    f"spawn={spawn} would serve no client; give the number of handlers that may run at once"
                )
            self.pool = Pool(spawn)
            self._spawn = self.pool.spawn
        elif hasattr(spawn, "spawn"):
            self.pool = spawn
            self._spawn = spawn.spawn
        elif callable(spawn):
            self._spawn = spawn
        else:
            raise TypeError(f"spawn is 'default', None, a number, a pool or a callable, not {spawn!r}")

    def set_handle(self, handle: Callable[..., Any]) -> None:
        """Set what is called for each thing accepted.

        :raises TypeError: it is not callable.
        """
        if not callable(handle):
            raise TypeError(f"the handler must be callable, not {handle!r}")
        self._handle = handle

    @property
    def handle(self) -> Callable[..., Any]:
        """What is called for each thing accepted."""
        return self._handle

    @property
    def full(self) -> bool:
        """Whether the pool has no room; then nothing is accepted."""
        return self._is_full()

    def _is_full(self) -> bool:
        return self.pool is not None and bool(self.pool.full())

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called and :meth:`stop` was not."""
        return not self._stop_event.is_set()

    @property
    def closed(self) -> bool:
        """Whether there is no listener (any more)."""
        return getattr(self, "socket", None) is None

    @property
    def server_host(self) -> str | None:
        """The listener's host, or None for a UNIX socket."""
        return str(self.address[0]) if isinstance(self.address, tuple) else None

    @property
    def server_port(self) -> int | None:
        """The listener's port (the real one, once started), or None for a UNIX socket."""
        return int(self.address[1]) if isinstance(self.address, tuple) else None

    def __repr__(self) -> str:
        state = "started" if self.started else "closed" if self.closed else "stopped"
        return f"<{type(self).__name__} at {id(self):#x} {state} address={self.address!r}>"

    # For subclasses -------------------------------------------------------------------------------------------------

    def init_socket(self) -> None:
        """Make the listener from the address. Called by :meth:`start`."""
        raise NotImplementedError

    def do_read(self) -> tuple[Any, ...] | None:
        """Accept one thing, waiting for it: the handler's arguments, or None if there was none."""
        raise NotImplementedError

    def do_close(self, *args: Any) -> None:
        """The handler has ended, or could not be started: give back what :meth:`do_read` returned."""

    def do_handle(self, *args: Any) -> None:
        """Run the handler for what was accepted, in the way that ``spawn`` said."""
        if self._spawn is None:
            self.run_handler(*args)
        else:
            self._spawn(self._runner or self.run_handler, *args)

    def run_handler(self, *args: Any) -> None:
        """Handle one thing that was accepted, from beginning to end."""
        current = getcurrent()
        handlers = self.handlers
        handlers[current] = None
        try:
            self._handle(*args)
        finally:
            handlers.pop(current, None)
            self.do_close(*args)

    def drain_backlog(self) -> None:
        """Take what the kernel has accepted already, which closing the listener would throw away."""

    def make_room(self) -> bool:
        """There is no room for another client: close the connection that is idle for longest, and wait for its end.
        False: none is idle."""
        return False

    def _wait_for_room(self) -> None:
        """The pool is full."""
        self.pool.wait_available()

    def is_fatal_error(self, error: BaseException) -> bool:
        """Whether ``error`` means that the listener is of no use any more."""
        return isinstance(error, OSError) and error.errno in self.fatal_errors

    # Accepting ------------------------------------------------------------------------------------------------------

    def start_accepting(self) -> None:
        """Accept from now on. Does nothing when it does already."""
        if self._acceptor is None:
            self._runner = self.run_handler  # one for all: each would keep its own while its handler runs
            self._acceptor = hubbub.spawn(self._accept_loop)

    def stop_accepting(self) -> None:
        """Accept no more, but keep the listener: the kernel goes on queueing connections."""
        acceptor, self._acceptor = self._acceptor, None
        self._runner = None
        if acceptor is not None and acceptor is not getcurrent():
            hubbub.kill(acceptor)

    def _accept_loop(self) -> None:
        me = getcurrent()
        count = 0
        while self._acceptor is me:
            try:
                if self._is_full():
                    self._wait_for_room()
                    continue
                args = self.do_read()
                if args is not None:
                    self._start_handler(args)
                self.delay = self.min_delay
            except Exception as error:
                if not self._recover(error):
                    return
                count = 0
                continue
            count += 1
            if count >= self.max_accept:
                count = 0
                hubbub.sleep(0)

    def _start_handler(self, args: tuple[Any, ...]) -> None:
        try:
            self.do_handle(*args)
        except BaseException:
            self.do_close(*args)
            raise

    def _recover(self, error: Exception) -> bool:
        """Report a failure to accept and wait a little. False: it was the last."""
        if isinstance(error, OSError) and error.errno in _PASSING:
            hubbub.sleep(0)
            return True
        if self._closing or self.closed:
            return False
        if exhausted(error) and self.make_room():
            return True
        hubbub.get_hub().handle_error(self, *sys.exc_info())
        if self.is_fatal_error(error):
            self._acceptor = None
            self.close()
            return False
        hubbub.sleep(self.delay)
        self.delay = min(self.delay * 2, self.max_delay)
        return True

    # Life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bind, if there is only an address yet, and accept. Returns at once; a second call does nothing.

        :raises OSError: the address cannot be bound.
        :raises RuntimeError: the server was closed.
        """
        if self.started:
            return
        if self._closing:
            raise RuntimeError(f"{self!r} was closed and cannot be started again")
        if not hasattr(self, "_handle"):
            raise TypeError("the server has no handler; see set_handle()")
        try:
            if not self._bound:
                self.init_socket()
                self.address = self.socket.getsockname()
                self._bound = True
            self._stop_event.clear()
            self.start_accepting()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Accept no more and close the listener. Handlers that run are left alone."""
        self._closing = True
        self._stop_event.set()
        self.stop_accepting()
        sock: Socket | None = getattr(self, "socket", None)
        self.socket = None  # type: ignore[assignment]  # gone for good; a server is not reopened
        if sock is not None:
            sock.close()
        given, self._given = self._given, None
        if given is not None and given is not sock:
            given.close()

    def stop(self, timeout: float | None = None) -> None:
        """Close, wait for the handlers that run, and kill those that do not end in time, which is reported.

        :param timeout: seconds; None for :attr:`stop_timeout`.
        """
        if self.started:
            self.drain_backlog()
        self.close()
        hubbub.sleep(0)  # what was spawned begins, and counts
        mine = [handler for handler in self.handlers if handler is not getcurrent()]
        if not mine:
            return
        left = self._wait_for(mine, self.stop_timeout if timeout is None else timeout)
        if left:
            self._report_killed(len(left))
            for handler in left:
                hubbub.kill(handler)
            self._wait_for(left, 1.0)

    def _wait_for(self, handlers: Iterable[greenlet], timeout: float | None) -> list[greenlet]:
        """Those of ``handlers`` that have not ended after ``timeout`` seconds."""
        left = [handler for handler in handlers if handler in self.handlers]
        deadline = hubbub.Timeout.start_new(timeout)
        pause = 0.001
        try:
            while left:
                hubbub.sleep(pause)
                pause = min(pause * 2, 0.05)
                left = [handler for handler in left if handler in self.handlers]
        except hubbub.Timeout as error:
            if error is not deadline:
                raise
        finally:
            deadline.cancel()
        return left

    def _report_killed(self, count: int) -> None:
        stream = hubbub.get_hub().exception_stream
        if stream is not None:
            LogStream("default" if stream is sys.stderr else stream).write(
                f"{self!r}: stopped with {count} handler(s) still running; they are killed\n"
            )

    def serve_forever(self, stop_timeout: float | None = None) -> None:
        """Start, wait until a greenlet calls :meth:`close` or :meth:`stop`, and stop.

        :param stop_timeout: see :meth:`stop`.
        """
        self.start()
        try:
            self._stop_event.wait()
        finally:
            self.stop(stop_timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
