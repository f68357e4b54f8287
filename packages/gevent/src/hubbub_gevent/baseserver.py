"""gevent.baseserver on hubbub."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from hubbub.hub import get_hub, sleep
from hubbub_server.baseserver import BaseServer as _BaseServer

from hubbub_gevent._socket3 import ours, socket
from hubbub_gevent.greenlet import Greenlet
from hubbub_gevent.pool import Pool

__all__ = [
    "BaseServer",
]


if TYPE_CHECKING:
    _Server = _BaseServer
else:
    _Server = object


class Habits(_Server):
    """What gevent's servers do differently: handlers are methods or attributes, run in gevent's greenlets.

    A mix-in for hubbub's servers.
    """

    handle: Any = None
    address: Any
    _due = 0
    """How many handlers were spawned and have not begun."""

    _loop: Any = None

    @property
    def loop(self) -> Any:
        """The loop of this thread, unless another was assigned."""
        return self._loop or get_hub().loop

    @loop.setter
    def loop(self, loop: Any) -> None:
        self._loop = loop

    def __init__(self, listener: Any, handle: Any = None, *args: Any, **options: Any) -> None:
        super().__init__(listener, handle, *args, **options)
        if self.handle is None:
            self.close()
            raise TypeError("'handle' must be provided")

    def set_listener(self, listener: Any) -> None:
        """Take a bound socket or an address."""
        super().set_listener(listener)
        self._own_socket()

    def init_socket(self) -> None:
        """Bind."""
        super().init_socket()
        self._bind_done()

    def _bind_done(self) -> None:
        self._own_socket()
        self.address = self.socket.getsockname()
        self._bound = True

    def _own_socket(self) -> None:
        sock = getattr(self, "socket", None)
        if sock is not None and not isinstance(sock, socket):
            ours(sock)

    def full(self) -> Any:  # type: ignore[override]  # gevent's is a method, which users override
        """Whether the pool has no room."""
        return super()._is_full()

    def _is_full(self) -> bool:
        return bool(self.full())

    def is_fatal_error(self, ex: BaseException) -> bool:
        """Whether ``ex`` means that the listener cannot be used any more."""
        return bool(super().is_fatal_error(ex))

    @property
    def _handle(self) -> Any:  # type: ignore[override]  # the handler is looked up anew each time
        return self.handle

    def __repr__(self) -> str:
        handle = self.handle
        mine = getattr(handle, "__self__", None) is self
        shown = f"<bound method {type(self).__name__}.{handle.__name__} of self>" if mine else repr(handle)
        return f"{super().__repr__()[:-1]} handle={shown}>"

    def set_handle(self, handle: Callable[..., Any]) -> None:
        """Set the function that is called for each connection or datagram.

        :raises TypeError: ``handle`` is not callable.
        """
        if handle is not None:
            if not callable(handle):
                raise TypeError("'handle' must be provided")
            self.handle = handle

    def set_spawn(self, spawn: Any) -> None:
        """Set how handlers run."""
        if spawn == "default":
            spawn = Greenlet.spawn
        elif isinstance(spawn, int) and not isinstance(spawn, bool):
            spawn = Pool(spawn)
        super().set_spawn(spawn)

    def do_handle(self, *args: Any) -> None:
        """Run the handler for what was accepted, as ``spawn`` says; if that is None, in the hub."""
        self._due += 1
        try:
            if self._spawn is None:
                self.loop.run_callback(self.run_handler, *args)
            else:
                self._spawn(self.run_handler, *args)
        except BaseException:
            self._due -= 1
            raise

    def run_handler(self, *args: Any) -> None:
        """Handle one connection."""
        self._due -= 1
        super().run_handler(*args)

    def close(self) -> None:
        """Accept no more and close the listener. Handlers that were spawned begin first: gunicorn's use it."""
        try:
            if self._due and getcurrent() is not get_hub().runner:
                self.stop_accepting()
                sleep(0)
        finally:
            super().close()


class BaseServer(Habits, _BaseServer):
    """gevent's BaseServer."""
