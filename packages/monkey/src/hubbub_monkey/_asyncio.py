"""asyncio: each greenlet has a running event loop, and one set by :func:`asyncio.set_event_loop`, of its own."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable
from typing import Any

from hubbub import get_hub
from hubbub.local import local
from hubbub.running_loop import separate_running_loops

__all__ = ["separate_event_loops", "share_signals"]


def separate_event_loops(events: Any) -> Callable[[], None]:
    """Make what ``asyncio.events`` keeps per native thread belong to each greenlet. Returns what undoes it."""
    undo_running = separate_running_loops(events)
    undo_set = _separate_set_loops(events)

    def back() -> None:
        undo_set()
        undo_running()

    return back


def _separate_set_loops(events: Any) -> Callable[[], None]:
    """Make the policy keep the event loop that was set per greenlet.

    It keeps it in thread-local data, whose class is the original one if asyncio was imported before patching.
    """
    # The name has an underscore from CPython 3.14 on; a later version may have no policies at all.
    policy_class = getattr(events, "BaseDefaultEventLoopPolicy", None) or getattr(
        events, "_BaseDefaultEventLoopPolicy", None
    )
    if policy_class is None or issubclass(policy_class._Local, local):
        return lambda: None
    native = policy_class._Local

    class _Local(local):
        _loop = None
        _set_called = False

    policy_class._Local = _Local
    _move(events._event_loop_policy, policy_class, _Local)

    def back() -> None:
        policy_class._Local = native
        _move(events._event_loop_policy, policy_class, native)

    return back


def _move(policy: Any, policy_class: type, kind: Callable[[], Any]) -> None:
    """Make an existing policy keep its data in a new ``kind()``, which begins with the current greenlet's values."""
    if isinstance(policy, policy_class):
        before, policy._local = policy._local, kind()  # type: ignore[attr-defined]  # of asyncio's own class
        for name, value in vars(before).items():
            setattr(policy._local, name, value)  # type: ignore[attr-defined]


def share_signals(unix_events: Any) -> Callable[[], None]:
    """Let event loops of several greenlets listen to the same signal (``asyncio.unix_events``).

    They use watchers of the hub's loop. asyncio itself takes the one wake-up descriptor and the one handler of the
    process, and gives them up for all event loops when one of them stops listening. Returns what undoes it.
    """
    kind = unix_events._UnixSelectorEventLoop
    add, remove = kind.add_signal_handler, kind.remove_signal_handler

    def add_signal_handler(self: Any, sig: int, callback: Callable[..., Any], *args: Any) -> None:
        if unix_events.coroutines.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        remove_signal_handler(self, sig)
        watcher = get_hub().loop.signal(sig)
        try:
            watcher.start(self.call_soon_threadsafe, callback, *args)
        except (ValueError, OSError) as error:
            raise RuntimeError(f"sig {sig} cannot be caught: {error}") from error
        self._signal_handlers[sig] = watcher

    def remove_signal_handler(self: Any, sig: int) -> bool:
        self._check_signal(sig)
        watcher = self._signal_handlers.get(sig)
        if watcher is None or isinstance(watcher, unix_events.events.Handle):
            return bool(remove(self, sig))  # there is no handler, or it was added before patching
        del self._signal_handlers[sig]
        watcher.close()
        if sig == signal.SIGINT and signal.getsignal(sig) is signal.SIG_DFL:
            signal.signal(sig, signal.default_int_handler)
        return True

    add_signal_handler.__doc__, remove_signal_handler.__doc__ = add.__doc__, remove.__doc__
    kind.add_signal_handler, kind.remove_signal_handler = add_signal_handler, remove_signal_handler

    def back() -> None:
        kind.add_signal_handler, kind.remove_signal_handler = add, remove

    return back
