"""Signal handlers that run in greenlets, and what becomes of their errors.

A handler set by the standard :func:`signal.signal` runs between two bytecodes of the main thread, in the greenlet that
runs at that moment, even the hub; it is prompt on every loop. A handler may wait: what it has interrupted goes on when
it has ended, and the loop keeps turning meanwhile. What it raises is raised in the greenlet that it has interrupted, or
in the main greenlet if that was the hub. :func:`prompt`, which takes its place after patching, differs in this: what
the handler raises is raised in the main greenlet. A handler set by :func:`signal` runs in a greenlet of its own on the
main thread's hub, as soon as the hub gets to it, and interrupts nothing.

While a handler in Python is set, by whichever function, a main greenlet that waits when nothing else is left waits for
a signal, and there is no LoopExit. Python's own handler of Ctrl-C, and handlers that are wrapped in a
:class:`Bystander`, do not count.
"""

from __future__ import annotations

import signal as _signal
from collections.abc import Callable
from types import FrameType
from typing import Any, ClassVar

from greenlet import getcurrent

from hubbub._identity import Reduce, refuse_copies
from hubbub.greenlet import Greenlet
from hubbub.hub import get_hub, get_hub_if_exists
from hubbub.loop._signals import Bystander, SignalTable, Wrapped

__all__ = [
    "Bystander",
    "ForMain",
    "SignalHandler",
    "adopt_handlers",
    "getsignal",
    "getsignal_prompt",
    "prompt",
    "set_wakeup_fd",
    "signal",
]

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

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, signalnum: int, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if not callable(handler):
            raise TypeError(f"the signal handler must be callable, not {handler!r}")
        self.signalnum = signalnum
        self.handler = handler
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self._watcher = get_hub().loop.signal(signalnum, ref=False)
        self._watcher.start(self.arrived)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.signalnum} {self.handler!r}>"

    @property
    def ref(self) -> bool:
        """Whether waiting for the signal keeps the loop from ending. At first it does not."""
        return self._watcher.ref

    @ref.setter
    def ref(self, value: bool) -> None:
        self._watcher.ref = value

    def arrived(self) -> None:
        """On the hub: the signal has arrived. A subclass may do otherwise; it must not wait."""
        Greenlet.spawn(self.handler, *self.args, **self.kwargs)

    def cancel(self) -> None:
        """No more calls. Idempotent."""
        self._watcher.close()


class _InGreenlet(Wrapped):
    """What the interpreter calls for a handler that is to run in a greenlet."""

    __slots__ = ()

    def __call__(self, signalnum: int, frame: FrameType | None) -> None:
        get_hub().loop.run_callback_threadsafe(Greenlet.spawn, self.handler, signalnum, frame)


class ForMain(Wrapped):
    """What the interpreter calls for a handler whose errors the main greenlet gets, whichever one is interrupted."""

    __slots__ = ()

    def __call__(self, signalnum: int, frame: FrameType | None) -> None:
        """Call the handler; what it raises is raised in the main greenlet."""
        try:
            self.handler(signalnum, frame)
        except BaseException as error:
            hub = get_hub_if_exists()
            if hub is None or not hub.interrupt(error, frame):
                raise


def prompt(signalnum: int, handler: Any) -> Any:
    """:func:`signal.signal`, but what the handler raises is raised in the main greenlet, whichever greenlet runs.

    :returns: the previous handler, as it was given.
    :raises ValueError: no such signal, or this is not the main thread.
    """
    wrapped = ForMain(handler) if callable(handler) and not isinstance(handler, (int, Wrapped)) else handler
    return _given(_set_signal(signalnum, wrapped))


def getsignal_prompt(signalnum: int) -> Any:
    """:func:`signal.getsignal`: what was given to :func:`prompt`."""
    return _given(_get_signal(signalnum))


def _given(handler: Any) -> Any:
    return handler.handler if isinstance(handler, ForMain) else handler


def adopt_handlers() -> Callable[[], None]:
    """Have the main greenlet get also the errors of handlers that are set already. Only in the main thread.

    :returns: a function that undoes it, for handlers that are still set.
    """
    adopted: list[int] = []
    try:
        for number in _signal.valid_signals():
            handler = _get_signal(number)
            if callable(handler) and not isinstance(handler, (int, Wrapped)) and not _is_table(handler):
                prompt(number, handler)
                adopted.append(number)
    except ValueError:
        pass  # not the main thread
    return lambda: _give_back(adopted)


def _is_table(handler: Any) -> bool:
    return isinstance(getattr(handler, "__self__", None), SignalTable)


def _give_back(numbers: list[int]) -> None:
    for number in numbers:
        handler = _get_signal(number)
        if isinstance(handler, ForMain):
            _set_signal(number, handler.handler)


def signal(signalnum: int, handler: Any) -> Any:
    """:func:`signal.signal`, but a function is called in a new greenlet.

    :returns: the previous handler.
    :raises ValueError: no such signal, or this is not the main thread.
    """
    previous = _set_signal(signalnum, _wrapped(handler))
    return previous.handler if isinstance(previous, (_InGreenlet, ForMain)) else previous


def _wrapped(handler: Any) -> Any:
    # SIG_DFL and SIG_IGN are callable too (they are integers in a way), and default_int_handler must raise at once.
    if not callable(handler) or isinstance(handler, (int, Wrapped)) or handler is _signal.default_int_handler:
        return handler
    return _InGreenlet(handler)


def getsignal(signalnum: int) -> Any:
    """:func:`signal.getsignal`: the handler, as it was given."""
    handler = _get_signal(signalnum)
    return handler.handler if isinstance(handler, (_InGreenlet, ForMain)) else handler


def set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    """:func:`signal.set_wakeup_fd`, beside the hub, which needs that descriptor itself and forwards the bytes.

    Once there is a hub each greenlet has a descriptor of its own, until it ends: event loops of asyncio and uvloop that
    run in several greenlets do not take it from one another.

    :param warn_on_full_buffer: ignored once there is a hub; then there is no warning.
    :returns: the descriptor that was set before, in this greenlet, or -1.
    :raises ValueError: ``fd`` blocks, or this is not the main thread.
    """
    hub = get_hub_if_exists()
    if hub is not None and not hub.loop.destroyed:
        hub.loop.ensure_open()
    found = _set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)  # this also checks fd
    if hub is None or hub.loop.destroyed or not hub.loop.wakeup.installed:
        return found
    wakeup = hub.loop.wakeup
    previous = wakeup.other
    wakeup.install()
    wakeup.other = previous
    current = getcurrent()
    if current.parent is not None:  # another greenlet than main
        return wakeup.set_for(current, fd)
    wakeup.other = fd
    return previous
