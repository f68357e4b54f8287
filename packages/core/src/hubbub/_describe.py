"""What each greenlet is doing at one moment, for :mod:`hubbub.inspect` and :mod:`hubbub.snapshot`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random
from types import BuiltinMethodType, FrameType, MethodType
from typing import Any

from greenlet import getcurrent, greenlet

from hubbub._frames import arguments_of, frame_of, place_of, split, stack_of, subject_of, waited
from hubbub._latch import Latch
from hubbub._originals import monotonic
from hubbub._reports import careful_name_of, name_of, text_of
from hubbub._standin import Runner, Seat
from hubbub._waiter import Waiter
from hubbub._weak import instances, snapshot
from hubbub.event import AsyncResult, Event
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub_if_exists, hubs
from hubbub.lock import Semaphore
from hubbub.queue import SimpleQueue
from hubbub.taskgroup import TaskGroup

__all__ = ["GreenletInfo", "bound_to", "greenlets", "hub_name", "name_of_greenlet", "some_greenlets", "whole_hubs"]

_is_active: Any = greenlet.__bool__  # "has begun and not ended", whatever a subclass says


@dataclass(frozen=True)
class GreenletInfo:
    """One greenlet at one moment."""

    name: str
    state: str
    """``running``, ``ready`` (in the run queue), ``waiting``, ``new``, ``suspended`` (switched away from by hand),
    ``half made`` (its constructor failed), or why it cannot be described."""
    hub: str
    waits_for: str | None
    """The object it waits for, as its repr."""
    operation: str | None
    """The function of hubbub that it waits in, for instance ``Queue.get``."""
    seconds: float | None
    """How long it has waited, if that is known."""
    function: str | None
    file: str | None
    line: int | None
    """The innermost place outside hubbub."""
    stack: tuple[str, ...]
    """The stack, outermost call first, one ``file:line function`` each."""
    spawned_by: str | None
    """The name of the greenlet that spawned it, if that was tracked; else of the one whose task group it is in."""
    spawned_at: tuple[str, ...]
    """Where it was spawned, if that was tracked; innermost call last."""
    ident: int = 0
    """A number that tells the greenlets of a moment apart."""
    age: float | None = None
    """Seconds since it was made; None of raw greenlets and main greenlets."""
    runs: str | None = None
    """The function that it was given."""
    group: str | None = None
    """The task group that it belongs to."""
    held_by: tuple[int, ...] = ()
    """The ``ident`` of each greenlet that holds the lock it waits for, or for whose end it waits."""
    parent: int | None = None
    """The ``ident`` of ``spawned_by``, if that is alive."""


def greenlets() -> list[GreenletInfo]:
    """All greenlets of all threads that have not ended, and callbacks that wait. Hubs are left out.

    Finds them among the garbage collector's objects: meant for diagnosis, not for a hot path.
    """
    found, _ = some_greenlets(sys.maxsize)
    return sorted(found, key=lambda info: (info.hub, info.state, info.name))


def some_greenlets(most: int) -> tuple[list[GreenletInfo], float]:
    """As :func:`greenlets`, but of ``most`` of them at most, taken by chance, and not sorted.

    :returns: what was found, and for how many greenlets each of them stands.
    """
    things = instances(greenlet, Waiter)
    items = [item for item in things if not issubclass(type(item), Waiter)]
    factor = 1.0
    if len(items) > most:
        factor = len(items) / most
        items = _random.sample(items, most)
    chosen = set(map(id, items))
    waiters = [item for item in things if issubclass(type(item), Waiter) and id(_greenlet_of(item)) in chosen]
    things.clear()
    look = _Look(whole_hubs(), waiters)
    return [info for item in _taken(items) if (info := look.at(item)) is not None], factor


_random = Random()  # of its own: the program's has an order that nobody must change


def _taken(items: list[Any]) -> Iterator[Any]:
    """The items, held no longer than they are looked at: another thread may end and drop any of them meanwhile."""
    items.reverse()
    while items:
        yield items.pop()


class _Look:
    """What is the same for all greenlets that are looked at in one go."""

    def __init__(self, all_hubs: list[Hub], waiters: list[Waiter]) -> None:
        self._queued = {id(owner) for hub in all_hubs for owner in _queued(hub)}
        self._frameless = {id(owner): wait for owner, *wait in (*_reads(all_hubs), *_handed_waits(_taken(waiters)))}
        self._known = {
            id(item) for hub in all_hubs for item in hub.helpers() if not (isinstance(item, Runner) and item.parked)
        }
        self._hubs = {id(hub.main): hub for hub in all_hubs if hasattr(hub, "main")}
        self._names = {id(hub): hub_name(hub) for hub in all_hubs}
        self._me = getcurrent()
        # Code of the program, such as its reprs, is left alone in a thread that is none of the program's.
        self._shown = name_of if get_hub_if_exists() is not None else careful_name_of

    def at(self, item: greenlet) -> GreenletInfo | None:
        """What ``item`` does; None: it has ended, or has nothing to do with hubbub."""
        if id(item) in self._known:
            return None
        try:
            info = self._describe(item)
            wait = self._frameless.get(id(item))
            return info if info is None or wait is None else self._completed(info, *wait)
        except Exception as error:  # half made, half torn down, or changed by another thread meanwhile
            return _blank(item, f"not to be described: {type(error).__name__}")

    def _describe(self, item: greenlet) -> GreenletInfo | None:
        if isinstance(item, Greenlet) and not hasattr(item, "_state"):
            return _half_made(item)
        if item.dead:
            return None
        hub = self._hub_of(item)
        frame, running = self._frame_of(item, hub)
        if frame is None and not running and not isinstance(item, Greenlet):
            return None  # a raw greenlet that never ran
        if running and hub is None:
            return None  # of a thread without a hub
        state = self._state(item, frame, running)
        outer, user = split(frame)
        if state == "waiting" and outer is None:
            state = "suspended" if frame is not None else "new"
        waits_in = outer if state == "waiting" else None
        return self._composed(item, hub, state, frame, waits_in, user)

    def _composed(
        self,
        item: greenlet,
        hub: Hub | None,
        state: str,
        frame: FrameType | None,
        waits_in: FrameType | None,
        user: FrameType | None,
    ) -> GreenletInfo:
        site = getattr(item, "__dict__", {}).get("_hubbub_spawn", ((), None))
        group = getattr(item, "_group", None)
        group = group if isinstance(group, TaskGroup) else None
        owner = _spawner_of(item) or (group.scope._greenlet if group is not None else None)
        function, file, line = place_of(user) if user is not None else (None, None, None)
        return GreenletInfo(
            name=name_of_greenlet(item),
            state=state,
            hub=self._names.get(id(hub)) or hub_name(hub),
            waits_for=self._wait_of(waits_in) if waits_in is not None else None,
            operation=waits_in.f_code.co_qualname if waits_in is not None else None,
            seconds=waited(frame) if state == "waiting" else None,
            function=function,
            file=file,
            line=line,
            stack=stack_of(frame),
            spawned_by=site[1] or (name_of_greenlet(owner) if owner is not None else None),
            spawned_at=site[0],
            ident=id(item),
            age=_age(item),
            runs=_function_of(item),
            group=f"{type(group).__name__} {id(group):#x}" if group is not None else None,
            held_by=_holders(waits_in, item) if waits_in is not None else (),
            parent=id(owner) if owner is not None else None,
        )

    def _hub_of(self, item: greenlet) -> Hub | None:
        if isinstance(item, Runner):
            return item.hub
        while (parent := item.parent) is not None:
            if isinstance(parent, Hub):
                return parent
            item = parent
        return self._hubs.get(id(item))

    def _frame_of(self, item: greenlet, hub: Hub | None) -> tuple[FrameType | None, bool]:
        """The innermost frame of ``item``, and whether it runs now, in its thread."""
        if item is self._me:
            return split(sys._getframe())[1], True
        frame = item.gr_frame
        if frame is not None or not _is_active(item):
            return frame, False
        return (frame_of(hub.thread_ident) if hub is not None else None), True

    def _state(self, item: greenlet, frame: FrameType | None, running: bool) -> str:
        if running:
            return "running"
        if id(item) in self._queued:
            return "ready"
        unborn = frame is None and isinstance(item, Greenlet) and not item.started
        return "new" if unborn else "waiting"

    def _wait_of(self, outer: FrameType) -> str:
        subject = subject_of(outer)
        if subject is not None:
            return self._shown(subject)
        return ", ".join(f"{name}={self._shown(value)}" for name, value in arguments_of(outer).items())

    def _completed(self, info: GreenletInfo, operation: str, subject: Any, since: float) -> GreenletInfo:
        """``info`` with what the frames did not tell. If they told the operation, it stays: it is the outermost one."""
        seconds = max(monotonic() - since, 0.0)
        held_by = info.held_by or tuple(_holders_of(subject))
        # A wait in C that cannot go on there is continued in Python.
        if info.state == "waiting" and not (info.operation or "").startswith("Waiter."):
            return replace(info, seconds=seconds, held_by=held_by)
        if info.state not in ("waiting", "suspended"):
            return info
        shown = self._shown(subject)
        return replace(info, state="waiting", operation=operation, waits_for=shown, seconds=seconds, held_by=held_by)


def _queued(hub: Hub) -> Iterable[Any]:
    for callback in snapshot(lambda: hub.loop.ready):
        owner = _greenlet_of(callback) if type(callback) is Waiter else bound_to(callback)
        if issubclass(type(owner), greenlet):
            yield owner


def bound_to(callback: Any) -> Any:
    """The object of a bound method; None: it is something else, whose attributes may be code of the program's."""
    return callback.__self__ if type(callback) in (BuiltinMethodType, MethodType) else None


def _greenlet_of(waiter: Waiter) -> Any:
    # The collector takes waiters in garbage apart: this one may have lost its attributes already.
    owner = getattr(waiter, "greenlet", None)
    return owner.runner if type(owner) is Seat else owner


# Waits done in C leave no frame of hubbub's: (greenlet, operation, object it waits for, since when).


def _reads(all_hubs: Iterable[Hub]) -> Iterator[tuple[Any, str, Any, float]]:
    for hub in all_hubs:
        for handle in list(hub.loop.handles.values()):
            direction = handle.read
            if direction.user is not None:
                for waiter in (direction.waiter, *(direction.others or ())):
                    yield bound_to(waiter), "Socket.recv", direction.user, direction.since


def _handed_waits(waiters: Iterable[Waiter]) -> Iterator[tuple[Any, str, Any, float]]:
    for item in waiters:
        if getattr(item, "user", None) is not None and not getattr(item, "done", True):
            yield _greenlet_of(item), _operation_in_c(item), item.user, item.since


def _operation_in_c(waiter: Waiter) -> str:
    user = waiter.user
    known = (
        (Semaphore, "Semaphore.acquire"),
        (Latch, f"{type(user).__name__}.acquire"),
        (SimpleQueue, "SimpleQueue.put" if waiter in getattr(user, "_putters", ()) else "SimpleQueue.get"),
        (Event, "Event.wait"),
        (AsyncResult, "AsyncResult.get"),
    )
    return next((operation for kind, operation in known if issubclass(type(user), kind)), type(user).__name__)


def _half_made(item: Greenlet) -> GreenletInfo | None:
    # Its constructor has failed, or the collector has begun to take it apart.
    return None if gc.is_finalized(item) else _blank(item, "half made")


def _blank(item: greenlet, state: str) -> GreenletInfo:
    name = f"{type(item).__name__} {id(item):#x}"
    return GreenletInfo(name, state, "none", None, None, None, None, None, None, (), None, (), id(item))


def whole_hubs() -> list[Hub]:
    """The hubs of all threads, without those that are half made or half torn down."""
    return [hub for hub in hubs() if hub.__dict__.keys() >= _WHOLE]


_WHOLE = {"loop", "main", "name", "thread_ident"}


def hub_name(hub: Hub | None) -> str:
    """The name of a hub for people."""
    if hub is None:
        return "none"
    return text_of(hub.name or f"thread {hub.thread_ident:#x}") + (" (destroyed)" if hub.destroyed else "")


def name_of_greenlet(item: greenlet) -> str:
    """The name of a greenlet for people."""
    if isinstance(item, Greenlet):
        return text_of(item.name)
    if isinstance(item, Runner):
        return f"callback of {hub_name(item.hub)}"
    return "main" if item.parent is None else f"{type(item).__name__} {id(item):#x}"


def _spawner_of(item: greenlet) -> greenlet | None:
    spawner: Callable[[], greenlet | None] | None = getattr(item, "__dict__", {}).get("_hubbub_spawner")
    return spawner() if spawner is not None else None


def _age(item: greenlet) -> float | None:
    return max(monotonic() - item.made, 0.0) if isinstance(item, Greenlet) else None


def _function_of(item: greenlet) -> str | None:
    function = getattr(item, "_run", None)
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else None


# Who a wait depends on ----------------------------------------------------------------------------------------------


def _holders(outer: FrameType, waiting: greenlet) -> tuple[int, ...]:
    subject = subject_of(outer)
    things = [subject] if subject is not None else list(arguments_of(outer).values())
    # In a method of its own a greenlet does not wait for itself.
    return tuple(ident for thing in things if thing is not waiting for ident in _holders_of(thing))


def _holders_of(thing: Any) -> Iterator[int]:
    """The idents of greenlets on which whoever waits for ``thing`` depends. No code of ``thing`` itself runs."""
    kind = type(thing)
    if issubclass(kind, Latch):
        holder = thing._holder.get(0)
        if type(holder) is float and holder:  # of a lock that any greenlet may release
            yield int(holder)
        elif isinstance(holder, greenlet):
            yield id(holder)
    elif issubclass(kind, Greenlet):
        yield id(thing)
    elif issubclass(kind, TaskGroup):
        yield from map(id, snapshot(lambda: thing._tasks))
    elif kind in (list, tuple, set, frozenset):  # what joinall and its kin are given
        yield from (id(item) for item in snapshot(lambda: thing) if issubclass(type(item), Greenlet))
