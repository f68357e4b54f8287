"""What core does at a fork: in a known order, and in a child without interruption.

Python's signal handlers may raise at any step. CPython drops what a hook raises, with a message: a hub would stay half
the parent's. So signals are held back from the thread that forks until the child's hooks are done.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hubbub._originals import local
from hubbub._reports import complain

__all__ = ["at_fork", "signals_held"]

Hook = Callable[[], object]

_before: list[Hook] = []
_in_parent: list[Hook] = []
_in_child: list[Hook] = []
_states = local()


def at_fork(*, before: Hook | None = None, in_parent: Hook | None = None, in_child: Hook | None = None) -> None:
    """Call functions at each fork: ``before`` in the reverse order of these calls, the others in their order.

    As :func:`os.register_at_fork`, whoever forks. A function that fails is reported, and keeps none from being called.
    """
    for hooks, hook in ((_before, before), (_in_parent, in_parent), (_in_child, in_child)):
        if hook is not None:
            hooks.append(hook)


def _call(hooks: list[Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except BaseException as error:
            complain(f"a hook of {hook.__module__} at a fork", error)


def _hold() -> set[int]:
    # Those by which the system tells a thread of its own fault cannot be held back.
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}
    return signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals that come to the calling thread are handled behind the ``with`` block."""
    mask = _hold()
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _let_signals_through() -> None:
    mask = _states.__dict__.pop("mask", None)
    if mask is not None:  # else the fork was by code in C that calls the hooks of the child only
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _begin() -> None:
    _call(_before[::-1])
    _states.mask = _hold()


def _end_in_parent() -> None:
    _let_signals_through()
    _call(_in_parent)


def _end_in_child() -> None:
    try:
        _call(_in_child)
    finally:
        _let_signals_through()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_begin, after_in_parent=_end_in_parent, after_in_child=_end_in_child)
