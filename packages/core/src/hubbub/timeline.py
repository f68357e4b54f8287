"""The last moments of a hub: a ring of its events, and their picture for https://ui.perfetto.dev.

While a :class:`Recorder` is on, the hub notes for each greenlet when it went on and when it gave way, and which
greenlets it woke and spawned meanwhile; besides timers, polls and errors. With hubbub-speed an event costs some tens of
nanoseconds, and while no recorder is on next to nothing. Without it an event costs more than ten times as much, nothing
is paid while none is on, and one begins and ends with a turn of the loop.

``HUBBUB_TIMELINE=10000`` records from the start; reports (a deadlock's LoopExit, :func:`hubbub.inspect.report`, that of
a blocked hub) then end with the last events. ``hubbub timeline PID`` records from outside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from operator import index
from typing import Any, ClassVar, NamedTuple

from greenlet import getcurrent

from hubbub._current import hub_made
from hubbub._eventlog import make_log
from hubbub._hublocal import HubLocal
from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import monotonic
from hubbub._reports import text_of
from hubbub._trace import as_trace
from hubbub.hub import Hub, get_hub, hubs

__all__ = ["SIZE", "Event", "Recorder", "all_events", "last_events", "record_from_environment", "recorder_of"]

SIZE = 10_000
"""How many events a ring keeps by default."""
_LARGEST = 10_000_000
"""How many it may keep: with hubbub-speed that is half a gigabyte."""


class Event(NamedTuple):
    """One event of a hub."""

    kind: str
    """``run`` (a greenlet goes on, until it gives way), ``spawn`` (it is put into the run queue for the first time),
    ``wake`` (it is put there again), ``timer`` (the same by a timer), ``poll`` (from the end of a turn's run queue to
    the next), ``error``."""
    began: float
    """Seconds, as of :func:`time.monotonic`. Of what is put into the run queue: when the call ended that did it."""
    ended: float
    """The same as ``began`` where nothing lasts."""
    ident: int
    """The number of the greenlet, as :attr:`hubbub.inspect.GreenletInfo.ident`; 0: the hub itself."""
    label: str | None
    """What the greenlet was named, or the function that it runs; of the hub, the callback. Of an error, its class."""
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
    :raises ValueError: ``size`` is less than 1 or more than 10,000,000.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, hub: Hub | None = None, size: int = SIZE) -> None:
        size = index(size)
        if not 0 < size <= _LARGEST:
            raise ValueError(f"size must be from 1 to {_LARGEST} events, not {size}")
        self.hub: Hub = hub if hub is not None else get_hub()
        self._log = make_log(self.hub.loop, size)
        self._handler: Any = None
        self._wrapper: Any = None

    def start(self) -> None:
        """Begin to record.

        :raises RuntimeError: another recorder is on for this hub.
        """
        hub = self.hub
        if hub.locals.setdefault(_variable, self) is not self:
            raise RuntimeError(f"a recorder is on for {hub!r} already")
        self._log.start(hub.loop, id(hub.main) if getcurrent() is hub.main else 0)
        self._handler, self._wrapper = hub.__dict__.get("handle_error"), self._reporter(hub.handle_error)
        hub.__dict__["handle_error"] = self._wrapper

    def stop(self) -> None:
        """End recording; the events stay. Harmless a second time."""
        hub = self.hub
        if recorder_of(hub) is not self:
            return
        _variable.forget(hub)
        self._log.stop(hub.loop)
        if hub.__dict__.get("handle_error") is self._wrapper:
            if self._handler is None:
                del hub.__dict__["handle_error"]
            else:
                hub.__dict__["handle_error"] = self._handler

    def __enter__(self) -> Recorder:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def events(self, last: int | None = None) -> list[Event]:
        """The events in the ring, or the ``last`` of them, the oldest first."""
        found = self._log.entries()
        main = id(self.hub.main)
        chosen = map(Event._make, found if last is None else found[-last:])
        return [
            event._replace(label="main") if event.ident == main and event.label is None else event for event in chosen
        ]

    def as_trace(self) -> dict[str, Any]:
        """The events in the trace format of Chrome and Perfetto, as values that JSON knows."""
        return as_trace([(self.hub.thread_ident, self.events())])

    def _reporter(self, handler: Callable[..., None]) -> Callable[..., None]:
        def handle_error(context: object, type: Any, value: Any, tb: Any) -> None:
            self._log.failed(id(context), getattr(type, "__name__", "an error"))
            handler(context, type, value, tb)

        return handle_error


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
    if not size.isdecimal() or len(size) > 8 or not 0 < int(size) <= _LARGEST:
        sys.stderr.write(f"hubbub: HUBBUB_TIMELINE={size}: a number of events is needed, at most {_LARGEST}\n")
        return

    def record(hub: Hub) -> None:
        Recorder(hub, int(size)).start()

    hub_made.append(record)
    for hub in hubs():
        record(hub)
