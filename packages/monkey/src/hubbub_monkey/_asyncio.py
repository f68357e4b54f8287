"""asyncio: each greenlet has a running event loop and, by :func:`asyncio.set_event_loop`, a set one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.local import local
from hubbub.running_loop import separate_running_loops

__all__ = ["separate_event_loops"]


def separate_event_loops(events: Any) -> Callable[[], None]:
    """Of ``asyncio.events``: what belongs to a native thread belongs to a greenlet; returns what undoes it."""
    undo_running = separate_running_loops(events)
    undo_set = _separate_set_loops(events)

    def back() -> None:
        undo_set()
        undo_running()

    return back


def _separate_set_loops(events: Any) -> Callable[[], None]:
    """The policy keeps the event loop that was set in thread-local data, of before patching if asyncio is older."""
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
    """Let a policy that exists already keep its data in a new ``kind()``, with what the current greenlet has set."""
    if isinstance(policy, policy_class):
        before, policy._local = policy._local, kind()  # type: ignore[attr-defined]  # of asyncio's own class
        for name, value in vars(before).items():
            setattr(policy._local, name, value)  # type: ignore[attr-defined]
