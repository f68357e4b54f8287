"""Loops that try again and again."""

from __future__ import annotations

import sys
import threading as stdlib_threading

import hubbub
import pytest
from hubbub import _spinning, thread
from hubbub import threading as cooperative
from hubbub.lock import BoundedSemaphore, Condition, RLock, Semaphore

LOCKS = [thread.LockType, thread.RLock, RLock, Semaphore, BoundedSemaphore, Condition, cooperative.Semaphore]
TRIES = {
    "not blocking": lambda lock: lock.acquire(False),
    "by keyword": lambda lock: lock.acquire(blocking=False),
    "no time": lambda lock: lock.acquire(timeout=0),
}


@pytest.mark.parametrize("kind", LOCKS)
@pytest.mark.parametrize("attempt", TRIES.values(), ids=list(TRIES))
def test_spinning_ends(hub, kind, attempt):
    """A greenlet that tries a lock in a loop, without waiting, gets it when its holder gives it back."""
    lock = kind()

    def hold():
        with lock:
            hubbub.sleep(0.001)

    holder = hubbub.spawn(hold)
    hubbub.sleep(0)
    tries = 0
    while not attempt(lock):
        tries += 1
        assert tries < 1_000_000
    assert tries
    lock.release()
    holder.get()


@pytest.mark.parametrize("kind", LOCKS)
def test_few_tries_do_not_switch(hub, kind):
    """A failed try that is not one of many in a row lets nobody run in between; nor does one that succeeds."""
    lock, ran = kind(), []
    _spinning._tries.count = 0
    hubbub.spawn(lock.acquire)
    hubbub.sleep(0)
    hubbub.spawn(ran.append, 1)
    assert not lock.acquire(False)
    assert not lock.acquire(False)
    free = kind()
    for _ in range(100):
        assert free.acquire(False)
        free.release()
    assert ran == []


def test_tries_in_a_loop_callback(hub):
    """In a loop callback a failed try just fails, however often."""
    lock, tries = thread.LockType(), hubbub.AsyncResult()
    lock.acquire()
    hub.loop.run_callback(lambda: tries.set([lock.acquire(False) for _ in range(100)]))
    assert tries.get(timeout=10) == [False] * 100


def test_native_threads_without_a_hub_spin_natively():
    """In a native thread without a hub a failed try makes none, and other threads get their turn from CPython."""
    lock, made = thread.LockType(), []
    lock.acquire()

    def spin():
        while not lock.acquire(False):
            pass
        made.append(hubbub.hub.get_hub_if_exists())

    other = stdlib_threading.Thread(target=spin)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        other.start()
        lock.release()
        other.join(10)
    finally:
        sys.setswitchinterval(interval)
    assert made == [None]


def test_conditions_of_threading_do_not_try_their_lock(hub):
    """threading.Condition on one of our locks learns that it is held without trying to take it."""
    condition, ran = stdlib_threading.Condition(thread.LockType()), []
    with condition:
        hubbub.spawn(ran.append, 1)
        for _ in range(100):
            condition.notify()
    assert ran == []
