"""The last moments of a hub: a ring of its events, and their picture for https://ui.perfetto.dev.

While a :class:`Recorder` is on, the hub runs its queue by a method that notes, for each greenlet, when it went on and
when it gave way, and which greenlets it woke meanwhile; besides spawns, timers, polls and errors. While none is on,
nothing is noted and nothing costs time. ``HUBBUB_TIMELINE=10000`` records from the start; reports (a deadlock's
LoopExit, :func:`hubbub.inspect.report`, that of a blocked hub) then end with the last events. ``hubbub timeline PID``
records from outside.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, ClassVar, NamedTuple

from greenlet import getcurrent, greenlet

from hubbub._current import hub_made
from hubbub._describe import name_of_greenlet
from hubbub._hublocal import HubLocal
from hubbub._identity import Reduce, refuse_copies
from hubbub._reports import text_of
from hubbub._standin import Seat
from hubbub._trace import as_trace
from hubbub._waiter import Waiter
from hubbub._weak import instances
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub, hubs
from hubbub.loop.base import SLICE, SLICES

__all__ = ["SIZE", "Event", "Recorder", "all_events", "last_events", "record_from_environment", "recorder_of"]

SIZE = 10_000
"""How many events a ring keeps by default."""
_MOST_WOKEN = 16
"""How many of the greenlets that one call wakes are noted."""


class Event(NamedTuple):
    """One event of a hub."""

    kind: str
    """``run`` (a greenlet goes on, until it gives way), ``wake`` (it is put into the run queue), ``spawn``, ``timer``
    (it is put into the run queue by a timer), ``poll`` (from the end of a turn's run queue to the next), ``error``."""
    began: float
    """Seconds, as of :func:`time.monotonic`."""
    ended: float
    """The same as ``began`` where nothing lasts."""
    ident: int
    """The number of the greenlet, as :attr:`hubbub.inspect.GreenletInfo.ident`; 0: the hub itself."""
    label: str | None
    """What the greenlet runs."""
    by: int
    """The number of the greenlet that woke or spawned it; 0: the hub."""


_variable: HubLocal[Recorder] = HubLocal("The recorder that is on.")


def recorder_of(hub: Hub) -> Recorder | None:
    """The recorder that is on for ``hub``."""
    return _variable.if_made(hub)


class Recorder:
    """Records the events of one hub in a ring. May be started and stopped from any thread.

    :param hub: by default that of this thread.
    :param size: how many events are kept.
    :raises ValueError: ``size`` is not more than 0.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, hub: Hub | None = None, size: int = SIZE) -> None:
        if not size > 0:
            raise ValueError(f"size must be more than 0 events, not {size!r}")
        self.hub: Hub = hub if hub is not None else get_hub()
        self._ring: deque[tuple[Any, ...]] = deque(maxlen=size)
        self._labels: dict[int, str | None] = {}
        self._spawn_hook: Any = None
        self._handler: Any = None
        self._wrapper: Any = None

    def start(self) -> None:
        """Begin to record.

        :raises RuntimeError: another recorder is on for this hub.
        """
        hub = self.hub
        if hub.locals.setdefault(_variable, self) is not self:
            raise RuntimeError(f"a recorder is on for {hub!r} already")
        loop: Any = hub.loop
        loop._expire = self._expiry(loop, type(loop)._expire.__get__(loop))
        loop.run_ready = self._runner(loop)
        self._handler, self._wrapper = hub.__dict__.get("handle_error"), self._reporter(hub.handle_error)
        hub.__dict__["handle_error"] = self._wrapper
        _listeners.append(self)
        _hook_spawns()

    def stop(self) -> None:
        """End recording; the events stay. Harmless a second time."""
        hub = self.hub
        if recorder_of(hub) is not self:
            return
        _variable.forget(hub)
        for name in ("run_ready", "_expire"):
            hub.loop.__dict__.pop(name, None)
        if hub.__dict__.get("handle_error") is self._wrapper:
            if self._handler is None:
                del hub.__dict__["handle_error"]
            else:
                hub.__dict__["handle_error"] = self._handler
        _listeners.remove(self)
        _hook_spawns()

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def events(self, last: int | None = None) -> list[Event]:
        """The events in the ring, or the ``last`` of them, the oldest first."""
        found = list(self._ring.copy())  # in one step
        names = {id(item): name_of_greenlet(item) for item in instances(Greenlet)} if found else {}
        chosen = found if last is None else found[-last:]
        return [Event._make((*entry[:4], entry[4] or names.get(entry[3]), entry[5])) for entry in chosen]

    def as_trace(self) -> dict[str, Any]:
        """The events in the trace format of Chrome and Perfetto, as values that JSON knows."""
        return as_trace([(self.hub.thread_ident, self.events())])

    # What takes the place of methods of the loop and the hub ----------------------------------------------------------

    def _runner(self, loop: Any) -> Callable[[], None]:
        """:meth:`hubbub.loop.base.BaseLoop.run_ready`, which notes what it calls."""
        put, labels, note_woken = self._ring.append, self._labels, self._note_woken
        polled = monotonic()

        def run_ready() -> None:
            nonlocal polled
            ready = loop.ready
            pop = ready.popleft
            now = monotonic()
            put(("poll", polled, now, 0, None, 0))
            limit = now + loop.turn_seconds
            for _ in range(SLICES):
                done = 0
                try:
                    for done in range(SLICE):  # noqa: B007  # it is used after the loop
                        if not ready or now > limit:
                            break
                        callback = pop()
                        left = len(ready)
                        began = now
                        callback()
                        now = monotonic()
                        ident = _ident_of(callback)
                        put(("run", began, now, ident, labels.get(ident), 0))
                        if len(ready) > left:
                            note_woken(ready, left, now, ident, "wake")
                    else:
                        done = SLICE
                except BaseException:
                    now = monotonic()
                    loop.handle_error(callback, *sys.exc_info())
                loop.calls += done
                polled = now
                if not ready or loop._break or now > limit:
                    return

        return run_ready

    def _note_woken(self, ready: Any, left: int, now: float, by: int, kind: str) -> None:
        for place in range(left, min(len(ready), left + _MOST_WOKEN)):
            try:
                ident = _ident_of(ready[place])
            except IndexError:
                return  # another thread runs this hub's queue no more
            self._ring.append((kind, now, now, ident, self._labels.get(ident), by))

    def _expiry(self, loop: Any, expire: Callable[[], None]) -> Callable[[], None]:
        def _expire() -> None:
            left = len(loop.ready)
            expire()
            if len(loop.ready) > left:
                self._note_woken(loop.ready, left, monotonic(), 0, "timer")

        return _expire

    def _reporter(self, handler: Callable[..., None]) -> Callable[..., None]:
        def handle_error(context: object, type: Any, value: Any, tb: Any) -> None:
            now = monotonic()
            name = getattr(type, "__name__", "an error")
            self._ring.append(("error", now, now, id(context), name, 0))
            handler(context, type, value, tb)

        return handle_error

    def spawned(self, new: Greenlet[Any]) -> None:
        """A greenlet of this hub was made."""
        ident, now = id(new), monotonic()
        label = self._labels[ident] = new._name or _function_of(new)
        self._ring.append(("spawn", now, now, ident, label, id(getcurrent())))


def _function_of(new: Greenlet[Any]) -> str:
    name = getattr(new._run, "__qualname__", None)
    return name if isinstance(name, str) else type(new).__name__


def _ident_of(callback: Any) -> int:
    if type(callback) is Waiter:
        owner = callback.greenlet
        return id(owner.runner if type(owner) is Seat else owner)
    try:
        owner = callback.__self__
    except AttributeError:
        return 0
    return id(owner) if isinstance(owner, greenlet) else 0


_listeners: list[Recorder] = []
_former_hook: list[Any] = []


def _hook_spawns() -> None:
    """Have spawns told while a recorder is on, and whoever was told before told still."""
    hook = Greenlet.spawn_hook
    if _listeners and hook is not _spawned:
        _former_hook[:] = [hook]
        Greenlet.spawn_hook = staticmethod(_spawned)
    elif not _listeners and hook is _spawned:
        Greenlet.spawn_hook = staticmethod(_former_hook[0]) if _former_hook[0] is not None else None


def _spawned(new: Greenlet[Any]) -> None:
    if _former_hook[0] is not None:
        _former_hook[0](new)
    for listener in _listeners:
        if new.parent is listener.hub:
            listener.spawned(new)


def last_events(hub: Hub, count: int = 20) -> list[str]:
    """The last events of a hub as text, the oldest first; none if no recorder is on."""
    recorder = recorder_of(hub)
    if recorder is None:
        return []
    events = recorder.events(count)
    end = monotonic()
    return [_line(event, end) for event in events]


def _line(event: Event, end: float) -> str:
    words = [f"{(event.began - end) * 1000:10.3f} ms  {event.kind:5}"]
    if event.kind != "poll":
        words.append(text_of(event.label or ("hub" if not event.ident else f"greenlet {event.ident:#x}")))
    if event.ended > event.began:
        words.append(f"for {(event.ended - event.began) * 1000:.3f} ms")
    return " ".join(words)


def all_events(recorders: Iterable[Recorder]) -> list[tuple[int, list[Event]]]:
    """The events of several hubs, each with its thread."""
    return [(recorder.hub.thread_ident, recorder.events()) for recorder in recorders]


def record_from_environment(size: str) -> None:
    """Record the events of every hub, as ``HUBBUB_TIMELINE`` asks for. What is no number is reported, and changes
    nothing else."""
    if not size.isdigit() or not int(size):
        sys.stderr.write(f"hubbub: HUBBUB_TIMELINE={size}: a number of events is needed\n")
        return

    def record(hub: Hub) -> None:
        Recorder(hub, int(size)).start()

    hub_made.append(record)
    for hub in hubs():
        record(hub)
