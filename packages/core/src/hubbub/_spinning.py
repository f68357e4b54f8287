"""Lets other greenlets run when a greenlet tries again and again to take something without waiting."""

from __future__ import annotations

from greenlet import getcurrent

from hubbub._originals import local
from hubbub.hub import get_hub_if_exists, sleep

__all__ = ["give_way"]

_MOST_TRIES = 10


class _Tries(local):
    count = 0
    turn: tuple[int, int] = (0, 0)


_tries = _Tries()


def give_way() -> None:
    """Called at each failed try to take something without waiting: every tenth in a row lets other greenlets run.

    A native thread that spins is preempted; a greenlet is not, so the greenlet that could give it what it wants would
    never run. Tries are in a row if the loop has not finished a slice of its run queue in between. Does nothing in a
    native thread without a hub.
    """
    hub = get_hub_if_exists()
    if hub is None:
        return
    current = getcurrent()
    turn = (id(current), hub.loop.calls)
    if turn != _tries.turn:
        _tries.turn = turn
        _tries.count = 0
    _tries.count += 1
    if _tries.count >= _MOST_TRIES:
        _tries.count = 0
        sleep(0)
