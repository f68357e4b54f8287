"""The ring of a hub's last events, for :mod:`hubbub.timeline`: this one in Python, or the one of hubbub-speed in C.

Both note the same. The end of one call of the run queue is the begin of the next, so a call costs one look at the
clock. Who was woken is seen afterwards, from what has come into the run queue meanwhile, so nothing that wakes has to
know. A ring holds texts and numbers, and keeps no greenlet alive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any, Protocol

from greenlet import greenlet

from hubbub._originals import monotonic
from hubbub._standin import Runner
from hubbub._twins import twin
from hubbub._waiter import Waiter
from hubbub.greenlet import Greenlet
from hubbub.loop.base import BaseLoop

__all__ = ["Entry", "EventLog", "make_log"]

Entry = tuple[str, float, float, int, str | None, int]
"""The fields of :class:`hubbub.timeline.Event`."""

_run_ready: Any = BaseLoop.run_ready  # the method in Python: no accelerator has been here yet
_is_active: Any = greenlet.__bool__  # "has begun and not ended", whatever a subclass says
_is_dead: Any = greenlet.dead.__get__


class EventLog(Protocol):
    """A ring of events, and what it takes to fill it."""

    def start(self, loop: BaseLoop, starter: int, /) -> None:
        """Note from now on what the loop does.

        :param starter: the number of the main greenlet, if it runs now; it may be that no turn has led to it; else 0.
        """

    def stop(self, loop: BaseLoop, /) -> None:
        """Note no more; the events stay."""

    def failed(self, ident: int, label: str, /) -> None:
        """Note an error."""

    def entries(self) -> list[Entry]:
        """The events, the oldest first."""


class _Logs:
    """Makes rings, by a method: only methods have twins."""

    __slots__ = ()

    @twin("eventlog.c")
    def make(self, loop: BaseLoop, size: int) -> EventLog:
        """See :func:`make_log`."""
        return _PythonLog(size)


_logs = _Logs()


def make_log(loop: BaseLoop, size: int) -> EventLog:
    """A ring for the last ``size`` events of ``loop``."""
    return _logs.make(loop, size)


class _PythonLog:
    """While it is on, the loop's queue is run by the loop's own method, which sees a queue that notes what it gives."""

    loop: Any

    def __init__(self, size: int) -> None:
        self._ring: deque[Entry] = deque(maxlen=size)
        self.began = 0.0
        """When the call or the poll began that is under way."""
        self.known = 0
        """How many calls of the run queue are older than that."""
        self._starter = 0

    def start(self, loop: Any, starter: int) -> None:
        self.loop, self._starter = loop, starter
        self.began, self.known = monotonic(), len(loop.ready)
        loop.run_ready = self._run_ready
        loop._expire = self._expire

    def stop(self, loop: Any) -> None:
        for name in ("run_ready", "_expire"):
            loop.__dict__.pop(name, None)

    def failed(self, ident: int, label: str) -> None:
        now = monotonic()
        self._ring.append(("error", now, now, ident, label, 0))

    def entries(self) -> list[Entry]:
        return list(self._ring.copy())  # in one step

    def _run_ready(self) -> None:
        now = monotonic()
        starter, self._starter = self._starter, 0
        self._note_queued("wake", now, starter)
        self._ring.append(("run" if starter else "poll", self.began, now, starter, None, 0))
        self.began = now
        watched = _Watched(self)
        _run_ready(watched)
        watched.note_end()

    def _expire(self) -> None:
        self._note_queued("wake", monotonic(), 0)
        type(self.loop)._expire(self.loop)
        self._note_queued("timer", self.loop.time, 0)

    def ended(self, callback: Callable[[], Any]) -> None:
        """A call of the run queue has returned."""
        now = monotonic()
        owner = _owner(callback)
        ident, label = (0, _name_of_function(callback)) if owner is None else (id(owner), _label(owner))
        self._starter = 0
        if len(self.loop.ready) > self.known:
            self._note_queued("wake", now, ident)
        self._ring.append(("run", self.began, now, ident, label, 0))
        self.began = now

    def _note_queued(self, kind: str, now: float, by: int) -> None:
        """Who has come into the run queue since the last call."""
        ready = self.loop.ready
        for place in range(max(self.known, 0), len(ready)):
            owner = _owner(ready[place])
            if owner is not None:
                fresh = not _is_active(owner) and not _is_dead(owner)
                self._ring.append(("spawn" if fresh else kind, now, now, id(owner), _label(owner), by))
        self.known = len(ready)


class _Watched:
    """A loop as its ``run_ready`` sees it, and the run queue of that loop. What it gives out is noted when the next is
    asked for."""

    def __init__(self, log: _PythonLog) -> None:
        self._log = log
        self._queue = log.loop.ready
        self._given: Callable[[], Any] | None = None
        self.ready = self
        self.turn_seconds = log.loop.turn_seconds
        self.call_failed = log.loop.call_failed

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __len__(self) -> int:
        return len(self._queue)

    def popleft(self) -> Callable[[], Any]:
        self.note_end()
        given: Callable[[], Any] = self._queue.popleft()
        self._log.known -= 1
        self._given = given
        return given

    def note_end(self) -> None:
        """The call that was given out last has ended."""
        if self._given is not None:
            self._log.ended(self._given)
            self._given = None

    @property
    def calls(self) -> int:
        count: int = self._log.loop.calls
        return count

    @calls.setter
    def calls(self, count: int) -> None:
        self._log.loop.calls = count

    @property
    def _break(self) -> bool:
        ends: bool = self._log.loop._break
        return ends


def _owner(callback: Any) -> Any:
    """The greenlet that a call of the run queue goes on with; None: it is the hub's own."""
    if type(callback) is Waiter:
        owner = callback.greenlet
    elif type(callback) is BuiltinMethodType and callback.__name__ == "switch":
        owner = callback.__self__
    else:
        return None
    if type(owner) is Greenlet:  # the usual case
        return owner
    return owner if isinstance(owner, greenlet) and not isinstance(owner, Runner) else None


def _label(owner: greenlet) -> str | None:
    """What a greenlet was named, or the function that it runs. No code of the program runs for it."""
    if type(owner) is not Greenlet and not isinstance(owner, Greenlet):
        return None
    try:
        own, function = owner._name, owner._run
    except AttributeError:  # half made
        own = function = None
    return _text(own) or _name_of_function(function) or _text(type(owner).__name__)


def _name_of_function(function: Any) -> str | None:
    if type(function) is MethodType:
        function = function.__func__
    return _text(function.__qualname__) if type(function) is FunctionType else None


def _text(name: Any) -> str | None:
    """Nothing but an exact str is kept: anything else might run code when it is dropped."""
    return name if type(name) is str else None
