"""Semaphores and locks."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from hubbub import BoundedSemaphore, Event, RLock, Semaphore, Timeout, joinall, sleep, spawn, spawn_later, wait
from hubbub.lock import DummySemaphore

# Semaphore ------------------------------------------------------------------------------------------------------------


def test_counts(hub):
    """acquire takes a permit, release gives one; counter and locked tell how many there are."""
    semaphore = Semaphore(2)
    assert (semaphore.counter, semaphore.locked(), semaphore.ready()) == (2, False, True)
    assert semaphore.acquire() is True
    assert semaphore.acquire() is True
    assert (semaphore.counter, semaphore.locked(), semaphore.ready()) == (0, True, False)
    assert semaphore.release() == 1
    assert semaphore.counter == 1


def test_negative_is_refused(hub):
    """A semaphore cannot start below 0."""
    with pytest.raises(ValueError, match="0 or more"):
        Semaphore(-1)


def test_large_values_cost_nothing(hub):
    """A semaphore of sys.maxsize permits is no larger than others, and counts right."""
    semaphore = Semaphore(sys.maxsize)
    assert semaphore.counter == sys.maxsize
    for _ in range(3000):
        semaphore.acquire()
    assert semaphore.counter == sys.maxsize - 3000
    for _ in range(3000):
        semaphore.release()
    assert semaphore.counter == sys.maxsize


def test_acquire_without_waiting(hub):
    """acquire(blocking=False) and acquire(timeout=0) take a free permit or return False at once."""
    semaphore = Semaphore(1)
    assert semaphore.acquire(blocking=False) is True
    assert semaphore.acquire(blocking=False) is False
    assert semaphore.acquire(timeout=0) is False
    semaphore.release()
    assert semaphore.acquire(timeout=0) is True


def test_acquire_until_time_is_up(hub):
    """acquire with a limit returns False when the time is up, and takes no permit."""
    semaphore = Semaphore(0)
    assert semaphore.acquire(timeout=0.001) is False
    assert semaphore.counter == 0
    semaphore.release()
    assert semaphore.counter == 1


def test_release_wakes_the_longest_waiting(hub):
    """Permits go to those who wait in the order they came, one each."""
    semaphore = Semaphore(0)
    seen = []

    def waiter(number):
        semaphore.acquire()
        seen.append(number)

    greenlets = [spawn(waiter, number) for number in range(4)]
    sleep(0)
    semaphore.release()
    semaphore.release()
    sleep(0.001)
    assert seen == [0, 1]
    semaphore.release()
    semaphore.release()
    joinall(greenlets)
    assert seen == [0, 1, 2, 3]


def test_nobody_overtakes(hub):
    """Who releases and acquires again at once goes behind those who wait: nobody is overtaken."""
    semaphore = Semaphore(1)
    turns = []

    def worker(name):
        for _ in range(3):
            with semaphore:
                turns.append(name)

    def hog():
        for _ in range(20):
            with semaphore:
                turns.append("hog")
                sleep(0)

    joinall([spawn(hog), *[spawn(worker, number) for number in range(5)]])
    first_hogs = turns.index(4)
    assert turns[:first_hogs].count("hog") <= 2


def test_acquire_at_once_does_not_overtake(hub):
    """acquire(blocking=False) does not take a permit that somebody waits for."""
    semaphore = Semaphore(0)
    waiter = spawn(semaphore.acquire)
    sleep(0)
    semaphore.release()
    assert semaphore.acquire(blocking=False) is False
    assert waiter.get(timeout=5) is True


def test_killed_waiter_gives_way(hub):
    """A waiter that is killed before its permit came leaves the queue."""
    semaphore = Semaphore(0)
    victim, other = spawn(semaphore.acquire), spawn(semaphore.acquire)
    sleep(0)
    victim.kill()
    semaphore.release()
    assert other.get(timeout=5) is True
    assert semaphore.counter == 0


def test_killed_in_the_same_turn_passes_the_permit_on(hub):
    """A waiter that is killed in the turn in which its permit came passes it on."""
    semaphore = Semaphore(0)
    victim, other = spawn(semaphore.acquire), spawn(semaphore.acquire)
    sleep(0)
    victim.kill(block=False)
    semaphore.release()
    assert other.get(timeout=5) is True
    victim.join()
    assert semaphore.counter == 0


def test_time_up_in_the_same_turn(virtual_clock):
    """When the time is up in the very instant of the release, the permit is taken or left, never lost."""
    for _ in range(50):
        semaphore = Semaphore(0)
        spawn_later(1, semaphore.release)
        taken = semaphore.acquire(timeout=1)
        sleep(1)
        assert semaphore.counter == (0 if taken else 1)


def test_wait_takes_nothing(hub):
    """wait returns when a permit is free and takes none; with a limit it returns 0 in vain."""
    semaphore = Semaphore(0)
    assert semaphore.wait(timeout=0.001) == 0
    spawn_later(0.001, semaphore.release)
    assert semaphore.wait(timeout=5) == 1
    assert semaphore.counter == 1


def test_counter_may_be_assigned(hub):
    """Permits that an assignment to counter frees go to those who wait."""
    semaphore = Semaphore(0)
    waiters = [spawn(semaphore.acquire) for _ in range(2)]
    sleep(0)
    semaphore.counter = 3
    assert [one.get(timeout=5) for one in waiters] == [True, True]
    assert semaphore.counter == 1


def test_semaphore_as_a_context_manager(hub):
    """with takes a permit and gives it back, also when the block fails."""
    semaphore = Semaphore(1)
    with pytest.raises(KeyError), semaphore:
        assert semaphore.locked()
        raise KeyError
    assert not semaphore.locked()


def test_semaphore_link(hub):
    """A link is called when a permit is free, and can be taken back."""
    semaphore = Semaphore(0)
    seen = []
    semaphore.rawlink(seen.append)
    stranger = [].append
    semaphore.rawlink(stranger)
    semaphore.unlink(stranger)
    semaphore.release()
    sleep(0)
    assert seen == [semaphore]


def test_semaphore_in_wait(hub):
    """hubbub.wait takes semaphores: those with a free permit are ready."""
    free, locked = Semaphore(1), Semaphore(0)
    assert wait([locked, free], count=1) == [free]


def test_bounded(hub):
    """A bounded semaphore refuses more releases than acquires."""
    semaphore = BoundedSemaphore(1)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    semaphore.acquire()
    semaphore.release()
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()


def test_bounded_with_a_waiter(hub):
    """A bounded semaphore with a waiter hands the permit over and refuses the next release."""
    semaphore = BoundedSemaphore(1)
    semaphore.acquire()
    waiter = spawn(semaphore.acquire)
    sleep(0)
    semaphore.release()
    assert waiter.get(timeout=5) is True
    semaphore.release()
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()


def test_dummy(hub):
    """A dummy semaphore never waits and never is locked."""
    dummy = DummySemaphore()
    seen = []
    spawn(seen.append, 1)
    for _ in range(3):
        assert dummy.acquire() is True
    dummy.release()
    with dummy:
        assert not dummy.locked()
    assert dummy.wait() == 1
    assert seen == []


# RLock ----------------------------------------------------------------------------------------------------------------


def test_rlock_is_reentrant(hub):
    """The owner may take the lock again; it is free after as many releases."""
    lock = RLock()
    assert lock.acquire() is True
    assert lock.acquire() is True
    assert lock.locked()
    other = spawn(lock.acquire, blocking=False)
    assert other.get() is False
    lock.release()
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_rlock_belongs_to_a_greenlet(hub):
    """The owner is a greenlet: another one of the same thread waits, and may not release."""
    lock = RLock()
    lock.acquire()

    def release():
        with pytest.raises(RuntimeError, match="un-acquired"):
            lock.release()
        return True

    assert spawn(release).get() is True
    waiter = spawn(lock.acquire)
    sleep(0)
    assert not waiter.ready()
    lock.release()
    assert waiter.get(timeout=5) is True


def test_rlock_unowned(hub):
    """Releasing a lock that nobody owns is a RuntimeError."""
    with pytest.raises(RuntimeError, match="un-acquired"):
        RLock().release()


def test_rlock_until_time_is_up(hub):
    """acquire with a limit returns False when somebody else keeps the lock."""
    lock = RLock()
    lock.acquire()
    assert spawn(lock.acquire, timeout=0.001).get() is False
    lock.release()
    with lock:
        assert lock.locked()
    assert not lock.locked()


def test_fifo_among_lockers(hub):
    """Those who wait for an RLock get it in the order they came."""
    lock = RLock()
    seen = []

    def worker(number):
        with lock:
            seen.append(number)
            sleep(0)

    joinall([spawn(worker, number) for number in range(6)])
    assert seen == list(range(6))


# Threads --------------------------------------------------------------------------------------------------------------


def test_release_by_a_foreign_thread(hub):
    """release from a thread without a hub wakes a waiter, within 50 milliseconds unless the process stands still."""
    semaphore = Semaphore(0)
    delays = []

    def send(sent):
        time.sleep(0.005)
        sent.append(time.monotonic())
        semaphore.release()

    for _ in range(10):
        sent = []
        thread = threading.Thread(target=send, args=(sent,))
        thread.start()
        assert semaphore.acquire(timeout=5)
        delays.append(time.monotonic() - sent[0])
        thread.join()
    assert min(delays) < 0.05


def test_two_hubs_take_turns(hub):
    """Two hubs that hand a permit back and forth never lose it."""
    ping, pong = Semaphore(0), Semaphore(0)

    def other():
        for _ in range(300):
            assert ping.acquire(timeout=5)
            pong.release()

    thread = threading.Thread(target=other)
    thread.start()
    for _ in range(300):
        ping.release()
        assert pong.acquire(timeout=5)
    thread.join()
    assert (ping.counter, pong.counter) == (0, 0)


@pytest.mark.parametrize("hubs", [0, 1, 2])
def test_mutual_exclusion_between_threads(hub, hubs):
    """A lock between native threads, with none, one or two hubs that wait in greenlets, excludes and never hangs."""
    lock = Semaphore(1)
    inside = 0
    worst = 0
    total = 0

    def work(count):
        nonlocal inside, worst, total
        for _ in range(count):
            assert lock.acquire()
            inside += 1
            worst = max(worst, inside)
            total += 1
            inside -= 1
            lock.release()

    def native():
        joinall([spawn(work, 100) for _ in range(3)]) if hubs == 2 else work(300)

    threads = [threading.Thread(target=native) for _ in range(2)]
    for thread in threads:
        thread.start()
    if hubs:
        joinall([spawn(work, 100) for _ in range(3)])
    for thread in threads:
        while thread.is_alive():
            sleep(0.001)
        thread.join()
    assert worst == 1
    assert total == (900 if hubs else 600)
    assert lock.counter == 1


def test_timeout_around_acquire(hub):
    """A Timeout that fires inside acquire leaves the number of permits intact."""
    semaphore = Semaphore(0)
    for _ in range(20):
        with pytest.raises(Timeout), Timeout(0.0005):
            semaphore.acquire()
    semaphore.release()
    assert semaphore.counter == 1
    assert semaphore.acquire(timeout=1)


def test_polling_lets_the_holder_run(hub):
    """A greenlet that polls acquire(blocking=False) and sleeps 0 seconds lets the holder run."""
    semaphore = Semaphore(1)
    done = Event()

    def holder():
        with semaphore:
            sleep(0.002)
        done.set()

    spawn(holder)
    sleep(0)
    while not semaphore.acquire(blocking=False):
        sleep(0)
    assert done.wait(timeout=5)
