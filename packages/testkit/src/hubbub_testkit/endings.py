"""Every way in which a wait can end, and a check that nothing of its greenlets is left afterwards.

Parametrize a test with :data:`ENDINGS` and with waits. A wait is a context manager. It yields a function that waits,
which any number of greenlets may call, and a function that wakes them all::

    @contextmanager
    def event():
        one = Event()
        yield one.wait, one.set

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_nothing_stays(hub, ending):
        assert_freed(event, ending)
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import hubbub
from greenlet import greenlet
from hubbub.lowlevel import get_hub

__all__ = ["ENDINGS", "WaitFactory", "assert_freed", "assert_seen_by_collector"]

WaitFactory = Callable[[], AbstractContextManager[tuple[Callable[[], Any], Callable[[], Any]]]]
"""Makes a wait: a context manager that yields a function that waits, and one that wakes all that wait."""

_COUNT = 100
_PATIENCE = 5.0


class _Failure(Exception):
    """The error with which greenlets of these tests fail."""


class _Bodies:
    """The functions that the greenlets run."""

    def __init__(self, block: Callable[[], Any], release: Callable[[], Any]) -> None:
        self.block = block
        self.release = release
        self.scopes: list[hubbub.CancelScope] = []

    def limited(self) -> None:
        with hubbub.Timeout(0.001, False):
            self.block()

    def expiring(self) -> None:
        with hubbub.Timeout(0.001):
            self.block()

    def scoped(self) -> None:
        with hubbub.CancelScope() as scope:
            self.scopes.append(scope)
            self.block()

    def failing(self) -> None:
        self.block()
        raise _Failure


def _kill(_: _Bodies, greenlets: list[hubbub.Greenlet]) -> None:
    for one in greenlets:
        one.kill(block=False)


def _kill_with_error(_: _Bodies, greenlets: list[hubbub.Greenlet]) -> None:
    for one in greenlets:
        one.kill(_Failure("killed"), block=False)


def _throw(_: _Bodies, greenlets: list[hubbub.Greenlet]) -> None:
    for one in greenlets:
        get_hub().loop.run_callback(one.throw, _Failure("thrown"))


def _cancel(bodies: _Bodies, _: list[hubbub.Greenlet]) -> None:
    for scope in bodies.scopes:
        scope.cancel()
    bodies.scopes.clear()


def _release(bodies: _Bodies, _: list[hubbub.Greenlet]) -> None:
    bodies.release()


def _wait_long_enough(_: _Bodies, greenlets: list[hubbub.Greenlet]) -> None:
    """Do nothing: the time limits end the waits."""


def _release_and_get(bodies: _Bodies, greenlets: list[hubbub.Greenlet]) -> None:
    bodies.release()
    for one in greenlets:
        try:
            one.get(timeout=_PATIENCE)
        except _Failure:
            pass
        else:
            raise AssertionError("it should have failed")


_TABLE: dict[str, tuple[str, Callable[[_Bodies, list[hubbub.Greenlet]], Any]]] = {
    "killed": ("block", _kill),
    "killed with an error": ("block", _kill_with_error),
    "thrown into": ("block", _throw),
    "cancelled by its scope": ("scoped", _cancel),
    "ended by a quiet time limit": ("limited", _wait_long_enough),
    "failed by a time limit": ("expiring", _wait_long_enough),
    "finished": ("block", _release),
    "failed, and the error was taken": ("failing", _release_and_get),
    "failed, and nobody took the error": ("failing", _release),
}

ENDINGS = tuple(_TABLE)
"""The names of the ways in which a wait can end."""


def assert_freed(make: WaitFactory, ending: str) -> None:
    """Let a hundred greenlets wait, end them as ``ending`` says, and check that nothing of them is left.

    Needs a hub whose loop nothing else uses. Failures that are intended are not printed.

    :raises AssertionError: a greenlet is still alive, or the number of objects grows from round to round.
    """
    hub = get_hub()
    stream, hub.exception_stream = hub.exception_stream, None
    gc.freeze()  # later collections need not look at the objects that exist already
    try:
        rounds = [_round(make, ending) for _ in range(3)]
    finally:
        gc.unfreeze()
        hub.exception_stream = stream
    alive = [left for left, _ in rounds]
    assert alive == [0] * len(rounds), f"{ending}: of {_COUNT} greenlets there are left, round by round: {alive}"
    growth = rounds[-1][1] - rounds[-2][1]
    assert growth < _COUNT * 3 // 4, f"{ending}: {growth} more objects after one more round"


def _round(make: WaitFactory, ending: str) -> tuple[int, int]:
    """How many greenlets are left of a hundred, and how many objects there are."""
    with make() as (block, release):
        references = _spawn_and_end(_Bodies(block, release), ending)
    hubbub.sleep(0)
    gc.collect()
    gc.collect()  # objects that finalizers have released
    return sum(reference() is not None for reference in references), len(gc.get_objects())


def _spawn_and_end(bodies: _Bodies, ending: str) -> list[weakref.ref[Any]]:
    body, end = _TABLE[ending]
    greenlets = [hubbub.spawn(getattr(bodies, body)) for _ in range(_COUNT)]
    hubbub.sleep(0)
    hubbub.sleep(0)
    gc.collect()  # a collection may happen amid a wait: that is when the collector stops tracking tuples
    end(bodies, greenlets)
    left = _COUNT - len(hubbub.joinall(greenlets, timeout=_PATIENCE))
    assert not left, f"{ending}: {left} greenlets have not ended"
    return [weakref.ref(one) for one in greenlets]


def assert_seen_by_collector(make: WaitFactory) -> None:
    """Let some greenlets wait, and check that the collector still tracks all tuples and dictionaries that hold them.

    The collector does not track greenlets that run. So it stops tracking a tuple that holds nothing else, and never
    finds a cycle through that tuple, not even when the greenlet has ended.

    :raises AssertionError: there is such a tuple or dictionary.
    """
    hub = get_hub()
    stream, hub.exception_stream = hub.exception_stream, None
    gc.freeze()
    try:
        with make() as (block, _):
            greenlets = [hubbub.spawn(block) for _ in range(3)]
            hubbub.sleep(0)
            hubbub.sleep(0)
            gc.collect()
            found = [repr(one) for one in _containers(greenlets) if _unseen(one)]
            hubbub.killall(greenlets)
        hubbub.sleep(0)
        hubbub.sleep(0)
    finally:
        gc.unfreeze()
        hub.exception_stream = stream
    assert not found, f"the collector has lost sight of {found}"


def _unseen(item: Any) -> bool:
    members = item.values() if isinstance(item, dict) else item
    return not gc.is_tracked(item) and any(isinstance(member, greenlet) and not member.dead for member in members)


def _containers(greenlets: list[hubbub.Greenlet]) -> Iterator[Any]:
    """The tuples and dictionaries that any object, or any frame of ``greenlets``, refers to."""
    for owner in [*gc.get_objects(), *greenlets]:
        yield from (one for one in gc.get_referents(owner) if isinstance(one, (tuple, dict)))
    for one in greenlets:
        frame = one.gr_frame
        while frame is not None:
            yield from (value for value in list(frame.f_locals.values()) if isinstance(value, (tuple, dict)))
            frame = frame.f_back
