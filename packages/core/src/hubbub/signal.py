"""Signals whose handlers may wait, because they run in greenlets.

A handler set by the standard :func:`signal.signal` runs between two bytecodes of the main thread, in whatever greenlet
happens to be there, even the hub; it is prompt on every loop, but must not wait. One set by this module runs in a
greenlet of its own on the main thread's hub, as soon as that gets to it.
"""

from __future__ import annotations

import signal as _signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from hubbub.greenlet import Greenlet
from hubbub.hub import get_hub, get_hub_if_exists

__all__ = ["SignalHandler", "getsignal", "set_wakeup_fd", "signal"]

# The originals: patching replaces some of them in their module.
_set_signal = _signal.signal
_get_signal = _signal.getsignal
_set_wakeup_fd = _signal.set_wakeup_fd


class SignalHandler:
    """Call ``handler(*args, **kwargs)`` in a new greenlet whenever the signal arrives. Several may watch one signal.

    While there is one, the handler that was set by :func:`signal.signal` is not called; it is put back by the last
    :meth:`cancel`. Signals that arrive faster than the hub turns count as one.

    :param signalnum: for instance :data:`signal.SIGTERM`.
    :raises ValueError: no such signal, or this is not the main thread.
    :raises TypeError: ``handler`` is not callable.
    """

    def __init__(self, signalnum: int, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if not callable(handler):
            raise TypeError(f"the signal handler must be callable, not {handler!r}")
        self.signalnum = signalnum
        self.handler = handler
        self._args = args
        self._kwargs = kwargs
        self._watcher = get_hub().loop.signal(signalnum, ref=False)
        self._watcher.start(self._arrived)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.signalnum} {self.handler!r}>"

    @property
    def ref(self) -> bool:
        """Whether waiting for the signal keeps the loop from ending. At first it does not."""
        return self._watcher.ref

    @ref.setter
    def ref(self, value: bool) -> None:
        self._watcher.ref = value

    def _arrived(self) -> None:
        Greenlet.spawn(self.handler, *self._args, **self._kwargs)

    def cancel(self) -> None:
        """No more calls. Idempotent."""
        self._watcher.close()


class _InGreenlet:
    """What the interpreter calls for a handler that is to run in a greenlet."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, signalnum: int, frame: FrameType | None) -> None:
        get_hub().loop.run_callback_threadsafe(Greenlet.spawn, self.handler, signalnum, frame)


def signal(signalnum: int, handler: Any) -> Any:
    """:func:`signal.signal`, but a function is called in a new greenlet.

    :returns: the previous handler.
    :raises ValueError: no such signal, or this is not the main thread.
    """
    previous = _set_signal(signalnum, _InGreenlet(handler) if _is_function(handler) else handler)
    return previous.handler if isinstance(previous, _InGreenlet) else previous


def _is_function(handler: Any) -> bool:
    # SIG_DFL and SIG_IGN are callable too (they are integers in a way), and default_int_handler must raise at once.
    return callable(handler) and not isinstance(handler, int) and handler is not _signal.default_int_handler


def getsignal(signalnum: int) -> Any:
    """:func:`signal.getsignal`: the handler, as it was given."""
    handler = _get_signal(signalnum)
    return handler.handler if isinstance(handler, _InGreenlet) else handler


def set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    """:func:`signal.set_wakeup_fd`, beside the hub, which needs that place itself: it passes the bytes on.

    :param warn_on_full_buffer: ignored once there is a hub; then there is no warning.
    :returns: the previous descriptor of the user's, or -1.
    :raises ValueError: ``fd`` blocks, or this is not the main thread.
    """
    found = _set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)  # which also looks whether fd will do
    hub = get_hub_if_exists()
    if hub is None or hub.loop.destroyed or not hub.loop.wakeup.installed:
        return found
    wakeup = hub.loop.wakeup
    previous = wakeup.other
    wakeup.install()
    wakeup.other = fd
    return previous
