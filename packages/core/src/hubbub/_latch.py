"""What locks are made of: one holder at a time; those that come later get it in turn.

The whole state is one entry of a dict: who holds the latch. Taking it, giving it back and handing it over are single
operations of C code on that dict, so there is no moment at which a latch is half taken. A signal handler, a destructor
or another thread that comes between any two steps finds it free, or held by a holder that can give it back.
"""

from __future__ import annotations

from typing import Any

from greenlet import getcurrent

from hubbub._links import Linkable
from hubbub._spinning import give_way
from hubbub._twins import known_to_c, mirrored
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue

__all__ = ["Latch", "ReentrantLatch"]

_HELD = 0
"""The one key."""


@known_to_c
class Latch(Linkable):
    """Held or free. Each attempt to take it brings an object of its own, by which the holder is known."""

    __slots__ = ("_depth", "_holder", "_links", "_waiters")  # beside the __dict__ of Linkable

    def __init__(self) -> None:
        self._holder: dict[int, Any] = {}
        self._waiters = WaitQueue()
        self._depth = 0
        """How often its holder has taken it besides the first time."""
        self._links = None

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return bool(self._holder)

    def ready(self) -> bool:
        """Whether it is free."""
        return not self._holder

    # Taking it ------------------------------------------------------------------------------------------------------

    @mirrored("latch.c")
    def _take(self, who: object, timeout: float | None) -> bool:
        """Take it for ``who``, which does not hold it: in turn, and whole or not at all whatever is raised meanwhile.

        :param timeout: seconds; None: no limit; 0 or less: do not wait.
        """
        try:
            # One expression: what is raised after it is evaluated is still caught.
            return (not self._waiters and self._holder.setdefault(_HELD, who) is who) or self._take_later(who, timeout)
        except BaseException:
            self._pass_on(who)
            raise

    def _take_later(self, who: object, timeout: float | None) -> bool:
        if timeout is None or timeout > 0:
            return self._wait_turn(who, timeout)
        give_way()
        return False

    @mirrored("latch.c")
    def _wait_turn(self, who: object, timeout: float | None) -> bool:
        waiter = Waiter()
        waiter.value = who
        return self._waiters.wait(waiter, timeout, self._enter, self._pass_on)

    @mirrored("latch.c")
    def _enter(self, waiter: Waiter) -> None:
        self._waiters.join(waiter)
        if not self._holder:
            self._hand_over()

    def _abandon(self, waiter: Waiter) -> None:
        """For the methods in C: a wait has ended with an exception."""
        self._waiters.abandon(waiter, self._pass_on)

    def _pass_on(self, who: object) -> None:
        """``who`` will not use it: if it was taken for ``who``, pass it on to the waiter that has waited longest."""
        if self._holder.get(_HELD) is who:
            self._leave()

    # Giving it back -------------------------------------------------------------------------------------------------

    @mirrored("latch.c")
    def _leave(self) -> bool:
        """The holder gives it back; whoever has waited longest gets it. False if nobody held it."""
        try:
            if self._holder.pop(_HELD, None) is None:
                return False
            if self._waiters:
                self._hand_over()
        except BaseException:
            self._hand_over()
            raise
        if self._links is not None:
            self._links.fire()
        return True

    @mirrored("latch.c")
    def _hand_over(self) -> None:
        """If it is free and somebody waits, it is theirs. May be called at any time, again too."""
        while self._waiters and not self._holder:
            self._waiters.offer(self._offer)

    @mirrored("latch.c")
    def _offer(self, waiter: Waiter) -> bool:
        who = waiter.value
        if self._holder.setdefault(_HELD, who) is not who:
            return False  # somebody was quicker
        if not waiter.wake(who):
            del self._holder[_HELD]
        return True

    # For conditions, which give it back for the time of a wait -------------------------------------------------------

    def _hold(self) -> Any:
        """How it is held, for :meth:`_take_back`."""
        return self._holder.get(_HELD)

    def _leave_wholly(self) -> None:
        self._leave()

    def _take_back(self, hold: Any) -> None:
        """Take it again, to hold it as before. It may still be held: an exception may come before it is given back."""
        if self._holder.get(_HELD) is not hold:
            self._take(hold, None)

    def _reset(self) -> None:
        """Make it free, and forget its waiters."""
        self._holder.clear()
        self._waiters.clear()
        self._depth = 0


class ReentrantLatch(Latch):
    """A latch that its holder, a greenlet, may take again, and then has to give back as often."""

    __slots__ = ()

    def _me(self) -> Any:
        """The greenlet that takes it."""
        return getcurrent()

    @mirrored("latch.c")
    def _take_again(self, timeout: float | None) -> bool:
        """Take it once more, or for the first time; see :meth:`_take`."""
        me = self._me()
        depth = self._depth if self._holder.get(_HELD) is me else -1
        try:
            return self._deepen(depth) if depth >= 0 else self._take(me, timeout)
        except BaseException:
            if depth >= 0:
                self._depth = depth
            raise

    @mirrored("latch.c")
    def _deepen(self, depth: int) -> bool:
        self._depth = depth + 1
        return True

    @mirrored("latch.c")
    def release(self) -> None:
        """Give it back once.

        :raises RuntimeError: the current greenlet does not hold it.
        """
        if self._holder.get(_HELD) is not self._me():
            raise RuntimeError("cannot release un-acquired lock")
        if self._depth:
            self._depth -= 1
        else:
            self._leave()

    @mirrored("latch.c")
    def __exit__(self, *_: object) -> None:
        depth = self._depth
        try:
            self.release()
        except BaseException:  # of a signal handler: the block has ended all the same
            if self._is_owned() and self._depth == depth:
                self.release()
            raise

    # What threading.Condition and threading's fork hook ask of a lock -------------------------------------------------

    def _is_owned(self) -> bool:
        return self._holder.get(_HELD) is self._me()

    def _recursion_count(self) -> int:
        return self._depth + 1 if self._is_owned() else 0

    def _release_save(self) -> int:
        """Give it back altogether.

        :returns: what :meth:`_acquire_restore` has to know.
        """
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        depth = self._depth
        try:
            self._leave_wholly()
        except BaseException:
            self._take_back(depth)
            raise
        return depth

    def _acquire_restore(self, state: int) -> None:
        self._take_back(state)

    def _hold(self) -> int:
        return self._depth

    def _leave_wholly(self) -> None:
        self._depth = 0
        self._leave()

    def _take_back(self, hold: int) -> None:
        me = self._me()
        if self._holder.get(_HELD) is not me:
            self._take(me, None)
        self._depth = hold

    def _at_fork_reinit(self) -> None:
        """In the child after a fork: make it free, and forget its waiters. Called by :mod:`threading`."""
        self._reset()
