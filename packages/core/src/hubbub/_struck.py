"""Errors of Python's signal handlers: they strike in the middle of other code, which then belongs to nobody."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from opcode import opmap
from threading import main_thread as _main_thread
from types import CodeType, FunctionType, MethodType, TracebackType
from typing import Any, TypeVar

from greenlet import greenlet

from hubbub._originals import get_ident

__all__ = ["GoesOn", "beyond", "ended_by", "is_of_handler", "is_repeatable", "never_began", "repeatable", "shielded"]

F = TypeVar("F", bound=Callable[..., Any])

_getsignal = signal.getsignal  # patching replaces it
_RESUME = opmap["RESUME"]


def never_began(tb: TracebackType | None) -> bool:
    """Whether the function in whose frame a traceback begins was struck before its first step.

    The interpreter looks for signals there, in its RESUME instruction. So a call that failed in that way may be made
    again.
    """
    if tb is None or tb.tb_frame.f_code in set(_codes()):  # a handler, in which another one has struck
        return False
    at, code = tb.tb_lasti, tb.tb_frame.f_code.co_code
    return at < 0 or (code[at] == _RESUME and not code[at + 1] & 3)  # else a generator goes on


def beyond(error: BaseException) -> TracebackType | None:
    """The traceback of an error from where it leaves the function that has caught it."""
    return error.__traceback__.tb_next if error.__traceback__ is not None else None


def is_of_handler(error: BaseException) -> bool:
    """Whether a handler of :func:`signal.signal` has raised ``error``: its frame is in the traceback."""
    if get_ident() != _main_thread().ident:
        return False
    if isinstance(error, KeyboardInterrupt):  # Python's own handler has no frame
        return True
    codes = set(_codes())
    tb = error.__traceback__
    while tb is not None and tb.tb_frame.f_code not in codes:
        tb = tb.tb_next
    return tb is not None


def _codes() -> Iterator[CodeType]:
    """The code of each handler that is set, as far as it is written in Python."""
    for number in signal.valid_signals():
        handler: Any = _getsignal(number)
        if not callable(handler) or isinstance(handler, int):
            continue
        while isinstance(handler, partial):
            handler = handler.func
        if not isinstance(handler, FunctionType | MethodType):
            handler = type(handler).__call__
        function = handler.__func__ if isinstance(handler, MethodType) else handler
        if isinstance(function, FunctionType):
            yield function.__code__


def repeatable(callback: F) -> F:
    """Marks a callback of hubbub's that may be called twice: it is, if a handler has struck in its middle."""
    callback.repeatable = True  # type: ignore[attr-defined]  # functions take any
    return callback


def is_repeatable(callback: Any) -> bool:
    """Whether a callable, or what it is partial to, is marked."""
    return getattr(callback.func if isinstance(callback, partial) else callback, "repeatable", False) is True


class GoesOn:
    """A callable of the run queue that goes on with a greenlet."""

    __slots__ = ()
    greenlet: Any

    def __call__(self) -> None:
        """Switch to the greenlet."""
        raise NotImplementedError(f"{type(self).__name__} must say how")


def ended_by(callback: Any, tb: TracebackType | None) -> greenlet | None:
    """The greenlet to which a callable of the run queue has switched, if it has ended by an error.

    :param tb: begins in the callable, or in the greenlet.
    """
    if isinstance(callback, partial):
        callback = callback.func
    if isinstance(callback, GoesOn):
        owner: Any = callback.greenlet
        if tb is not None and tb.tb_frame.f_code is type(callback).__call__.__code__:
            tb = tb.tb_next
    elif getattr(callback, "__name__", "") in ("switch", "throw"):
        owner = getattr(callback, "__self__", None)
    else:
        return None
    if not isinstance(owner, greenlet) or not owner.dead:
        return None
    # It may have ended without an error, just before a handler struck here.
    return None if tb is None or tb.tb_frame.f_code in set(_codes()) else owner


def shielded(body: Callable[[], None], tell: Callable[[BaseException], None]) -> Callable[[], None]:
    """``body`` as what a greenlet runs, so that no handler of a signal can end it: ``tell`` gets its error.

    A function may be struck before its first step, where it cannot catch that yet. A generator that is suspended in a
    ``try`` cannot.
    """

    def steps() -> Iterator[None]:
        error: BaseException | None = None
        begun = False
        while True:
            try:
                if not begun:
                    begun = True
                    yield
                if error is not None:
                    told, error = error, None
                    tell(told)
                body()
                return
            except BaseException as struck:
                if not is_of_handler(struck):
                    raise
                error = struck

    generator = steps()
    next(generator)
    return partial(next, generator, None)
