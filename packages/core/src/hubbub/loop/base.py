"""The loop: the turn, the run queue, watchers, fork. See :mod:`hubbub.abc`."""

from __future__ import annotations

import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from math import inf
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from greenlet import getcurrent

from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import get_ident, monotonic
from hubbub._originals import sleep as _native_sleep
from hubbub._reports import tell
from hubbub._struck import ended_by, is_failed_raw, is_of_handler, is_repeatable, never_began, of_callee
from hubbub._twins import mirrored, twin
from hubbub._workers import threads_at_work
from hubbub.abc import READ, WRITE, Backend, Loop
from hubbub.exceptions import InvalidThreadUseError, LoopDestroyed, StandInRetired
from hubbub.loop import watchers
from hubbub.loop._signals import SignalTable, Waker, WakeupDescriptor, waker_pair
from hubbub.loop._unopened import UnopenedBackend
from hubbub.loop.readiness import FEW_READY, Direction, Readiness
from hubbub.loop.timers import Timers

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = [
    "CROWD",
    "GIL_KEPT",
    "LONGEST",
    "LOOK_AGAIN",
    "OVERTIME",
    "SLICE",
    "SLICES",
    "SLOW",
    "BaseLoop",
    "ScheduledCall",
    "make_loop",
]

LOOK_AGAIN = 0.5
"""Seconds between two looks whether anything outside the loop might still wake a greenlet."""
SLICE = 16
"""How many callables of the run queue are called between two looks at the clock, at most: see :data:`SLOW`."""
SLICES = 64
"""How many such slices a turn has at most."""
SLOW = 0.125
"""A slice that takes more than this share of a turn's budget is followed by one of a single callable, a quicker one by
one of twice as many. A turn begins with a single one. So slow callables do not add up unseen."""
CROWD = 200
"""So many callables in the run queue lengthen a turn by its own time, up to :data:`LONGEST` times: what a poll finds is
called behind them, however early it is found, and the kernel reports all that waits behind them at each poll again."""
LONGEST = 5
"""How many times as long as :attr:`BaseLoop.turn_seconds` a turn may become."""
OVERTIME = 0.1
"""Seconds for which a turn goes on beyond that, at most, while nothing was queued since it began: then whatever a poll
finds is called behind all the others, whenever it is found."""
GIL_KEPT = 0.005
"""Seconds after which a busy loop lets other native threads have the interpreter: CPython's own switch interval."""
_AT_ONCE = 20e-6
"""Seconds: a poll that was shorter did not wait."""
_PAUSE = 50e-6
"""Seconds: long enough for a native thread to wake up and take the GIL."""


class _ShuffledQueue(deque[Callable[[], Any]]):
    """A run queue in an order that a seed decides, for tests: what is right must not depend on the order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = Random(seed)

    def popleft(self) -> Callable[[], Any]:
        """Any one of them."""
        index = self._random.randrange(len(self))
        chosen = self[index]
        del self[index]
        return chosen


def _run_queue() -> deque[Callable[[], Any]]:
    seed = os.environ.get("HUBBUB_SCHEDULE_SEED")
    return _ShuffledQueue(int(seed)) if seed else deque()


class ScheduledCall:
    """What ``run_callback`` returns: true until it has run or was stopped."""

    __slots__ = ("_loop", "args", "callback")

    def __init__(self, loop: BaseLoop, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._loop = loop
        self.callback: Callable[..., Any] | None = callback
        self.args: tuple[Any, ...] | None = args

    def __call__(self) -> None:
        """Make the call, once."""
        callback, args = self.callback, self.args
        self.callback = self.args = None
        if callback is not None and args is not None:
            try:
                callback(*args)
            except BaseException as error:
                if never_began(of_callee(error)) or is_repeatable(callback):
                    self.callback, self.args = callback, args
                self._loop.call_failed(callback, callback, error, self)

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


class BaseLoop(Timers, Loop):
    """What all loops share: everything but the backend."""

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    # Beside the __dict__ of Loop: what is used all the time.
    __slots__ = (
        "_backend",
        "_break",
        "_signal_writer",
        "_witness",
        "born",
        "calls",
        "checks",
        "destroyed",
        "gil_left",
        "hand_overs",
        "handed_to",
        "handles",
        "hub",
        "idles",
        "in_poll",
        "iteration",
        "log",
        "longest_turn",
        "outside",
        "prepares",
        "told",
    )

    time: float
    turn_seconds: float = 0.001
    """How long one turn's run queue may keep the loop from polling, besides the callables that are running then. Longer
    if many are ready: see :data:`CROWD`."""

    def __init__(self, backend: Backend, default: bool = False) -> None:
        """Open a loop.

        :param backend: the part that asks the kernel; the loop opens it, and no other code may use it.
        :param default: the attribute of this name, which the loop itself does not use.
        :raises OSError: the system refuses: no descriptors or no memory left.
        """
        super().__init__(_run_queue())
        self._backend = backend
        self.edge_triggered: bool = backend.edge_triggered
        """Whether a poll reports a change once."""
        self.default = default
        self.destroyed: bool = False
        self.hub: Hub = getcurrent()  # type: ignore[assignment]  # until a hub takes the loop
        self.error_handler: Any = None
        self.outside: Callable[[], bool] | None = None
        """Asked when nothing is left to wait for: may something outside the loop still wake a greenlet?"""
        self.current_hub: Callable[[], Any] = getcurrent
        """Returns the hub of the calling thread; set by the hub."""
        self.iteration: int = 0
        """How many turns there were."""
        self.longest_turn: float = 0.0
        """The longest time between two polls while there was work, in seconds."""
        self.calls: int = 0
        """How many callables of the run queue were called; most of them are switches to a greenlet."""
        self.hand_overs: int = 0
        """For methods in C: how many greenlets may switch to the next of the run queue before it is the hub's turn."""
        self.handed_to: Any = None
        """The last of the run queue's callables that was taken out so."""
        self.log: Any = None
        """For methods in C: the ring of events that they fill, if one of theirs is on (:mod:`hubbub._eventlog`)."""
        self.greenlets: int = 0
        """How many greenlets have begun and not ended."""
        self._running = 0
        self._break = False
        self.told: bool | None = True
        """False while the turn prepares to poll, polls, and dispatches events that no other turn knows. None: the same,
        but a signal handler has waited meanwhile, and another turn has seen to all events."""
        # Before any time that the clock shows, and after -inf, which says that a wait was given up.
        self.born: float = 0.0
        """When the process was forked, if that was after the loop was made. Waits that began earlier are the parent's.

        Infinite for a loop that was destroyed: nothing waits there any more.
        """
        self.handles: dict[int, Readiness] = {}
        self.prepares: list[watchers.Prepare] = []
        self.checks: list[watchers.Check] = []
        self.idles: list[watchers.Idle] = []
        self.forks: list[watchers.Fork] = []
        self.generation: int = 0
        """How many forks lie between the making of the loop and this process."""
        self._reset()
        self.wakeup: WakeupDescriptor
        self._signal_reader: Any
        self._signal_writer: Waker | None
        self.open()

    def _reset(self) -> None:
        self.thread: int = get_ident()
        self.refs: int = 0
        """How many things keep the loop from ending: active watchers (but timers) and calls of :meth:`hold`."""
        self.holders: set[Any] = set()
        """Other things that do, for instance tasks in threads. Only the loop's own thread changes it."""
        self.signals: SignalTable = SignalTable()
        self.gil_left: float = self.time
        """When the loop last released the GIL for long enough that another native thread could take it."""
        self.in_poll: bool = False
        """Whether the loop waits for events, or is about to: then a callback from outside needs :meth:`wake`."""
        self._witness: Direction | None = None

    def open(self) -> None:
        """Open everything, or, if the system refuses, nothing; then the loop is destroyed. For the loop's own parts.

        :raises OSError: the system refuses.
        """
        self._signal_reader, self._signal_writer = reader, writer = waker_pair()
        try:
            self._backend.open()
            try:
                self._open_signals(reader.fileno(), writer.fileno())
            except BaseException:
                self._backend.close(forked=False)
                raise
        except BaseException:
            self.destroyed = True
            self._signal_reader.close()
            self._signal_writer = None
            raise

    def _open_signals(self, reader: int, writer: int) -> None:
        watcher = watchers.IO(self, reader, READ, ref=False)
        watcher.overlaps = True  # else nothing could end a poll while a signal handler in its callback waits
        watcher.start(self._drain_signals)
        self.wakeup = WakeupDescriptor(writer)
        self.wakeup.install()

    def _drain_signals(self) -> None:
        try:
            while True:
                data = self._signal_reader.recv(4096)
                self.wakeup.pass_on(data)
                if len(data) < 4096:
                    return
        except BlockingIOError:
            pass

    def __repr__(self) -> str:
        state = "destroyed" if self.destroyed else "running" if self._running else "idle"
        return f"<{type(self).__name__} {self.name} at {id(self):#x} {state} {self._census()}>"

    @property
    def backend(self) -> Any:
        """The part that asks the kernel: see :class:`hubbub.abc.Backend`. It is open."""
        self.ensure_open()
        return self._backend

    def ensure_open(self) -> None:
        """Make the kernel state, in the child of a fork that has not needed it yet.

        :raises OSError: the system refuses; the loop is destroyed.
        """
        if isinstance(self._backend, UnopenedBackend):
            self._backend.opened()

    @property
    def name(self) -> str:
        """The entry-point name of the backend."""
        return self._backend.name

    def _census(self) -> str:
        refs = self.refs + len(self.holders)
        return f"ready={len(self.ready)} timers={self.timer_count()} descriptors={len(self.handles)} refs={refs}"

    def check_alive(self) -> None:
        """:raises LoopDestroyed: the loop is gone."""
        if self.destroyed:
            raise LoopDestroyed(f"{self!r} was destroyed")

    def check_thread(self) -> None:
        """:raises InvalidThreadUseError: the loop belongs to another thread."""
        if get_ident() != self.thread:
            raise InvalidThreadUseError(f"{self!r} belongs to another thread")

    # The turn -------------------------------------------------------------------------------------------------------

    def run(self, nowait: bool = False, once: bool = False) -> None:
        """Turn, through the phases described in :mod:`hubbub.abc`, until nothing is left to wait for.

        :param nowait: one turn that does not wait.
        :param once: one turn, that may wait.
        :raises LoopDestroyed: the loop is gone.
        :raises InvalidThreadUseError: the loop belongs to another thread.
        """
        self.check_alive()
        self.check_thread()
        self._break = False
        self._running += 1
        turn = self.turn
        try:
            while turn(nowait) and not (nowait or once):
                pass
        finally:
            self._running -= 1

    @twin("turn.c")
    def turn(self, nowait: bool) -> bool:
        """One turn. False: it was the last, because nothing is left or :meth:`break_` was called.

        :param nowait: only look for events.
        """
        ready, heap = self.ready, self._heap
        self.iteration = iteration = self.iteration + 1
        # 1: the run queue.
        self.run_ready()
        if self._break or self.destroyed:
            return False
        # 2: prepare.
        if self.prepares:
            self._call_phase(self.prepares)
        # 3: poll.
        timeout = 0.0
        self.told = False
        if not (ready or nowait or self.idles):
            witness = self._witness
            rest = -1.0
            if (witness is None or witness.waiter is None) and not self._alive():
                if self.outside is None or not self.outside():
                    self.told = True
                    return bool(ready)  # queued by another thread just now
                rest = LOOK_AGAIN
            self.in_poll = True
            timeout = 0.0 if ready else self._time_left() if heap else rest
        began = monotonic() if self.time - self.gil_left > GIL_KEPT else 0.0
        try:
            events = self._backend.poll(timeout)
            self.in_poll = False
            self._polled(timeout)
            if began:
                self._share_gil(began)
            # 4: dispatch. If a signal handler has waited just now, another turn has seen to all that had happened.
            if events and self.iteration == iteration:
                self.dispatch(events)
        except BaseException:
            # One of Python's signal handlers raised, at any point of the above; no event may be lost to it.
            self.in_poll = False
            if self.told is False:
                self._wake_all()
            self.handle_error(None, *sys.exc_info())
        self.told = True
        if heap:
            self._expire()
        # 5 and 6: check, idle.
        if self.checks:
            self._call_phase(self.checks)
        if self.idles and not ready:
            self._call_idles()
        return True

    @mirrored("turn.c")
    def _polled(self, timeout: float) -> None:
        last, self.time = self.time, monotonic()
        if timeout == 0.0 and self.time - last > self.longest_turn:
            self.longest_turn = self.time - last

    def _share_gil(self, began: float) -> None:
        """Let native threads run that wait for the GIL, unless the poll, which ``began`` then, has done so.

        In CPython a thread that waits for the GIL counts five milliseconds before it insists, and begins anew whenever
        the GIL was released meanwhile. A poll that finds something at once releases it for a microsecond, in which
        no thread wakes up: beside a busy hub another thread would run by chance alone.
        """
        if self.time - began < _AT_ONCE and threads_at_work() > 0:
            _native_sleep(_PAUSE)
        self.gil_left = self.time = monotonic()

    def _call_idles(self) -> None:
        idles = list(self.idles)
        self._call_phase([idle for idle in idles if idle.priority == idles[0].priority])

    @twin("turn.c")
    def run_ready(self) -> None:
        """Call what is in the run queue, until it is empty, the turn's budget is spent or :meth:`break_` was called.

        A slice is called unchecked; the budget is looked at between slices. A failure is reported and ends its slice.
        What was there when the turn began is called beyond the budget, if nothing has come behind it: :data:`OVERTIME`.
        """
        ready = self.ready
        due: Iterator[Callable[[], Any]] = iter(ready.popleft, None)  # takes the next out and stores it in one step
        queued = len(ready)
        size, before, limit = 1, 0.0, 0.0
        for slices in count(1):
            done = 0
            callback: Any = None
            try:
                if ready:
                    for callback in due:
                        callback()
                        done += 1
                        if done == size or not ready:
                            break
            except BaseException as error:
                self.call_failed(callback, callback, error, callback)
            self.calls += done
            queued -= done
            if not ready or self._break:
                return
            clock = monotonic()
            if not limit:
                limit = clock + self.turn_seconds * min(1.0 + len(ready) / CROWD, LONGEST)
            elif (clock > limit or slices >= SLICES) and (len(ready) != queued or clock > limit + OVERTIME):
                return
            else:
                size = 1 if clock - before > SLOW * self.turn_seconds else min(2 * size, SLICE)
            before = clock

    @twin("turn.c")
    def dispatch(self, events: Iterable[tuple[int, int]]) -> None:
        """Queue whoever waits for one of ``events``, (descriptor, event bits) pairs of a poll. Nothing is called."""
        ready, handles, backend = self.ready, self.handles, self._backend
        read_bits, write_bits, sticky_bits = backend.READ_BITS, backend.WRITE_BITS, backend.STICKY_BITS
        for fd, bits in events:
            handle = handles.get(fd)
            if handle is None:
                backend.forget(fd)
                continue
            if bits & sticky_bits:
                handle.sticky = True
            if handle.observers is not None:
                self._tell_observers(handle, bits)
            if bits & read_bits:
                direction = handle.read
                waiter = direction.waiter
                if waiter is None or direction.others is not None or len(ready) > FEW_READY:
                    direction.fire()
                else:
                    direction.waiter = None
                    ready.append(waiter)
            if bits & write_bits and handle.writer is not None:
                handle.writer.fire()

    def waiting_count(self) -> int:
        """How many greenlets wait for a descriptor."""
        return sum(
            (direction.waiter is not None) + len(direction.others or ())
            for handle in self.handles.values()
            for direction in handle.directions()
        )

    def _wake_all(self) -> None:
        """A poll or its dispatch was interrupted: wake all that wait for a change that is not reported again."""
        for handle in list(self.handles.values()):
            if not handle.level:
                handle.sticky = True
                for direction in handle.directions():
                    direction.fire()

    def report_again(self) -> None:
        """A callback is about to wait: let the next poll find again the events that this turn has not dispatched."""
        if self.told is False:
            self.told = True
            for handle in list(self.handles.values()):
                if not handle.level and handle.registered and not handle.closed:
                    try:
                        handle.renew()
                    except OSError:
                        handle.close()  # the descriptor was closed without a word: wake its waiters

    @property
    def running(self) -> bool:
        """Whether :meth:`run` is under way."""
        return self._running > 0

    @property
    def depth(self) -> int:
        """How many calls of :meth:`run` are under way."""
        return self._running

    def break_(self, how: int = 0) -> None:
        """End :meth:`run` after the current turn."""
        self._break = True
        self.wake()

    @twin("turn.c")
    def wake(self) -> None:
        """End a waiting poll. From any thread.

        The twin in C keeps the GIL meanwhile. So who wakes another thread goes on, as after the release of a lock of
        threads, and the other one comes when this one waits, or has had its share.
        """
        if self.in_poll:
            self.in_poll = False
            if not self._backend.wake():
                self._write_to_self()

    @twin("turn.c")
    def _write_to_self(self) -> None:
        writer = self._signal_writer
        if writer is not None:  # the loop is not gone
            try:
                writer.send(b"\0")
            except OSError:
                pass  # full: the poll ends anyway

    def _call_phase(self, members: Sequence[watchers.BaseWatcher]) -> None:
        for watcher in list(members):
            if watcher.active:
                watcher.feed()

    @twin("turn.c")
    def _tell_observers(self, handle: Readiness, bits: int) -> None:
        backend = self._backend
        handle.observed((READ if bits & backend.READ_BITS else 0) | (WRITE if bits & backend.WRITE_BITS else 0))

    def _alive(self) -> bool:
        """Whether the loop has anything left to wait for that counts.

        Descriptors stay registered when no greenlet waits, so each is asked. The turn first looks at the direction that
        this method found last, so that in nearly every turn one look is enough.
        """
        if self.refs > 0 or self.holders or self._timers_alive():
            return True
        for handle in list(self.handles.values()):
            for direction in handle.directions():
                if direction.waiter is not None:
                    self._witness = direction
                    return True
        self._witness = None
        return False

    def hold(self) -> int:
        """Keep the loop from ending until :meth:`let_go`: for a wait that another thread ends, out of the loop's sight.

        :returns: the argument for :meth:`let_go`.
        """
        self.refs += 1
        return self.generation

    def let_go(self, held: int) -> None:
        """Undo one :meth:`hold`. In a child process the holds of the parent do not count."""
        if held == self.generation:
            self.refs -= 1

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

    def handle_error(
        self,
        context: object,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """The code of ``context`` failed: tell ``error_handler``, or print the error if there is none.

        An error that the hub raises as the handler ends nothing; one of any other handler ends :meth:`run`.
        """
        if isinstance(error, StandInRetired):
            raise error
        if self.error_handler is None:
            traceback.print_exception(kind, error, tb)
        elif self.error_handler is self.hub and error is not None:
            tell(self.hub, context, error, tb)
        else:
            self.error_handler.handle_error(context, kind, error, tb)

    def call_failed(self, context: object, callback: Any, error: BaseException, again: Callable[[], Any]) -> None:
        """A callable of the run queue, or one that it led to, failed: report it.

        What a handler of a signal has raised is the main greenlet's, unless it has ended another greenlet. The call is
        not lost: if it had not begun, or is repeatable, ``again`` is called next.
        """
        ended = ended_by(error)
        if ended is not None and ended.cut_short(error):
            return
        tb = of_callee(error)
        began = not never_began(tb)
        if not is_failed_raw(callback, tb) and (not began or is_of_handler(error)):
            context = None
            if not began or is_repeatable(callback):
                self.ready.appendleft(again)
            if self.error_handler is self.hub:  # else the loop runs without one
                self.hub.rouse()
        self.handle_error(context, type(error), error, error.__traceback__)

    # Descriptors ----------------------------------------------------------------------------------------------------

    def handle(self, fd: int) -> Readiness:
        """The readiness of ``fd`` on this loop; made on first use."""
        handle = self.handles.get(fd)
        if handle is None:
            self.check_alive()
            handle = self.handles[fd] = Readiness(self, fd)
        return handle

    def arm_direction(self, direction: Direction) -> Direction:
        """Register ``direction`` with the backend.

        :returns: the direction to wait for. It is another one if the loop had dropped this one's descriptor, and has
            registered the number anew meanwhile.
        :raises OSError: the descriptor is closed, or cannot be polled.
        """
        handle = direction.handle
        known = self.handles.setdefault(handle.fd, handle)
        if known is not handle:
            return known.read if direction.bit == READ else known.write
        direction.armed = True
        try:
            handle.update()
        except BaseException:
            direction.armed = False
            handle.let_go()
            raise
        return direction

    def descriptor_closing(self, fd: int) -> None:
        """``fd`` is about to be closed: wake its waiters, which get EBADF, and forget it."""
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

    def install_sigchld(self) -> None:
        """Nothing: child watchers use process descriptors, or take the signal when the first of them starts."""

    def reset_sigchld(self) -> None:
        """Nothing: see :meth:`install_sigchld`."""

    def async_(self, ref: bool = True, priority: int = 0) -> watchers.Async:
        """A wake-up that other threads may send."""
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

    def take_over(self) -> None:
        """Before another thread destroys the loop.

        :raises InvalidThreadUseError: it is waiting, or in use, in its own thread.
        """
        if self.in_poll:
            self.check_thread()
        self._backend.take_over()

    def destroy(self) -> None:
        """Close every descriptor of the loop. Idempotent.

        :raises InvalidThreadUseError: the loop is waiting in another thread.
        """
        if self.destroyed:
            return
        self.take_over()
        self.wakeup.restore()
        for handle in list(self.handles.values()):
            handle.close()
        self.destroyed = True
        self.born = inf
        self.ready.clear()
        self._backend.close(forked=False)
        self._signal_reader.close()
        self._signal_writer = None

    def reinit(self) -> None:
        """In the child after ``fork``: forget what the parent waits for, and give its kernel state up.

        The child's own is made when it is first needed. So a child may close all descriptors that it has inherited.
        """
        if self.destroyed:
            return
        forks = [watcher for watcher in self.forks if watcher.active]
        self.wakeup.restore()
        self.signals.clear()
        self.handles.pop(self._signal_reader.fileno(), None)
        self._backend.close(forked=True)
        self._signal_reader.close()
        self._signal_writer = None
        self._forget_parent()
        self._reset()
        if not isinstance(self._backend, UnopenedBackend):  # a child of that child
            self._backend = UnopenedBackend(self, self._backend)
        for watcher in forks:
            watcher.restart()
            watcher.feed()

    def _forget_parent(self) -> None:
        """Empty everything in place: ``run`` may be in the middle of it."""
        self.generation += 1
        self.born = monotonic()
        self.greenlets = int(getcurrent().parent is self.hub)  # the one that forked goes on
        self.ready.clear()
        for handle in self.handles.values():
            handle.forget_waiters()
        self._forget_timers()
        for members in (self.prepares, self.checks, self.idles, self.forks):
            members.clear()

    def abandon(self) -> None:
        """In the child after ``fork``: close the descriptors of a loop whose thread was left behind in the parent."""
        if self.destroyed:
            return
        self.destroyed = True
        self.born = inf
        self.wakeup.restore()
        for handle in self.handles.values():
            handle.forget_waiters()
            handle.closed = True
        self.ready.clear()
        self.in_poll = False
        self._backend.close(forked=True)
        self._signal_reader.close()
        self._signal_writer = None


def make_loop(kind: type[Backend] | type[Loop]) -> BaseLoop:
    """A loop on a backend of the class ``kind``, or one of that class itself.

    :raises TypeError: it is neither.
    """
    if issubclass(kind, BaseLoop):
        return kind()  # type: ignore[call-arg]  # a subclass brings its backend along
    if issubclass(kind, Backend):
        return BaseLoop(kind())
    raise TypeError(f"a loop is made of a class of hubbub.abc.Backend, not {kind!r}")


setattr(BaseLoop, "async", BaseLoop.async_)  # a keyword now; older programs call async_ by it
