"""Errors of Python's signal handlers: they strike in the middle of other code, which then belongs to nobody."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from opcode import opmap
from threading import main_thread as _main_thread
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any, TypeVar

from greenlet import greenlet

from hubbub._originals import get_ident

__all__ = [
    "ended_by",
    "is_failed_raw",
    "is_of_handler",
    "is_repeatable",
    "never_began",
    "of_callee",
    "repeatable",
    "shielded",
    "struck_at_entry",
]

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


def struck_at_entry(error: BaseException) -> bool:
    """Whether the function in which a handler has struck had not begun: what it was to do was not done."""
    codes, tb = set(_codes()), error.__traceback__
    while tb is not None and tb.tb_next is not None and tb.tb_next.tb_frame.f_code not in codes:
        tb = tb.tb_next
    return never_began(tb)


def of_callee(error: BaseException) -> TracebackType | None:
    """The traceback of an error without the function that has caught it, if that is one in Python: it still runs."""
    tb = error.__traceback__
    frame: FrameType | None = sys._getframe(1)
    while tb is not None and frame is not None:
        if frame is tb.tb_frame:
            return tb.tb_next
        frame = frame.f_back
    return tb


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


def ended_by(error: BaseException) -> Any:
    """The Greenlet that has ended by ``error``, outside of its function: its ``run`` is in the traceback. Else None."""
    tb = error.__traceback__
    while tb is not None:
        if tb.tb_frame.f_code.co_name == "run":
            owner: Any = tb.tb_frame.f_locals.get("self")
            if hasattr(type(owner), "cut_short") and owner.dead:
                return owner
        tb = tb.tb_next
    return None


def is_failed_raw(callback: Any, tb: TracebackType | None) -> bool:
    """Whether a callable of the run queue has switched to a raw greenlet, which has ended by an error.

    :param tb: begins in the greenlet; with the frame of a handler if one has struck when the switch had come back.
    """
    owner = getattr(callback, "__self__", None) if getattr(callback, "__name__", "") in ("switch", "throw") else None
    if not isinstance(owner, greenlet) or hasattr(owner, "cut_short") or not owner.dead:
        return False
    return tb is not None and tb.tb_frame.f_code not in set(_codes())


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
