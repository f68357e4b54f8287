"""Native threads that run functions, as few as will do. Knows nothing of greenlets; may be used from any thread.

Only primitives of :mod:`_thread` are used, taken at import: patching replaces what :mod:`threading` is built on.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

from hubbub._originals import allocate_lock, get_ident, start_new_thread
from hubbub._weak import snapshot

__all__ = ["Workers", "adopt_hooks", "idle_workers"]

_start_new_thread = start_new_thread
_allocate_lock = allocate_lock
_get_ident = get_ident
_gettrace = threading.gettrace
_getprofile = threading.getprofile
_all: WeakSet[Workers] = WeakSet()

Job = Callable[[], None]


class Workers:
    """Up to ``maxsize`` threads. One starts when there is a job and none is idle, and ends after idling for a while.

    :param maxsize: 0 or more; with 0 all jobs wait. May be assigned.
    :param idle_seconds: how long a thread waits for a job before it ends; None: for ever.
    """

    def __init__(self, maxsize: int, idle_seconds: float | None) -> None:
        self._maxsize = maxsize
        self.idle_seconds = idle_seconds
        self.start_afresh()
        _all.add(self)

    def start_afresh(self) -> None:
        """In the child after a fork: there are no threads, and the parent's jobs are not ours."""
        self._mutex = _allocate_lock()
        self._jobs: deque[Job] = deque()
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()

    @property
    def size(self) -> int:
        """How many threads there are."""
        return len(self._workers)

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
        with self._mutex:
            self._maxsize = value
            while self._idle and len(self._workers) > value:
                self._dismiss(self._idle.pop())
            while self._jobs and len(self._workers) < value:
                self._engage(self._jobs.popleft())

    def resize(self, size: int) -> None:
        """Have ``size`` threads now, as far as that goes: start some, or end some, each after its job.

        :raises RuntimeError: none can be started.
        """
        with self._mutex:
            while len(self._workers) > size:
                self._dismiss(self._idle.pop() if self._idle else next(iter(self._workers)))
            while len(self._workers) < size:
                self._engage(self._jobs.popleft() if self._jobs else _nothing)

    def submit(self, job: Job) -> None:
        """Have a thread call ``job``, which must not raise.

        :raises RuntimeError: there is no thread and none can be started.
        """
        with self._mutex:
            if self._idle:
                worker = self._idle.pop()
                worker.job = job
                worker.baton.release()
            elif len(self._workers) < self._maxsize:
                self._engage(job)
            else:
                self._jobs.append(job)

    def dismiss_all(self) -> list[Job]:
        """End the threads, each after what it is doing.

        :returns: the jobs that were not begun.
        """
        with self._mutex:
            jobs = list(self._jobs)
            self._jobs.clear()
            for worker in self._workers:
                worker.dismissed = True
            for worker in self._idle:
                worker.baton.release()
            self._idle.clear()
            self._workers.clear()
        return jobs

    # With the mutex held --------------------------------------------------------------------------------------------

    def _engage(self, job: Job) -> None:
        worker = _Worker(self, job)
        self._workers.add(worker)
        try:
            _start_new_thread(worker.run, ())
        except BaseException:
            self._workers.discard(worker)
            if not self._workers:
                raise
            self._jobs.append(job)  # the others get to it

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.dismissed = True
        worker.baton.release()

    # Called by workers ----------------------------------------------------------------------------------------------

    def next_job(self, worker: _Worker) -> Job | None:
        """The next job for ``worker``; None: it is to end."""
        with self._mutex:
            if worker not in self._workers:
                return None
            if len(self._workers) > self._maxsize:
                self._workers.discard(worker)
                return None
            if self._jobs:
                return self._jobs.popleft()
            self._idle.append(worker)
        seconds = self.idle_seconds
        if not worker.baton.acquire(True, -1 if seconds is None else seconds):
            with self._mutex:
                if worker in self._idle:
                    self._idle.remove(worker)
                    self._workers.discard(worker)
                    return None
            worker.baton.acquire()  # a job came at the last moment
        job, worker.job = worker.job, None
        return job

    def left(self, worker: _Worker) -> None:
        """The thread of ``worker`` ends, perhaps by an exception that somebody raised in it: fill the gap."""
        with self._mutex:
            self._workers.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            if self._jobs and len(self._workers) < self._maxsize:
                self._engage(self._jobs.popleft())


class _Worker:
    """One thread."""

    __slots__ = ("baton", "dismissed", "job", "workers")

    def __init__(self, workers: Workers, job: Job) -> None:
        self.workers = workers
        self.job: Job | None = job
        self.dismissed = False
        self.baton = _allocate_lock()
        self.baton.acquire()

    def run(self) -> None:
        workers = self.workers
        job, self.job = self.job, None
        try:
            while job is not None:
                job()
                del job
                job = None if self.dismissed else workers.next_job(self)
        finally:
            workers.left(self)
            _drop_hooks()
            _forget_dummy()


def _nothing() -> None:
    """The job of a thread that is started in advance."""


def adopt_hooks() -> None:
    """What threads of :mod:`threading` do first. Part of the job, which so gets to know of a failure."""
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
    """Undo what threading.current_thread() noted in a thread that is not its own: before 3.13 nobody else does."""
    if sys.version_info < (3, 13):
        active = threading._active  # type: ignore[attr-defined]  # there is no public way
        if isinstance(active.get(_get_ident()), threading._DummyThread):
            del active[_get_ident()]


def idle_workers() -> int:
    """How many threads of this module wait for a job, and so cannot wake anybody."""
    return sum(len(workers._idle) for workers in snapshot(lambda: _all))


def _after_fork_in_child() -> None:
    for workers in list(_all):
        workers.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
