"""Conditions: notifications in order, none lost, and the lock held afterwards whatever happens."""

from __future__ import annotations

import hubbub
import pytest
from hubbub import Condition, Semaphore, Timeout, joinall, sleep, spawn


def waiting(condition, log, name, timeout=None):
    def body():
        with condition:
            log.append((name, condition.wait(timeout)))

    return spawn(body)


def test_notify_wakes_in_order(hub):
    """notify wakes those who have waited longest; notify_all the rest."""
    condition, log = Condition(), []
    greenlets = [waiting(condition, log, name) for name in "abc"]
    sleep(0)
    with condition:
        condition.notify()
    sleep(0)
    sleep(0)
    assert log == [("a", True)]
    with condition:
        condition.notify_all()
    joinall(greenlets, timeout=5)
    assert log == [("a", True), ("b", True), ("c", True)]


def test_wait_times_out(virtual_clock):
    """wait returns False after its time, with the lock held."""
    condition = Condition()
    with condition:
        assert not condition.wait(3)
        assert condition._lock.locked()
    assert virtual_clock.now() == pytest.approx(3)


def test_wait_for_a_predicate(virtual_clock):
    """wait_for returns the predicate's value, or its last false one when the time is up."""
    condition, items = Condition(), []

    def produce():
        sleep(1)
        with condition:
            items.append("item")
            condition.notify()

    spawn(produce)
    with condition:
        assert condition.wait_for(lambda: items[-1:] and items[-1]) == "item"
        assert condition.wait_for(lambda: 0, timeout=2) == 0
    assert virtual_clock.now() == pytest.approx(3)


def test_a_killed_waiter_passes_its_notification_on(hub):
    """The notification of a waiter that is killed in the same turn reaches the next one."""
    condition, log = Condition(), []
    first, second = waiting(condition, log, "first"), waiting(condition, log, "second")
    sleep(0)
    first.kill(block=False)
    with condition:
        condition.notify()
    second.join(5)
    assert log == [("second", True)]
    assert first.dead
    assert not condition._lock.locked()


def test_the_lock_is_held_after_an_interruption(virtual_clock):
    """A time-out raised in wait arrives with the lock held, also if somebody else has it for a while."""
    condition = Condition()

    def holds():
        with condition:
            sleep(20)

    with pytest.raises(Timeout), condition, Timeout(5):
        spawn(holds)
        try:
            condition.wait()
        finally:
            assert condition._lock._is_owned()
    assert not condition._lock.locked()


def test_a_plain_semaphore_as_the_lock(hub):
    """Any lock with acquire and release will do."""
    condition, log = Condition(Semaphore(1)), []
    greenlet = waiting(condition, log, "a")
    sleep(0)
    with condition:
        condition.notify()
    greenlet.join(5)
    assert log == [("a", True)]


def test_the_lock_must_be_held(hub):
    """wait and notify without the lock are errors."""
    condition = Condition()
    with pytest.raises(RuntimeError, match="held"):
        condition.wait()
    with pytest.raises(RuntimeError, match="held"):
        condition.notify()
    assert isinstance(hubbub.Condition(), Condition)
