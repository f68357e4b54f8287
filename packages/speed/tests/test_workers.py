"""Native threads that run jobs: one that waits in a method of C is woken by one of Python, and the other way round."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import hubbub
import pytest
from hubbub import _workers
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor
from hubbub_speed.methods import install_methods, uninstall_methods


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    """Each test begins with the methods in C, and leaves them as a hub would have them."""
    assert install_methods()
    yield
    assert install_methods()


def until(happened: Callable[[], Any]) -> None:
    """Wait, ten seconds at most, until ``happened()`` is true."""
    end = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        hubbub.sleep(0.001)


def baton_of(pool: ThreadPool) -> Any:
    """The baton of the only thread, which is idle."""
    until(lambda: pool._workers.idle)
    (worker,) = pool._workers._idle
    return worker.baton


def test_an_idle_thread_is_woken_by_either_kind_of_methods() -> None:
    """A thread that waits in a method of one kind gets the job that one of the other kind hands it."""
    pool = ThreadPool(1)
    for _ in range(3):
        assert pool.apply(int, ("1",)) == 1
        baton_of(pool)
        uninstall_methods()
        assert pool.apply(int, ("2",)) == 2
        baton_of(pool)
        assert install_methods()
    assert pool.size == 1
    pool.kill()


def test_a_thread_gets_a_baton_of_its_own_kind() -> None:
    """A thread that was started by the Python methods waits in C from its next job on."""
    uninstall_methods()
    pool = ThreadPool(1)
    pool.apply(int)
    native = type(baton_of(pool))
    assert install_methods()
    pool.apply(int)  # the thread still waits in Python
    assert type(baton_of(pool)) is not native
    pool.kill()


def test_a_baton_is_a_lock() -> None:
    """A baton is acquired and released as a lock is, and its time limit ends a wait."""
    pool = ThreadPool(1)
    thread = pool.apply(threading.get_ident)
    baton = baton_of(pool)
    with pytest.raises(TypeError):
        type(baton)()
    pool.kill()
    until(lambda: thread not in sys._current_frames())
    assert not baton.acquire(False)
    assert not baton.acquire(True, 0.001)
    baton.release()
    assert baton.acquire(True, 10)
    baton.release()
    assert baton.acquire()


def test_idle_threads_end() -> None:
    """A thread that waits in C ends when it was idle for too long, and another one starts for the next job."""
    pool = ThreadPool(1, idle_seconds=0.0)
    for number in range(5):
        assert pool.apply(int, (str(number),)) == number
        until(lambda: pool.size == 0)
    pool.kill()


def test_an_error_in_the_idle_seconds_ends_the_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong number of seconds is the thread's error; the outcome of its job was delivered before."""
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    monkeypatch.setattr("sys.unraisablehook", seen.append)
    pool = ThreadPool(1)
    pool._workers.idle_seconds = "many"  # type: ignore[assignment]
    assert pool.apply(int, ("5",)) == 5
    until(lambda: pool.size == 0)
    until(lambda: seen)
    assert seen[0].exc_type is TypeError
    pool._workers.idle_seconds = 1.0
    assert pool.apply(int, ("6",)) == 6
    pool.kill()


def test_one_thread_serves_several_hubs() -> None:
    """A thread that has done the jobs of two hubs wakes the loops of both."""
    pools: list[ThreadPool] = []
    done: list[int] = []

    def other() -> None:
        pool = ThreadPool(1)
        pools.append(pool)
        done.extend(pool.apply(int, (str(number),)) for number in range(50))
        pool.kill()
        hubbub.get_hub().destroy()

    thread = threading.Thread(target=other)
    mine = ThreadPool(1)
    thread.start()
    assert [mine.apply(int, (str(number),)) for number in range(50)] == list(range(50))
    until(lambda: not thread.is_alive())
    assert done == list(range(50))
    mine.kill()


class HeldJob:
    """A job that lasts until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.may_end.wait(10)

    def deliver(self) -> None:
        """Nobody waits for it."""

    def abandon(self) -> bool:
        """It has begun."""
        return True


def test_who_submits_goes_on_while_a_long_job_runs() -> None:
    """Whoever lends its thread to a job waits for a short one at most: it goes on while one lasts that it must end."""
    pool = ThreadPool(1)
    pool.apply(int)
    for _ in range(20):  # in some it spins, in some not
        baton_of(pool)
        job = HeldJob()
        pool._workers.submit(job, True)
        assert job.begun.wait(10)
        assert not pool._workers.idle
        job.may_end.set()
    pool.kill()


def test_short_and_long_jobs_follow_one_another() -> None:
    """Every outcome arrives at its caller, whether the two threads spin for one another, miss one another or sleep."""
    pool = ThreadPool(1)
    random = Random(20)

    def job(number: int, seconds: float) -> int:
        if seconds:
            time.sleep(seconds)
        return number

    for _ in range(40):
        seconds = random.choice((0.0, 0.0, 20e-6, 100e-6, 400e-6))
        for number in range(random.randrange(60)):
            assert pool.apply(job, (number, seconds)) == number
        if random.random() < 0.3:
            hubbub.sleep(0.0005)  # the thread has gone to sleep
    assert pool.size == 1
    pool.kill()


def test_an_executor_and_other_jobs() -> None:
    """Jobs that are not a thread pool's go the same way."""
    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(int, map(str, range(100)))) == list(range(100))


def test_a_withdrawn_job_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the submitter gets the error and the job is taken back."""

    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_workers, "_start_new_thread", refused)
    pool = ThreadPool(1)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.spawn(int)
    assert pool._workers.waiting == 0
    assert len(pool) == 0
