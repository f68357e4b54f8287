"""Groups of greenlets, and groups of limited size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from queue import Full
from typing import Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent

from hubbub._arguments import whole_number
from hubbub._mapping import IMap, IMapUnordered, Mapping
from hubbub._struck import never_began, of_callee, repeatable
from hubbub.event import Event
from hubbub.greenlet import Greenlet
from hubbub.lock import DummySemaphore, Semaphore
from hubbub.timeout import Timeout
from hubbub.waiting import joinall

__all__ = ["Group", "IMap", "IMapUnordered", "Pool", "PoolFull"]


P = ParamSpec("P")
T = TypeVar("T")


class PoolFull(Full):
    """A pool has no free place, and waiting was not allowed or took too long."""


class Group(Mapping):
    """Greenlets that are joined or killed together. Each leaves the group when it ends."""

    greenlet_class: type[Greenlet] = Greenlet

    def __init__(self, *greenlets: Greenlet) -> None:
        self.greenlets: set[Greenlet] = set()
        self.dying: set[Greenlet] = set()
        self._empty = Event()
        self._empty.set()
        for member in greenlets:
            self.add(member)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} greenlets={len(self.greenlets)}>"

    def __len__(self) -> int:
        return len(self.greenlets)

    def __bool__(self) -> bool:
        """Always true: an empty group is a group."""
        return True

    def __contains__(self, item: object) -> bool:
        return item in self.greenlets

    def __iter__(self) -> Iterator[Greenlet]:
        return iter(set(self.greenlets))

    def add(self, greenlet: Greenlet) -> None:
        """Take ``greenlet`` in; one that has ended is left out, a member stays one."""
        if not hasattr(greenlet, "rawlink"):
            raise TypeError(f"a member must be a greenlet of hubbub's, not {greenlet!r}")
        if greenlet.dead or greenlet in self.greenlets:
            return
        greenlet.rawlink(self._forget)
        self.greenlets.add(greenlet)
        self._empty.clear()

    @repeatable
    def _forget(self, greenlet: Greenlet) -> bool:
        """Remove ``greenlet`` from the group. False when it was no member."""
        known = greenlet in self.greenlets or greenlet in self.dying
        self.greenlets.discard(greenlet)
        self.dying.discard(greenlet)
        if not self.greenlets and not self.dying:
            self._empty.set()
        return known

    def discard(self, greenlet: Greenlet) -> None:
        """Remove ``greenlet`` from the group; it runs on. Harmless if it is no member."""
        if self._forget(greenlet):
            greenlet.unlink(self._forget)

    def start(self, greenlet: Greenlet) -> None:
        """Take in and start an unstarted greenlet."""
        try:
            self.add(greenlet)
            greenlet.start()
        except BaseException:  # raised by a signal handler, perhaps
            self._unless_started(greenlet)
            raise

    def _unless_started(self, greenlet: Greenlet) -> None:
        if not getattr(greenlet, "started", True):
            self.discard(greenlet)

    def spawn(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]:
        """Start ``function(*args, **kwargs)`` in a new member."""
        new: Greenlet[T] = self.greenlet_class(function, *args, **kwargs)
        self.start(new)
        return new

    def join(self, timeout: float | None = None, raise_error: bool = False) -> bool:
        """Wait until the group is empty, if only for a moment.

        :param timeout: seconds, or None for no limit.
        :param raise_error: raise the error of the first member that failed.
        :returns: whether the group is empty.
        """
        members = list(self.greenlets) if raise_error else []
        empty = self._empty.wait(timeout)
        for member in members:
            if member.ready() and not member.successful():
                member.get()
        return empty

    def kill(self, exception: Any = GreenletExit, block: bool = True, timeout: float | None = None) -> None:
        """Kill all members, also those that join while this call waits.

        :param block: wait until they have ended, at most ``timeout`` seconds.
        """
        limit = Timeout.start_new(timeout)
        try:
            while self.greenlets:
                victims = list(self.greenlets)
                for victim in victims:
                    self._mark_dying(victim)
                    victim.kill(exception, block=False)
                if not block:
                    return
                joinall(victims)
            if block:
                self._empty.wait()
        except Timeout as error:
            if error is not limit:
                raise
        finally:
            limit.cancel()

    def killone(
        self, greenlet: Greenlet, exception: Any = GreenletExit, block: bool = True, timeout: float | None = None
    ) -> None:
        """Kill one member; harmless if it is none."""
        if greenlet not in self.greenlets:
            return
        self._mark_dying(greenlet)
        greenlet.kill(exception, block=block, timeout=timeout)

    def _mark_dying(self, greenlet: Greenlet) -> None:
        if greenlet.dead:
            self._forget(greenlet)  # its link comes too late: kill() waits until the group is empty
            return
        self.greenlets.discard(greenlet)
        self.dying.add(greenlet)

    def full(self) -> bool:
        """Never: a group has no size."""
        return False

    def wait_available(self, timeout: float | None = None) -> int | None:
        """At once: there is always a place."""
        return None

    def _runs_inline(self) -> bool:
        return getcurrent() in self.greenlets

    def _would_wait(self) -> bool:
        return self.full()


class Pool(Group):
    """A group with at most ``size`` members: ``spawn`` waits for a place.

    :param size: None: no limit; 0: always full.
    :raises ValueError: ``size`` is negative.
    """

    def __init__(self, size: int | None = None, greenlet_class: type[Greenlet] | None = None) -> None:
        if size is not None:
            whole_number(size, "size")
        if not (greenlet_class is None or (isinstance(greenlet_class, type) and issubclass(greenlet_class, Greenlet))):
            raise TypeError(f"greenlet_class must be a subclass of hubbub.Greenlet, not {greenlet_class!r}")
        super().__init__()
        self.size = size
        if greenlet_class is not None:
            self.greenlet_class = greenlet_class
        self._semaphore: Semaphore | DummySemaphore = DummySemaphore() if size is None else Semaphore(size)
        self._free: Iterator[bool] = iter(self._semaphore.acquire, None)
        """Gives a place at each step; waits for it."""
        self._places: dict[Greenlet, None] = {}
        """The members that have a place."""

    def add(self, greenlet: Greenlet, blocking: bool = True, timeout: float | None = None) -> None:
        """Take ``greenlet`` in, waiting for a place.

        :raises PoolFull: there was none in ``timeout`` seconds, or now and ``blocking`` is false.
        """
        if greenlet in self.greenlets:
            return
        spare = False  # whether there is a place that no member has
        acquire = self._semaphore.acquire
        places = self._free if blocking and timeout is None else iter(partial(acquire, blocking, timeout), None)
        try:
            for spare in places:  # noqa: B007  # used below; taken and known in one step
                break
            if not spare:
                raise PoolFull(f"all {self.size} places of the pool are taken")
            super().add(greenlet)
            if greenlet in self.greenlets and greenlet not in self._places:
                self._places[greenlet], spare = None, False
        finally:
            if spare:
                self._semaphore.release()

    def start(self, greenlet: Greenlet, blocking: bool = True, timeout: float | None = None) -> None:
        """Take in and start an unstarted greenlet; raises as :meth:`add`."""
        try:
            self.add(greenlet, blocking, timeout)
            greenlet.start()
        except BaseException:  # as in Group.start; or the pool is full
            self._unless_started(greenlet)
            raise

    @repeatable
    def _forget(self, greenlet: Greenlet) -> bool:
        known = super()._forget(greenlet)
        if greenlet in self._places:
            del self._places[greenlet]  # no call between this and the release
            try:
                self._semaphore.release()
            except BaseException as error:  # raised by a signal handler
                if never_began(of_callee(error)):
                    self._semaphore.release()
                raise
        return known

    def full(self) -> bool:
        """Whether every place is taken."""
        return self.free_count() <= 0

    def free_count(self) -> int:
        """How many places are free; 1 for a pool without limit."""
        if self.size is None or isinstance(self._semaphore, DummySemaphore):
            return 1
        return self._semaphore.counter

    def wait_available(self, timeout: float | None = None) -> int | None:
        """Wait until a place is free, without taking it.

        :returns: how many are free; 0 when ``timeout`` seconds have passed.
        """
        return self._semaphore.wait(timeout)
