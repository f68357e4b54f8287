"""What all loops share: the turn, the run queue, timers' callbacks, watchers, fork. See :mod:`hubbub.abc`."""

from __future__ import annotations

import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from types import TracebackType
from typing import Any

from greenlet import getcurrent, greenlet

from hubbub.abc import READ, WRITE, Loop
from hubbub.exceptions import LoopDestroyed
from hubbub.loop import watchers
from hubbub.loop._signals import SignalTable, WakeupDescriptor
from hubbub.loop.readiness import Direction, Readiness

__all__ = ["BaseLoop", "ScheduledCall"]

_SLICE = 16
_SLICES = 8


class ScheduledCall:
    """What ``run_callback`` returns: true until it has run or was stopped."""

    __slots__ = ("_loop", "args", "callback")

    def __init__(self, loop: BaseLoop, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._loop = loop
        self.callback: Callable[..., Any] | None = callback
        self.args: tuple[Any, ...] | None = args

    def __call__(self) -> None:
        callback, args = self.callback, self.args
        self.callback = self.args = None
        if callback is not None and args is not None:
            try:
                callback(*args)
            except BaseException:
                self._loop.handle_error(callback, *sys.exc_info())

    def __bool__(self) -> bool:
        return self.args is not None

    def __repr__(self) -> str:
        state = f"callback={self.callback!r} args={self.args!r}" if self else "stopped"
        return f"<{type(self).__name__} {state}>"

    @property
    def pending(self) -> bool:
        """True until the call has begun or was stopped."""
        return self.callback is not None

    def stop(self) -> None:
        """Never call it."""
        self.callback = self.args = None

    close = stop


class BaseLoop(Loop):
    """The policy half of a loop. Backends subclass it and fill in the rest of :class:`hubbub.abc.Loop`."""

    MINPRI = -2
    MAXPRI = 2
    turn_seconds = 0.005
    """How long one turn's run queue may keep the loop from polling."""

    def __init__(self, default: bool = False) -> None:
        self.default = default
        self.destroyed = False
        self.hub: greenlet = getcurrent()
        self.error_handler: Any = None
        self.iteration = 0
        self._running = 0
        self._break = False
        self._reset()
        self._open()
        self._open_signals()

    def _reset(self) -> None:
        self.ready: deque[Callable[[], Any]] = deque()
        self.due: Sequence[int] = ()
        self.handles: dict[int, Readiness] = {}
        self.refs = 0
        """How many active watchers, timers apart, keep the loop from ending."""
        self.prepares: list[watchers.Prepare] = []
        self.checks: list[watchers.Check] = []
        self.idles: list[watchers.Idle] = []
        self.forks: list[watchers.Fork] = []
        self.signals = SignalTable()
        self._timers: list[Callable[[], Any] | None] = []
        self._repeating: set[int] = set()
        self._unref: set[int] = set()
        self._free: list[int] = []
        self._witness: Direction | None = None

    def _open_signals(self) -> None:
        self._signal_reader, self._signal_writer = socket.socketpair()
        self._signal_reader.setblocking(False)
        self._signal_writer.setblocking(False)
        self._wakeup = WakeupDescriptor(self._signal_writer.fileno())
        self._wakeup.install()
        watcher = watchers.IO(self, self._signal_reader.fileno(), READ, ref=False)
        watcher.start(self._drain_signals)

    def _drain_signals(self) -> None:
        try:
            while len(self._signal_reader.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def __repr__(self) -> str:
        state = "destroyed" if self.destroyed else "running" if self._running else "idle"
        return f"<{type(self).__name__} at {id(self):#x} {state} {self._census()}>"

    def _census(self) -> str:
        return f"ready={len(self.ready)} timers={self._timer_count()} descriptors={len(self.handles)} refs={self.refs}"

    def check_alive(self) -> None:
        """:raises LoopDestroyed: the loop is gone."""
        if self.destroyed:
            raise LoopDestroyed(f"{self!r} was destroyed")

    # The turn -------------------------------------------------------------------------------------------------------

    def run(self, nowait: bool = False, once: bool = False) -> None:
        """Turn until nothing is left to wait for.

        :param nowait: one turn that does not wait.
        :param once: one turn, that may wait.
        :raises LoopDestroyed: the loop is gone.
        """
        self.check_alive()
        self._break = False
        self._running += 1
        try:
            while not self._break:
                if not self._turn(nowait) or nowait or once:
                    break
        finally:
            self._running -= 1

    def break_(self, how: int = 0) -> None:
        """End :meth:`run` after the current turn."""
        self._break = True
        self.wake()

    def _turn(self, nowait: bool = False) -> bool:
        """The phases described in :mod:`hubbub.abc`. False when nothing is left. One function: it is the hottest."""
        ready = self.ready
        self.iteration += 1
        if ready:
            self._run_ready(ready)
            if self.destroyed or self._break:
                return False
        if self.prepares:
            self._call_phase(self.prepares)
        block = not (ready or nowait or self.idles)
        if block and not self._alive():
            return False
        handles = self.handles
        read_bits, write_bits, sticky_bits = self.READ_BITS, self.WRITE_BITS, self.STICKY_BITS
        try:
            events = self.poll(block)
        except OSError:
            raise
        except BaseException:  # from a signal handler of Python
            self.handle_error(None, *sys.exc_info())
            return True
        for fd, bits in events:
            handle = handles.get(fd)
            if handle is None:
                self.forget(fd)
                continue
            if bits & sticky_bits:
                handle.sticky = True
            if handle.watchers is not None:
                self._fire_watchers(handle, bits)
            if bits & read_bits:
                direction = handle.read
                waiter = direction.waiter
                if waiter is None or direction.others is not None:
                    direction.fire()
                else:
                    direction.waiter = None
                    ready.append(waiter)
            if bits & write_bits:
                handle.write.fire()
        if self.due:
            self._fire_timers(ready)
        if self.checks:
            self._call_phase(self.checks)
        if self.idles and not ready:
            highest = self.idles[0].priority
            self._call_phase([idle for idle in self.idles if idle.priority == highest])
        return True

    def _run_ready(self, ready: deque[Callable[[], Any]]) -> None:
        """Phase 1. The count and the time keep a chatty greenlet from starving I/O."""
        pop = ready.popleft
        limit = 0.0
        for _ in range(_SLICES):
            try:
                for _ in range(_SLICE):
                    if not ready:
                        return
                    callback = pop()
                    callback()
            except BaseException:
                self.handle_error(callback, *sys.exc_info())
            if self._break or self.destroyed:
                return
            time = monotonic()
            if not limit:
                limit = time + self.turn_seconds
            elif time > limit:
                return

    def _call_phase(self, members: Sequence[watchers.BaseWatcher]) -> None:
        for watcher in list(members):
            watcher.feed()

    def _fire_watchers(self, handle: Readiness, bits: int) -> None:
        events = (READ if bits & self.READ_BITS else 0) | (WRITE if bits & self.WRITE_BITS else 0)
        for watcher in handle.watchers or ():
            if watcher.events & events:
                watcher.fired(events)

    def _fire_timers(self, ready: deque[Callable[[], Any]]) -> None:
        timers, free = self._timers, self._free
        for key in self.due:
            callback = timers[key]
            if callback is None:
                continue
            ready.append(callback)
            if key not in self._repeating:
                timers[key] = None
                free.append(key)
                if self._unref:
                    self._unref.discard(key)
        self.due = ()

    def _alive(self) -> bool:
        """Whether anything that counts is waited for.

        Descriptors stay registered when nobody waits, so they are asked; the last one found waiting is asked first,
        which makes it one look in nearly every turn.
        """
        if self.refs > 0 or self._timer_count() > len(self._unref):
            return True
        witness = self._witness
        if witness is not None and witness.waiter is not None:
            return True
        for handle in self.handles.values():
            for direction in (handle.read, handle.write):
                if direction.waiter is not None:
                    self._witness = direction
                    return True
        self._witness = None
        return False

    # The run queue --------------------------------------------------------------------------------------------------

    def run_callback(self, callback: Callable[..., Any], *args: Any) -> ScheduledCall:
        """Call ``callback(*args)`` on the hub, after what is queued already. Only from the loop's own thread.

        :raises TypeError: ``callback`` is not callable.
        """
        call = self._scheduled(callback, args)
        self.ready.append(call)
        return call

    def run_callback_threadsafe(self, callback: Callable[..., Any], *args: Any) -> ScheduledCall:
        """The same from any thread, a signal handler or a destructor."""
        call = self._scheduled(callback, args)
        self.ready.append(call)
        self.wake()
        return call

    def _scheduled(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> ScheduledCall:
        if not callable(callback):
            raise TypeError(f"the callback must be callable, not {callback!r}")
        self.check_alive()
        return ScheduledCall(self, callback, args)

    def unschedule(self, callback: Callable[[], Any]) -> None:
        """Take ``callback`` out of the run queue, if it is there."""
        try:
            self.ready.remove(callback)
        except ValueError:
            pass

    def handle_error(
        self,
        context: object,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Somebody's code failed in ``context``: tell ``error_handler``, or print it."""
        if self.error_handler is not None:
            self.error_handler.handle_error(context, kind, error, tb)
        else:
            traceback.print_exception(kind, error, tb)

    # Timers ---------------------------------------------------------------------------------------------------------

    def call_later(self, after: float, callback: Callable[[], Any], repeat: float = 0.0) -> int:
        """Queue ``callback`` in ``after`` seconds. The cheap form of :meth:`timer`, for those who wait.

        :returns: a key for :meth:`cancel_later`.
        """
        free = self._free
        if free:
            key = free.pop()
            self._timers[key] = callback
        else:
            key = len(self._timers)
            self._timers.append(callback)
        try:
            self.timer_start(key, after, repeat)
        except BaseException:
            self._timers[key] = None
            free.append(key)
            raise
        if repeat:
            self._repeating.add(key)
        return key

    def cancel_later(self, key: int, callback: Callable[[], Any]) -> None:
        """Stop a timer; if it has fired already, take its callback (the same object) out of the run queue."""
        if self.timer_runs(key, callback):
            self._timers[key] = None
            self.timer_stop(key)
            self._free.append(key)
            if self._repeating:
                self._repeating.discard(key)
            if self._unref:
                self._unref.discard(key)
        elif self.ready:
            self.unschedule(callback)

    def timer_runs(self, key: int, callback: Callable[[], Any]) -> bool:
        """Whether the timer that was started with ``callback`` is still running."""
        return 0 <= key < len(self._timers) and self._timers[key] is callback

    def ref_timer(self, key: int, ref: bool) -> None:
        """Let a running timer count, or not, as a reason to go on."""
        if ref:
            self._unref.discard(key)
        else:
            self._unref.add(key)

    def _timer_count(self) -> int:
        return len(self._timers) - len(self._free)

    # Descriptors ----------------------------------------------------------------------------------------------------

    def handle(self, fd: int) -> Readiness:
        """The readiness of ``fd`` on this loop; made on first use."""
        handle = self.handles.get(fd)
        if handle is None:
            self.check_alive()
            handle = self.handles[fd] = Readiness(self, fd)
        return handle

    def arm_direction(self, direction: Direction) -> None:
        """Register ``direction`` with the backend.

        :raises OSError: the descriptor is closed, or cannot be polled.
        """
        direction.armed = True
        try:
            direction.handle.update()
        except BaseException:
            direction.armed = False
            raise

    def descriptor_closing(self, fd: int) -> None:
        """``fd`` is about to be closed: wake its waiters, who get EBADF, and forget it."""
        handle = self.handles.get(fd)
        if handle is not None:
            handle.close()

    # Watchers -------------------------------------------------------------------------------------------------------

    def io(self, fd: int, events: int, ref: bool = True, priority: int = 0) -> watchers.IO:
        """Watch a descriptor, level-triggered. ``events``: :data:`~hubbub.abc.READ`, ``WRITE`` or both."""
        return watchers.IO(self, fd, events, ref, priority)

    def timer(self, after: float, repeat: float = 0.0, ref: bool = True, priority: int = 0) -> watchers.Timer:
        """Call back after ``after`` seconds, then every ``repeat`` seconds if that is not 0."""
        return watchers.Timer(self, after, repeat, ref, priority)

    def signal(self, signalnum: int, ref: bool = True, priority: int = 0) -> watchers.Signal:
        """Watch a signal."""
        return watchers.Signal(self, signalnum, ref, priority)

    def child(self, pid: int, trace: int = 0, ref: bool = True) -> watchers.Child:
        """Watch for the end of a child process."""
        return watchers.Child(self, pid, trace, ref)

    def async_(self, ref: bool = True, priority: int = 0) -> watchers.Async:
        """A wake-up for other threads to send."""
        return watchers.Async(self, ref, priority)

    def idle(self, ref: bool = True, priority: int = 0) -> watchers.Idle:
        """Call back in turns that found nothing else to do."""
        return watchers.Idle(self, ref, priority)

    def prepare(self, ref: bool = True, priority: int = 0) -> watchers.Prepare:
        """Call back before each poll."""
        return watchers.Prepare(self, ref, priority)

    def check(self, ref: bool = True, priority: int = 0) -> watchers.Check:
        """Call back after each poll."""
        return watchers.Check(self, ref, priority)

    def fork(self, ref: bool = True, priority: int = 0) -> watchers.Fork:
        """Call back in the child after a fork."""
        return watchers.Fork(self, ref, priority)

    def stat(self, path: str | bytes, interval: float = 0.0, ref: bool = True, priority: int = 0) -> watchers.Stat:
        """Watch a path's status. ``interval`` in seconds; 0 means the default of 5."""
        return watchers.Stat(self, path, interval, ref, priority)

    # Life -----------------------------------------------------------------------------------------------------------

    def destroy(self) -> None:
        """Close every descriptor of the loop. Idempotent."""
        if self.destroyed:
            return
        self._wakeup.restore()
        for handle in list(self.handles.values()):
            handle.close()
        self.destroyed = True
        self.ready.clear()
        self._close(forked=False)
        self._signal_reader.close()
        self._signal_writer.close()

    def reinit(self) -> None:
        """In the child after ``fork``: nothing of the parent is waited for, the kernel state is made anew."""
        if self.destroyed:
            return
        forks = list(self.forks)
        self._wakeup.restore()
        for handle in list(self.handles.values()):
            handle.closed = True
        self._close(forked=True)
        self._signal_reader.close()
        self._signal_writer.close()
        self._reset()
        self._open()
        self._open_signals()
        for watcher in forks:
            watcher.feed()
