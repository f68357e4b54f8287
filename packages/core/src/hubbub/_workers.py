"""Native threads that run functions, as few as will do. Knows nothing of greenlets; may be used from any thread.

Only primitives of :mod:`_thread` are used, taken at import: patching replaces what :mod:`threading` is built on.
"""

from __future__ import annotations

import os
import sys
import threading
from _thread import _count as _thread_count
from collections import deque
from collections.abc import Callable, Iterator
from operator import attrgetter, methodcaller
from typing import Any, Protocol
from weakref import WeakSet

from hubbub._at_fork import at_fork
from hubbub._mutex import Mutex
from hubbub._originals import allocate_lock, get_ident, monotonic, sleep, start_new_thread
from hubbub._twins import known_to_c, mirrored, twin
from hubbub._weak import snapshot

__all__ = ["Workers", "adopt_hooks", "threads_at_work", "threads_may_begin"]

_start_new_thread = start_new_thread
_allocate_lock = allocate_lock
_get_ident = get_ident
_gettrace = threading.gettrace
_getprofile = threading.getprofile
_all: WeakSet[Workers] = WeakSet()
side_threads: set[object] = set()
"""Threads that only look on (:mod:`hubbub._sidethread`). They wake nobody."""
_left_behind = 0
"""How many threads the interpreter counts that this process has not: it goes on counting the parent's after a fork."""
_since: dict[str, float] = {}
"""When each of the system's threads was seen first, by its number."""
_A_MOMENT = 0.5
"""Seconds in which a thread begins to run after it was started."""
_UNTOLD = 0.01
"""The same where the system does not tell what threads there are."""


class Job(Protocol):
    """What a thread is given to do."""

    def __call__(self) -> None:
        """Do the job. Must not raise, except what other code throws into the thread."""

    def deliver(self) -> None:
        """Tell the outcome, after the call. The thread has taken its next job, or is idle: this must not wait.

        So a caller that is woken by it does not meet the thread in the middle of that work, for which it needs the GIL.
        May be called twice.
        """

    def abandon(self) -> bool:
        """The thread ends before the job has. False: the job has not begun, and another thread can do it."""


def _mover(source: Callable[[], Any], *steps: Callable[[Any], Any]) -> Callable[[], Any]:
    """A function that calls ``source``, and gives what it returns from one of ``steps`` to the next.

    If all of them are written in C, a call is a single step: no signal handler and no other thread runs in between.
    """
    moved: Iterator[Any] = iter(source, None)
    for step in steps:
        moved = map(step, moved)
    return moved.__next__


class Workers:
    """Up to ``maxsize`` threads. One starts when there is a job and none is idle, and ends after idling for a while.

    Signal handlers, destructors and other threads may submit at any moment, also in the middle of a submit. So queueing
    a job and waking an idle thread are one step of C code each, and need no lock. Code that takes a thread away, and a
    thread that ends, look afterwards whether jobs are left. Only starting and ending threads needs a mutex, which is
    re-entrant: each of its holders makes a change first and then checks whether it was right.

    :param maxsize: 0 or more; with 0 all jobs wait. May be assigned.
    :param idle_seconds: how long a thread waits for a job before it ends; None: for ever.
    """

    __slots__ = ("__weakref__", "_idle", "_jobs", "_maxsize", "_mutex", "_wake_one", "_workers", "idle_seconds")

    def __init__(self, maxsize: int, idle_seconds: float | None) -> None:
        self._maxsize = maxsize
        self.idle_seconds = idle_seconds
        self.start_afresh()
        _all.add(self)

    def start_afresh(self) -> None:
        """In the child after a fork: there are no threads, and the parent's jobs are not ours."""
        self._mutex = Mutex()
        self._jobs: deque[Job] = deque()
        self._idle: deque[_Worker] = deque()
        self._workers: set[_Worker] = set()
        self._wake_one = _mover(self._idle.pop, attrgetter("baton"), methodcaller("release"))

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._workers)

    @property
    def idle(self) -> int:
        """How many threads wait for a job."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    @property
    def maxsize(self) -> int:
        """How many threads there may be."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        self._maxsize = value
        self._end_idle(value)
        self._catch_up()

    def resize(self, size: int) -> None:
        """Have ``size`` threads now, as far as possible: start some, or end some, each after its job.

        :raises RuntimeError: no thread can be started.
        """
        with self._mutex:
            self._end_idle(size)
            for worker in list(self._workers)[size:]:
                self._workers.discard(worker)
            while len(self._workers) < size and self._start_thread(size):
                pass

    @twin("workers.c")
    def submit(self, job: Job, lends: bool = False) -> None:
        """Have a thread call ``job``.

        :param lends: the caller's thread is about to wait, and has nothing else to do. The twin in C wakes an idle
            thread without the GIL then, so that it need not wait for it, and waits a moment for the end of a short job.
        :raises RuntimeError: there is no thread and none can be started. Then the job is not called, as with any other
            exception, unless it has begun.
        """
        try:
            self._jobs.append(job)
            self._next_thread()
        except BaseException:
            self.withdraw(job)
            raise

    def withdraw(self, job: Job) -> None:
        """Take ``job`` back if no thread has taken it."""
        try:
            self._jobs.remove(job)
        except ValueError:
            pass

    def dismiss_all(self) -> None:
        """End the threads, each after what it is doing. New ones come if jobs are left."""
        with self._mutex:
            self._workers.clear()
            self._wake_all()
        self._catch_up()

    # Inside ---------------------------------------------------------------------------------------------------------

    def _next_thread(self) -> bool:
        """Wake a thread, or start one. False if there may be no more."""
        try:
            self._wake_one()
            return True
        except IndexError:
            pass
        return len(self._workers) < self._maxsize and self._start_thread(self._maxsize)

    def _catch_up(self) -> None:
        """Find threads for the jobs that wait."""
        for _ in range(len(self._jobs)):
            if not self._next_thread():
                return

    def _start_thread(self, limit: int) -> bool:
        worker = _Worker(self)
        with self._mutex:
            try:
                self._workers.add(worker)
                if len(self._workers) > limit:  # another caller has taken the last place meanwhile
                    self._workers.discard(worker)
                    return False
                _start_new_thread(worker.run, ())
            except BaseException as error:
                self._workers.discard(worker)
                if self._workers and isinstance(error, RuntimeError):
                    return False  # the other threads will do the job
                raise
        return True

    def _end_idle(self, size: int) -> None:
        """End idle threads, until there are ``size`` threads or none is idle."""
        with self._mutex:
            for worker in reversed(list(self._idle)):
                if len(self._workers) > size:
                    self._workers.discard(worker)
            self._wake_all()

    def _wake_all(self) -> None:
        """Have all idle threads look whether they still belong here."""
        try:
            while True:
                self._wake_one()
        except IndexError:
            pass

    # Called by workers ----------------------------------------------------------------------------------------------

    @twin("workers.c")
    def fetch(self, worker: _Worker) -> bool:
        """Wait until ``worker`` has a job in its hand. False: its thread is to end."""
        while worker in self._workers:
            if len(self._workers) > self._maxsize:
                with self._mutex:
                    if len(self._workers) > self._maxsize:
                        self._workers.discard(worker)
                continue
            try:
                worker.take()
            except IndexError:
                self._idle.append(worker)
            else:
                worker.deliver()
                return True
            if self._jobs or worker not in self._workers:  # changed since the looks above
                self._get_up(worker)
                continue
            worker.deliver()
            seconds = -1 if self.idle_seconds is None else self.idle_seconds
            if not worker.baton.acquire(True, seconds) and self._get_up(worker):
                return False
        return False

    def _get_up(self, worker: _Worker) -> bool:
        """Take ``worker`` out of the idle ones. False if another thread has woken it at this very moment."""
        try:
            self._idle.remove(worker)
        except ValueError:
            worker.baton.acquire()
            return False
        return True

    def left(self, worker: _Worker) -> None:
        """The thread of ``worker`` ends, perhaps by an exception thrown into it: find threads for jobs that wait."""
        self._workers.discard(worker)
        try:
            self._idle.remove(worker)
        except ValueError:
            pass
        try:
            self._catch_up()
        except RuntimeError:
            pass  # no thread can be started, and no caller is there to get the error: the next submit tries again


@known_to_c
class _Worker:
    """One thread."""

    __slots__ = ("baton", "done", "hand", "put_away", "take", "workers")

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.baton = _allocate_lock()
        self.baton.acquire()
        self.hand: list[Job] = []
        self.done: list[Job] = []
        self.take = _mover(workers._jobs.popleft, self.hand.append)
        """Moves the next job into the hand; IndexError: there is none."""
        self.put_away = _mover(self.hand.pop, self.done.append)
        """Moves the job from the hand to those that are done."""

    @mirrored("workers.c")
    def deliver(self) -> None:
        """Deliver the job that was done."""
        for job in self.done:
            job.deliver()
        self.done.clear()

    def run(self) -> None:
        workers, hand = self.workers, self.hand
        try:
            while workers.fetch(self):
                hand[0]()
                self.put_away()
        finally:
            if hand and not hand[0].abandon():
                workers._jobs.appendleft(hand[0])
            self.deliver()
            workers.left(self)
            _drop_hooks()
            _forget_dummy()


def adopt_hooks() -> None:
    """Set the hooks that threads of :mod:`threading` set first. The job calls this, so that a failure is the job's."""
    if (trace := _gettrace()) is not None:
        sys.settrace(trace)
    if (profile := _getprofile()) is not None:
        sys.setprofile(profile)


def _drop_hooks() -> None:
    """Take off what :func:`adopt_hooks` has set: from CPython 3.12 on, a hook that ends with its thread leaves the
    events of :mod:`sys.monitoring` on for the whole process, which then runs several times as slowly."""
    if sys.gettrace() is not None:
        sys.settrace(None)
    if sys.getprofile() is not None:
        sys.setprofile(None)


def _forget_dummy() -> None:
    """Undo what current_thread() notes in a thread that threading did not start: before 3.13 nothing else does."""
    if sys.version_info < (3, 13):
        active = threading._active  # type: ignore[attr-defined]  # there is no public way
        if isinstance(active.get(_get_ident()), threading._DummyThread):
            del active[_get_ident()]


def threads_at_work() -> int:
    """How many native threads, beside the main one, may wake somebody.

    That is all but those of this module that wait for a job, and side threads.
    """
    idle = sum(workers.idle for workers in snapshot(lambda: _all))
    return _thread_count() - _left_behind - idle - len(side_threads)


def threads_may_begin() -> bool:
    """Whether threads may have been started that have not run yet, and which the interpreter does not count so long.

    Those that it never counts, as a library in C has started them, are taken for such for half a second.
    """
    global _since
    try:
        there = os.listdir("/proc/self/task")
    except OSError:  # not Linux, or /proc is not mounted
        sleep(_UNTOLD)
        return threads_at_work() > 0
    now = monotonic()
    _since = {thread: _since.get(thread, now) for thread in there}
    if threads_at_work() > 0:
        return True  # it has begun while this one asked
    uncounted = len(there) - 1 > _thread_count() - _left_behind
    return uncounted and max(_since.values()) > now - _A_MOMENT


def _after_fork_in_child() -> None:
    global _left_behind
    # The first hook of ours: those of other modules start threads.
    _left_behind = _thread_count()
    side_threads.clear()
    for workers in list(_all):
        workers.start_afresh()


at_fork(in_child=_after_fork_in_child)
