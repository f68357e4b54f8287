"""A native thread for one call that may block for very long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub._originals import start_new_thread
from hubbub._waiter import Waiter
from hubbub.hub import get_hub

__all__ = ["in_own_thread"]


def in_own_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run ``function(*args)`` in a thread of its own, and wait for what it returns or raises.

    If the wait is cut short the thread goes on, and its result is dropped.
    """
    waiter = Waiter()

    def work() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (function(*args), None)
        except BaseException as error:
            outcome = (None, error)
        waiter.wake(outcome)

    start_new_thread(work, ())
    loop = get_hub().loop
    held = loop.hold()  # another thread ends the wait, and the loop cannot see that thread
    try:
        waiter.wait()
    finally:
        loop.let_go(held)
    value, error = waiter.value
    if error is not None:
        raise error
    return value
