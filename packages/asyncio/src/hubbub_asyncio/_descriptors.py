"""What an event loop on the hub watches: descriptors, signals, child processes; and the transports that it makes."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from asyncio import events, unix_events
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple

from hubbub.abc import READ, WRITE

from hubbub_asyncio._callbacks import Callbacks
from hubbub_asyncio._transport import SocketTransport
from hubbub_asyncio._watching import Watch, Watches

__all__ = ["Descriptors"]

_Ts = TypeVarTuple("_Ts")


class Descriptors(Callbacks):
    """An event loop whose events are those of the hub."""

    def __init__(self) -> None:
        super().__init__()
        self._watches = Watches(self._hub_loop)

    def _add_reader(
        self, fd: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.Handle:
        self._check_closed()
        return self._watches.add(Watch(callback, args, self, context, fd, READ))

    def _remove_reader(self, fd: Any) -> bool:
        return False if self.is_closed() else self._watches.remove(fd, READ)

    def _add_writer(
        self, fd: Any, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> events.Handle:
        self._check_closed()
        return self._watches.add(Watch(callback, args, self, context, fd, WRITE))

    def _remove_writer(self, fd: Any) -> bool:
        return False if self.is_closed() else self._watches.remove(fd, WRITE)

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call ``callback(*args)`` in the event loop when a signal comes. Several event loops may handle the same one.

        :raises ValueError: there is no such signal.
        :raises RuntimeError: it cannot be caught, or this is not the main thread.
        """
        if asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("a signal handler is a plain function: coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        self.remove_signal_handler(sig)
        handle = events.Handle(callback, args, self, None)
        watcher = self._hub_loop.signal(sig)
        try:
            watcher.start(self._fired, handle)
        except (ValueError, OSError) as error:
            raise RuntimeError(f"sig {sig} cannot be caught: {error}") from error
        self._signal_handlers[sig] = watcher

    def remove_signal_handler(self, sig: int) -> bool:
        """Undo :meth:`add_signal_handler`.

        :returns: whether there was a handler.
        """
        self._check_signal(sig)
        watcher = self._signal_handlers.pop(sig, None)
        if watcher is None:
            return False
        watcher.close()
        if sig == signal.SIGINT and signal.getsignal(sig) is signal.SIG_DFL:
            signal.signal(sig, signal.default_int_handler)
        return True

    def close(self) -> None:
        """Stop watching everything and forget the callbacks. The event loop must not be running."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self.is_closed():
            self._watches.close()
            super().close()

    # Transports ------------------------------------------------------------------------------------------------------

    def _make_socket_transport(self, *args: Any, **kwargs: Any) -> Any:
        return SocketTransport(self, *args, **kwargs)

    async def _make_subprocess_transport(
        self, protocol: Any, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **options: Any
    ) -> Any:
        """A child process, whose end the hub watches."""
        started = self.create_future()
        extra = options.pop("extra", None)
        transport = unix_events._UnixSubprocessTransport(  # type: ignore[attr-defined]  # private in typeshed
            *(self, protocol, args, shell, stdin, stdout, stderr, bufsize), waiter=started, extra=extra, **options
        )
        watcher = self._hub_loop.child(transport.get_pid())
        watcher.start(self._child_ended, watcher, transport)
        try:
            await started
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await asyncio.shield(transport._wait())
            raise
        return transport

    def _child_ended(self, watcher: Any, transport: Any) -> None:
        watcher.close()
        if not self.is_closed():
            self.call_soon(transport._process_exited, os.waitstatus_to_exitcode(watcher.rstatus))
