"""wait, iwait and joinall: several greenlets, events and the like, in the order in which they become ready."""

from __future__ import annotations

import threading

import hubbub
import pytest
from greenlet import GreenletExit, settrace
from hubbub import Event, Timeout, iwait, joinall, sleep, spawn, spawn_later, wait


class Failure(Exception):
    """Raised by the greenlets of these tests."""


def fail(error=Failure):
    raise error


def test_wait_in_order_of_completion(hub):
    """wait returns the objects in the order in which they became ready."""
    slow, fast = spawn(sleep, 0.01), spawn(sleep, 0.001)
    assert wait([slow, fast]) == [fast, slow]


def test_wait_for_a_few(hub):
    """With a count, wait returns as soon as so many are ready."""
    slow, fast = spawn(sleep, 10), spawn(sleep, 0.001)
    assert wait([slow, fast], count=1) == [fast]
    slow.kill()


def test_wait_until_time_is_up(hub):
    """With a limit, wait returns those that were ready in time, and none of the links stays."""
    slow, fast = spawn(sleep, 10), spawn(int)
    fast.join()
    assert wait([slow, fast], timeout=0.005) == [fast]
    assert not slow.has_links()
    slow.kill()


def test_wait_for_anything_linkable(virtual_clock):
    """wait and iwait take greenlets, events, results and semaphores alike."""
    event, result, semaphore = Event(), hubbub.AsyncResult(), hubbub.Semaphore(0)
    spawn_later(1, event.set)
    spawn_later(2, result.set)
    spawn_later(3, semaphore.release)
    assert wait([semaphore, result, event], timeout=5) == [event, result, semaphore]


def test_wait_for_everything(hub):
    """wait() without objects runs until nothing is left to wait for, or until the time is up."""
    seen = []
    spawn_later(0.001, seen.append, 1)
    assert wait() is True
    assert seen == [1]
    one = spawn(sleep, 10)
    assert wait(timeout=0.005) is False
    one.kill()


def test_iwait_yields_as_they_come(virtual_clock):
    """iwait yields each object when it is ready, those that are ready already first."""
    done = spawn(int)
    done.join()
    slow, fast = spawn(sleep, 2), spawn(sleep, 1)
    assert list(iwait([slow, done, fast])) == [done, fast, slow]


def test_iwait_as_a_context_manager(hub):
    """Left early, iwait as a context manager takes its links back."""
    greenlets = [spawn(sleep, 10), spawn(int)]
    with iwait(greenlets) as ready:
        assert next(ready) is greenlets[1]
    assert not greenlets[0].has_links()
    greenlets[0].kill()


def test_iwait_of_nothing(hub):
    """iwait of nothing yields nothing, and wait of an empty list returns one."""
    assert list(iwait([])) == []
    assert wait([]) == []


def test_foreign_timeout_passes_through_iwait(hub):
    """A Timeout of somebody else is not mistaken for iwait's own."""
    one = spawn(sleep, 10)
    with pytest.raises(Timeout) as caught, Timeout(0.005) as mine:
        list(iwait([one], timeout=5))
    assert caught.value is mine
    one.kill()


def test_joinall_raises_the_first_failure(quiet):
    """joinall(raise_error=True) raises the error of the first that fails, without waiting for the rest."""
    slow = spawn(sleep, 10)
    with pytest.raises(Failure):
        joinall([slow, spawn(fail)], raise_error=True)
    assert not slow.dead
    slow.kill()


def test_joinall_returns_those_that_ended(virtual_clock):
    """joinall returns the finished ones in the order of completion, failed ones too."""
    hubbub.get_hub().exception_stream = None
    slow, bad, fast = spawn(sleep, 10), spawn(fail), spawn(sleep, 1)
    assert joinall([slow, bad, fast], timeout=2) == [bad, fast]
    assert joinall([slow, bad, fast], count=1) == [bad]
    slow.kill()


@pytest.mark.parametrize("way", [wait, joinall, lambda *args, **kwargs: list(iwait(*args, **kwargs))])
def test_what_ends_as_the_time_runs_out_counts(virtual_clock, way):
    """A greenlet that has ended when the time runs out is among the results, though its links were not called yet."""
    one = spawn(sleep, 1)
    never = spawn(sleep, 10)
    sleep(0)
    assert way([one, never], timeout=1) == [one]
    never.kill()


@pytest.mark.parametrize("way", [wait, joinall, lambda *args, **kwargs: list(iwait(*args, **kwargs))])
def test_a_limit_ends_with_its_wait(virtual_clock, way):
    """The time limit of a wait that has ended is not raised in what follows, nor after a kill."""
    assert len(way([spawn(sleep, 1)], timeout=2)) == 1
    sleep(5)
    never = spawn(sleep, 50)

    def waits():
        try:
            way([never], timeout=3)
        finally:
            sleep(5)

    waiting = spawn(waits)
    sleep(0)
    waiting.kill()
    assert isinstance(waiting.get(), GreenletExit)
    never.kill()


def test_joinall_is_woken_once(hub):
    """However many greenlets end in however many turns, the one that waits for them all runs again once."""
    ran = []

    def waits():
        joinall([spawn(sleep, number / 1000) for number in range(5)])

    waiting = spawn(waits)
    sleep(0)

    def note(event, args):
        ran.append(args[1])

    before = settrace(note)
    try:
        waiting.join()
    finally:
        settrace(before)
    assert ran.count(waiting) == 1


def test_wait_for_a_few_of_objects_set_in_another_thread(hub):
    """Events that another thread sets at once wake the one that waits for them, as many as it waits for."""
    for _ in range(50):
        events = [Event() for _ in range(4)]
        threads = [threading.Thread(target=one.set) for one in events]
        for thread in threads:
            thread.start()
        found = wait(events, timeout=10, count=3)
        assert len(found) == 3
        assert set(found) < set(events)
        for thread in threads:
            thread.join()


def test_joinall_takes_a_generator(hub):
    """joinall takes any iterable."""
    assert len(joinall(spawn(int) for _ in range(3))) == 3
