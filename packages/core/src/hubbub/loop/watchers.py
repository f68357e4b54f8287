"""The watcher objects that ``loop.io()``, ``loop.timer()`` ... return. See :class:`hubbub.abc.Watcher`.

An event queues the watcher on the run queue; its callback runs from there. ``stop`` and ``close`` are therefore safe
everywhere, also in the watcher's own callback, and no callback follows them.
"""

from __future__ import annotations

import os
import signal as _signal
from collections.abc import Callable
from functools import partial
from reprlib import recursive_repr
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import close as _os_close
from hubbub._originals import waitpid as _waitpid
from hubbub.abc import READ, WRITE

if TYPE_CHECKING:
    from hubbub.loop.base import BaseLoop
    from hubbub.loop.readiness import Readiness

__all__ = [
    "IO",
    "Async",
    "BaseWatcher",
    "Check",
    "Child",
    "Fork",
    "Idle",
    "Prepare",
    "Signal",
    "Stat",
    "Timer",
    "under_way",
]


class BaseWatcher:
    """What all watchers share: the callback, the flags and the way to the run queue."""

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    overlaps = False
    """Whether the callback may be called while it waits."""
    waits: bool = False
    """Whether the callback waits: for an event that comes meanwhile it is called again when it has ended."""
    missed: bool = False
    """Whether such an event has come."""

    def __init__(self, loop: BaseLoop, ref: bool = True, priority: int = 0) -> None:
        loop.check_alive()
        self.loop = loop
        self.callback: Callable[..., Any] | None = None
        self.args: tuple[Any, ...] | None = ()
        self.priority = priority
        self._ref = bool(ref)
        self._active = False
        self._held = False
        self._queued = False
        self._closed = False
        self._generation = loop.generation

    @recursive_repr()  # the callback may be a method of the watcher
    def __repr__(self) -> str:
        state = "closed" if self._closed else "active" if self.active else "stopped"
        pending = " pending" if self._queued else ""
        return f"<{type(self).__name__}{self._details()} {state}{pending} callback={self.callback!r}>"

    def _details(self) -> str:
        return ""

    def __enter__(self) -> BaseWatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def active(self) -> bool:
        """True between ``start`` and ``stop``. What was started in the parent process is not active in a child."""
        return self._active and self._generation == self.loop.generation

    @property
    def pending(self) -> bool:
        """True while an event has happened and the callback has not run yet."""
        return self._queued

    @property
    def ref(self) -> bool:
        """Whether the watcher, while active, keeps the loop from ending."""
        return self._ref

    @ref.setter
    def ref(self, value: bool) -> None:
        self._ref = bool(value)
        self._hold()

    def _hold(self) -> None:
        """Keep the loop from ending if the watcher is active and counts, and only then. Called after each change."""
        held = self._active and self._ref and self._generation == self.loop.generation
        if held is not self._held:
            self._held = held
            self.loop.refs += 1 if held else -1

    def start(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call ``callback(*args)`` at each event.

        :raises TypeError: ``callback`` is not callable.
        :raises ValueError: the watcher was closed.
        :raises InvalidThreadUseError: the loop belongs to another thread.
        """
        if not callable(callback):
            raise TypeError(f"the callback must be callable, not {callback!r}")
        if self._closed:
            raise ValueError(f"{self!r} was closed and cannot be started again")
        self.loop.check_alive()
        self.loop.check_thread()
        if self._generation != self.loop.generation:
            self._leave_parent()
        self.callback = callback
        self.args = args
        if not self._active:
            self._activate()
            self._active = True
            self._hold()

    def stop(self) -> None:
        """No more calls, not even for an event that has happened already."""
        if self._generation != self.loop.generation:
            self._leave_parent()
        if self._active:
            self._active = False
            self._hold()
            if not self.loop.destroyed:
                self._deactivate()
        self._unqueue()
        self.callback = None
        self.args = ()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._closed = True

    def _leave_parent(self) -> None:
        """In a child process, on first use: what was started in the parent counts as stopped."""
        self._generation = self.loop.generation
        self._active = False
        self._held = False
        self._queued = False
        self.waits = self.missed = False

    def _activate(self) -> None:
        raise TypeError(f"{type(self).__name__} cannot be started")

    def _deactivate(self) -> None:
        """Undo ``_activate``."""

    def feed(self, *_: Any) -> None:
        """Queue the callback as if an event had happened."""
        if self.waits:
            self._miss()
        elif not self._queued:
            self._queued = True
            self.loop.ready.append(self._run)

    def _miss(self) -> None:
        self.missed = True

    def callback_waits(self) -> None:
        """On the hub: the callback is under way, and is about to wait."""
        self.waits = True
        if self._queued:
            self._unqueue()
            self._miss()

    def callback_goes_on(self) -> None:
        """On the hub: undo :meth:`callback_waits`."""
        self.waits = False
        if self.missed:
            self.missed = False
            if self.active:
                self.feed()

    def _unqueue(self) -> None:
        if self._queued:
            self._queued = False
            self.loop.unschedule(self._run)

    def _run(self) -> None:
        self._queued = False
        callback = self.callback
        if callback is not None:
            args = self.args or ()
            try:
                callback(*args)
            except BaseException as error:
                self.loop.call_failed(self, callback, error, partial(callback, *args))


class IO(BaseWatcher):
    """Readiness of a file descriptor, level-triggered."""

    args: tuple[Any, ...] | None

    def __init__(self, loop: BaseLoop, fd: int, events: int, ref: bool = True, priority: int = 0) -> None:
        super().__init__(loop, ref, priority)
        if fd < 0:
            raise ValueError(f"a file descriptor is 0 or more, not {fd}")
        if not events or events & ~(READ | WRITE):
            raise ValueError(f"events must be READ ({READ}), WRITE ({WRITE}) or both, not {events!r}")
        self._fd = fd
        self._events = events
        self._handle: Readiness | None = None
        self._pass_events = False
        self._seen = 0

    def _details(self) -> str:
        return f" fd={self._fd} events={self.events_str}"

    @property
    def fd(self) -> int:
        """The descriptor; can be set while the watcher is stopped."""
        return self._fd

    @fd.setter
    def fd(self, value: int) -> None:
        self._must_be_stopped("fd")
        self._fd = value

    @property
    def events(self) -> int:
        """:data:`READ`, :data:`WRITE` or both; can be set while the watcher is stopped."""
        return self._events

    @events.setter
    def events(self, value: int) -> None:
        self._must_be_stopped("events")
        self._events = value

    @property
    def events_str(self) -> str:
        """The events in words."""
        return "|".join(word for bit, word in ((READ, "READ"), (WRITE, "WRITE")) if self._events & bit)

    def _must_be_stopped(self, name: str) -> None:
        if self._active:
            raise AttributeError(f"{name} of an active io watcher cannot be changed; stop it first")

    def start(self, callback: Callable[..., Any], *args: Any, pass_events: bool = False) -> None:
        """As :meth:`BaseWatcher.start`; with ``pass_events`` the event mask becomes the first argument."""
        self._pass_events = pass_events
        super().start(callback, *args)

    def _activate(self) -> None:
        handle = self.loop.handle(self._fd)
        handle.join(self, level=True)
        self._handle = handle

    def _deactivate(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.leave(self)

    def _leave_parent(self) -> None:
        super()._leave_parent()
        self._handle = None
        self._seen = 0

    def descriptor_closed(self) -> None:
        """The descriptor is going away: one last call, so that the callback meets the error itself."""
        self._handle = None
        self.fired(self._events)

    def fired(self, events: int) -> None:
        """The backend reported ``events``."""
        self._seen |= events & self._events
        self.feed()

    def _miss(self) -> None:
        if not self.missed:
            self.missed = True
            self._deactivate()  # no more reports: they would come in every turn

    def callback_goes_on(self) -> None:
        """See :meth:`BaseWatcher.callback_goes_on`."""
        missed = self.missed
        super().callback_goes_on()
        if missed and self.active and not self.loop.destroyed:
            try:
                self._activate()
            except OSError:
                pass  # the descriptor was closed: the callback, which is called now, meets the error itself

    def _run(self) -> None:
        if self._pass_events and self.callback is not None:
            args, seen = self.args or (), self._seen
            self._seen = 0
            self.args = (seen, *args)
            try:
                super()._run()
            finally:
                if self.callback is not None:
                    self.args = args
        else:
            self._seen = 0
            super()._run()


class Timer(BaseWatcher):
    """A point in time, once or again and again. A one-shot timer stops itself when it fires."""

    callback: Callable[..., Any] | None
    args: tuple[Any, ...] | None
    missed: bool

    def __init__(
        self, loop: BaseLoop, after: float = 0.0, repeat: float = 0.0, ref: bool = True, priority: int = 0
    ) -> None:
        if after != after or repeat != repeat:
            raise ValueError("a time in seconds cannot be NaN")
        if repeat < 0:
            raise ValueError(f"repeat must be 0 or more seconds, not {repeat!r}")
        super().__init__(loop, ref, priority)
        self.after: float = after
        self.repeat = repeat
        self.at: float = 0.0
        """When it fires next: seconds on the loop's clock."""
        self._key: Any = None
        self._fire: Callable[[], None] = self._fired

    def _details(self) -> str:
        return f" after={self.after} repeat={self.repeat}"

    @property
    def pending(self) -> bool:
        """True while the time has come and the callback has not run yet."""
        return self.active and self._fire in self.loop.ready

    def _hold(self) -> None:
        """The timer in the heap counts by itself, while it runs: tell it whether to."""
        if self._key is not None:
            self.loop.ref_timer(self._key, self._ref)

    def start(self, callback: Callable[..., Any], *args: Any, update: bool | None = None) -> None:
        """As :meth:`BaseWatcher.start`; a running timer starts over. ``update`` is ignored: it always is."""
        if self._active:
            self.stop()
        super().start(callback, *args)

    def again(self, callback: Callable[..., Any], *args: Any, update: bool | None = None) -> None:
        """Start over with ``repeat`` seconds as the first delay too; a timer that does not repeat just stops."""
        self.stop()
        if self.repeat:
            after, self.after = self.after, self.repeat
            try:
                super().start(callback, *args)
            finally:
                self.after = after

    def _leave_parent(self) -> None:
        super()._leave_parent()
        self._key = None

    def _activate(self) -> None:
        after = max(self.after, 0.0)
        self._key = self.loop.call_later(after, self._fire, self.repeat, self._ref)
        self.at = self.loop.update_now() + after

    def _deactivate(self) -> None:
        key, self._key = self._key, None
        self.loop.cancel_later(key, self._fire)

    def callback_goes_on(self) -> None:
        """See :meth:`BaseWatcher.callback_goes_on`."""
        self.waits = False
        if self.missed:
            self.missed = False
            if self._key is not None:
                self.loop.ready.append(self._fire)

    def _fired(self) -> None:
        if self.waits:
            self.missed = True
            return
        callback, args = self.callback, self.args or ()
        if self.repeat:
            self.at += self.repeat
        else:
            self._active = False
            self._key = None
            self.callback, self.args = None, ()
        if callback is not None:
            try:
                callback(*args)
            except BaseException as error:
                self.loop.call_failed(self, callback, error, partial(callback, *args))


class Async(BaseWatcher):
    """A wake-up that any thread may send. Several sends before the callback runs count as one."""

    def _activate(self) -> None:
        """Nothing to do: ``send`` is all there is."""

    def send(self) -> None:
        """Run the callback on the loop's own thread, soon. From any thread."""
        if self.waits:
            self.missed = True
        elif self.active and not self._queued:
            self._queued = True
            self.loop.ready.append(self._run)
            self.loop.wake()

    def send_ignoring_arg(self, _ignored: Any) -> None:
        """:meth:`send`, as a link target."""
        self.send()


class _Phase(BaseWatcher):
    """A watcher that is called in a phase of every turn."""

    def _members(self) -> list[Any]:
        raise NotImplementedError(f"{type(self).__name__} must say which list of the loop it joins")

    def _activate(self) -> None:
        members = self._members()
        members.append(self)
        members.sort(key=lambda watcher: -watcher.priority)

    def _deactivate(self) -> None:
        self._members().remove(self)

    def feed(self, *_: Any) -> None:
        """Call back now: the phases call user code directly. Not while an earlier call waits."""
        if not self.waits:
            self._run()


class Prepare(_Phase):
    """Called before the loop polls."""

    def _members(self) -> list[Any]:
        return self.loop.prepares


class Check(_Phase):
    """Called after the loop polled."""

    def _members(self) -> list[Any]:
        return self.loop.checks


class Idle(_Phase):
    """Called in turns that found nothing else to do; of several, only those of the highest priority."""

    def _members(self) -> list[Any]:
        return self.loop.idles


class Fork(_Phase):
    """Called in the child after a fork."""

    def _members(self) -> list[Any]:
        return self.loop.forks

    def restart(self) -> None:
        """In the child: go on, as no other kind of watcher does."""
        callback, args = self.callback, self.args or ()
        if callback is not None:
            self.start(callback, *args)


class Signal(BaseWatcher):
    """A signal (:manpage:`signal(7)`), through Python's own handlers. Only on a loop of the main thread."""

    def __init__(self, loop: BaseLoop, signalnum: int, ref: bool = True, priority: int = 0) -> None:
        super().__init__(loop, ref, priority)
        if not 1 <= signalnum < _signal.NSIG:
            raise ValueError(f"a signal number is from 1 to {_signal.NSIG - 1}, not {signalnum!r}")
        self.signalnum = signalnum

    def _details(self) -> str:
        return f" signal={self.signalnum}"

    def _activate(self) -> None:
        self.loop.signals.add(self.signalnum, self)

    def _deactivate(self) -> None:
        self.loop.signals.remove(self.signalnum, self)


class Child(BaseWatcher):
    """The end of a child process. ``rpid`` and ``rstatus`` are what :func:`os.waitpid` returned.

    By a process descriptor where there is one (Linux 5.3), on any thread and loop; else by SIGCHLD, main thread only.
    A child that other code has reaped counts as ended, with status 255 << 8.
    """

    def __init__(self, loop: BaseLoop, pid: int, trace: int = 0, ref: bool = True) -> None:
        super().__init__(loop, ref)
        if pid <= 0:
            raise ValueError(f"a process id is 1 or more, not {pid!r}")
        self.pid = pid
        self.rpid: int = 0
        self.rstatus: int = 0
        self._watcher: BaseWatcher | None = None
        self._pidfd = -1

    def _details(self) -> str:
        return f" pid={self.pid}"

    def _activate(self) -> None:
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(self.pid)
            except ProcessLookupError:
                self._ended(self.pid, 255 << 8)
                return
            self._watcher = IO(self.loop, self._pidfd, READ, ref=False)
        else:  # untested here: every machine tried has pidfd_open
            self._watcher = Signal(self.loop, _signal.SIGCHLD, ref=False)
            self.loop.run_callback(self._look)
        self._watcher.start(self._look)

    def _deactivate(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            self.loop.descriptor_closing(pidfd)
            _os_close(pidfd)

    def _leave_parent(self) -> None:
        super()._leave_parent()
        self._deactivate()  # the descriptor was inherited

    def _look(self) -> None:
        if self._watcher is None:
            return
        try:
            pid, status = _waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 255 << 8
        if pid:
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        self.rpid, self.rstatus = pid, status
        self._deactivate()
        self.feed()


class Stat(BaseWatcher):
    """Changes of a path's status, seen every ``interval`` seconds. ``attr`` and ``prev``: os.stat_result or None."""

    def __init__(
        self, loop: BaseLoop, path: str | bytes, interval: float = 0.0, ref: bool = True, priority: int = 0
    ) -> None:
        super().__init__(loop, ref, priority)
        self.path: str | bytes = os.fspath(path)
        self.interval: float = interval if interval > 0 else 5.0
        self.attr: os.stat_result | None = None
        self.prev: os.stat_result | None = None
        self._timer: Timer | None = None

    def _details(self) -> str:
        return f" path={self.path!r}"

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)
        except OSError:
            return None

    def _activate(self) -> None:
        self.attr = self.prev = self._status()
        self._timer = Timer(self.loop, self.interval, self.interval, ref=False)
        self._timer.start(self._look)

    def _deactivate(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _leave_parent(self) -> None:
        super()._leave_parent()
        self._timer = None

    def _look(self) -> None:
        status = self._status()
        if _identity(status) != _identity(self.attr):
            self.prev, self.attr = self.attr, status
            self.feed()


def _identity(status: os.stat_result | None) -> tuple[float, ...] | None:
    """What makes a change: all but the time of the last access."""
    if status is None:
        return None
    return (status.st_ino, status.st_dev, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


_CALLS_BACK = (BaseWatcher._run.__code__, Timer._fired.__code__)


def under_way(frame: FrameType | None) -> list[BaseWatcher]:
    """The watchers whose callbacks are among the callers of ``frame``, without those that wait already."""
    found = []
    while frame is not None:
        if frame.f_code in _CALLS_BACK:
            watcher = frame.f_locals["self"]
            if not watcher.waits and not watcher.overlaps:
                found.append(watcher)
        frame = frame.f_back
    return found
