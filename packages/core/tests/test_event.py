"""Events and results."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from hubbub import AsyncResult, Event, Semaphore, Timeout, joinall, killall, sleep, spawn, spawn_later
from hubbub import event as event_module
from hubbub.lowlevel import count_waiting


class Failure(Exception):
    """An exception of these tests."""


# Event ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mutex", ["event._mutex", "_links._making"])
def test_mutexes_of_modules_are_free_in_a_child(mutex):
    """A child of a process in which another thread was just setting or linking an event can do so as before."""
    code = (
        "import os, threading, hubbub\n"
        "from hubbub import _links, event\n"
        "held, go = threading.Event(), threading.Event()\n"
        "def hold():\n"
        f"    with {mutex}:\n"
        "        held.set()\n"
        "        go.wait()\n"
        "thread = threading.Thread(target=hold)\n"
        "thread.start()\n"
        "held.wait()\n"
        "if not os.fork():\n"
        "    done = event.AsyncResult()\n"
        "    done.rawlink(str)\n"
        "    hubbub.spawn_later(0.001, event.AsyncResult.set, done, 7)\n"
        "    os._exit(done.result())\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "go.set()\n"
        "thread.join()\n"
    )
    options = ["-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.split() == ["7"]


def test_the_thread_that_forks_keeps_the_mutex_of_a_module(hub):
    """Code that forks while its own thread holds such a mutex gives it back in the child as in the parent."""
    with event_module._mutex:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                event_module._mutex.release()
                status = 0
            finally:
                os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_set_and_clear(hub):
    """is_set tells whether the flag is set; set and clear are idempotent."""
    event = Event()
    states = [event.is_set()]
    event.set()
    event.set()
    states.append(event.is_set())
    event.clear()
    event.clear()
    states.append(event.is_set())
    assert states == [False, True, False]
    assert "clear" in repr(event)


def test_wait_on_a_set_event(hub):
    """wait on a set event returns True at once, without letting anybody else run."""
    event = Event()
    event.set()
    seen = []
    spawn(seen.append, 1)
    assert event.wait() is True
    assert event.wait(timeout=0) is True
    assert seen == []


def test_wait_until_set(hub):
    """wait returns True when the flag is set."""
    event = Event()
    spawn_later(0.001, event.set)
    assert event.wait() is True


def test_wait_until_time_is_up(hub):
    """wait returns False when the time is up first, and leaves nothing behind."""
    event = Event()
    assert event.wait(timeout=0.001) is False
    assert event.wait(timeout=0) is False
    assert "waiters=0" in repr(event)


def test_waiters_wake_in_order(hub):
    """All waiters wake, in the order they came, and those that come later after them."""
    event = Event()
    seen = []

    def waiter(number):
        event.wait()
        seen.append(number)

    greenlets = [spawn(waiter, number) for number in range(5)]
    sleep(0)
    event.set()
    greenlets.append(spawn(waiter, "late"))
    joinall(greenlets)
    assert seen == [0, 1, 2, 3, 4, "late"]


def test_set_then_clear_wakes_those_that_wait(hub):
    """set followed at once by clear wakes all that waited before, and they get True."""
    event = Event()
    waiters = [spawn(event.wait, 5) for _ in range(3)]
    sleep(0)
    event.set()
    event.clear()
    assert [one.get() for one in waiters] == [True] * 3
    assert not event.is_set()


def test_a_late_waiter_after_clear_waits(hub):
    """Who begins to wait after set and clear waits."""
    event = Event()
    event.set()
    event.clear()
    assert event.wait(timeout=0.001) is False


def test_killed_waiter_takes_nothing_with_it(hub):
    """A waiter that is killed does not keep the others from waking."""
    event = Event()
    victim, other = spawn(event.wait), spawn(event.wait)
    sleep(0)
    victim.kill(block=False)
    event.set()
    assert other.get(timeout=5) is True
    victim.join()


def test_event_links(hub):
    """A link is called once when the event is set, on the hub; an unlinked one is not."""
    event = Event()
    seen = []
    event.rawlink(seen.append)
    other = seen.append
    event.rawlink(other)
    event.unlink(other)
    event.set()
    assert seen == []
    sleep(0)
    assert seen == [event]
    event.rawlink(seen.append)
    sleep(0)
    assert seen == [event, event]
    with pytest.raises(TypeError, match="callable"):
        event.rawlink(None)


def test_event_link_that_fails(hub):
    """A link that fails is reported, and the others are called."""
    event = Event()
    seen, reports = [], []
    hub.handle_error = lambda context, kind, error, tb: reports.append(kind)

    def fail(source):
        raise Failure

    event.rawlink(fail)
    event.rawlink(seen.append)
    event.set()
    sleep(0)
    assert (seen, reports) == ([event], [Failure])


def test_wait_in_a_callback(hub):
    """Waiting for an event in a loop callback waits as anywhere; the loop goes on."""
    event, in_vain, woken = Event(), AsyncResult(), AsyncResult()
    hub.loop.run_callback(lambda: woken.set(event.wait()))
    hub.loop.run_callback(lambda: in_vain.set(event.wait(0.001)))
    assert in_vain.get(timeout=5) is False
    assert not woken.ready()
    event.set()
    assert woken.get(timeout=5) is True


def test_callbacks_that_set_and_clear(hub):
    """Links that set and clear the event they were called for end neither in a loop nor in an early return."""
    event = Event()
    calls = []

    def callback(source):
        calls.append(source.is_set())
        source.clear()
        source.set()

    event.rawlink(callback)
    waiter = spawn(event.wait, 5)
    sleep(0)
    event.set()
    assert waiter.get() is True
    sleep(0.001)
    assert calls == [True]


# AsyncResult ----------------------------------------------------------------------------------------------------------


def test_result_value(hub):
    """A result gives its value to everybody, at once when it is there."""
    result = AsyncResult()
    waiters = [spawn(result.get) for _ in range(3)]
    assert (result.ready(), result.successful(), result.value) == (False, False, None)
    spawn_later(0.001, result.set, 5)
    assert result.get() == 5
    assert [one.get() for one in waiters] == [5] * 3
    assert (result.ready(), result.successful(), result.value) == (True, True, 5)
    assert result.get_nowait() == result.wait() == result.result() == 5


def test_result_error(hub):
    """A result gives its error to everybody, the same object; wait returns None then."""
    result = AsyncResult()
    error = Failure()
    result.set_exception(error)
    assert (result.ready(), result.successful(), result.exception) == (True, False, error)
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            result.get()
        assert caught.value is error
    assert result.wait() is None
    assert result.exc_info[1] is error


def test_result_get_again_does_not_lengthen_the_traceback(hub):
    """Raising the stored error again and again does not make its traceback grow."""
    result = AsyncResult()
    try:
        raise Failure
    except Failure as error:
        result.set_exception(error)
    lengths = []
    for _ in range(4):
        with pytest.raises(Failure) as caught:
            result.get()
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


def test_result_in_time(hub):
    """get raises Timeout when nothing is there in time, wait returns None."""
    result = AsyncResult()
    with pytest.raises(Timeout):
        result.get(timeout=0.001)
    with pytest.raises(Timeout):
        result.get(block=False)
    with pytest.raises(Timeout):
        result.get_nowait()
    assert result.wait(timeout=0.001) is None


def test_result_last_one_counts(hub):
    """A result may be set again: the last one counts."""
    result = AsyncResult()
    result.set(1)
    result.set(2)
    assert result.get() == 2
    result.set_exception(Failure())
    with pytest.raises(Failure):
        result.get()
    result.set(3)
    assert result.get() == 3


def test_result_as_a_future(hub):
    """A result has the names of concurrent.futures: done, result, set_result, cancel, cancelled."""
    result = AsyncResult()
    assert (result.done(), result.cancelled(), result.cancel()) == (False, False, False)
    result.set_result(1)
    assert result.done()
    assert result.result(timeout=1) == 1


def test_result_of_a_result(hub):
    """A result is a link: called with a finished greenlet or result, it takes over value or error."""
    source, target = AsyncResult(), AsyncResult()
    source.rawlink(target)
    source.set("value")
    assert target.get(timeout=5) == "value"
    bad, target = AsyncResult(), AsyncResult()
    bad.set_exception(Failure())
    target(bad)
    with pytest.raises(Failure):
        target.get()


def test_none_is_a_value(hub):
    """None is a value like any other."""
    result = AsyncResult()
    result.set()
    assert result.ready()
    assert result.get() is None


def test_result_waiters_in_order(hub):
    """Those who wait for a result wake in the order they came."""
    result = AsyncResult()
    seen = []

    def waiter(number):
        result.get()
        seen.append(number)

    greenlets = [spawn(waiter, number) for number in range(4)]
    sleep(0)
    result.set()
    joinall(greenlets)
    assert seen == [0, 1, 2, 3]


# Threads --------------------------------------------------------------------------------------------------------------


def delay_of_a_wake_up(wait, wake):
    """Seconds from ``wake()`` in another thread to the end of ``wait()`` here: the best of ten.

    The process may stand still in between, so not each is as fast; ``wait`` has to fail if it is not woken at all.
    """
    delays = []
    for _ in range(10):
        sent = []

        def send(sent=sent):
            time.sleep(0.005)
            sent.append(time.monotonic())
            wake()

        thread = threading.Thread(target=send)
        thread.start()
        wait()
        delays.append(time.monotonic() - sent[0])
        thread.join()
    return min(delays)


def test_event_set_by_a_foreign_thread(hub):
    """set from a thread without a hub wakes a waiter, within 50 milliseconds unless the process stands still."""
    event = Event()

    def wait():
        assert event.wait(timeout=5)
        event.clear()

    assert delay_of_a_wake_up(wait, event.set) < 0.05


def test_result_set_by_a_foreign_thread(hub):
    """A result set by a thread without a hub wakes those who wait, as fast as an event does."""
    results = [AsyncResult() for _ in range(10)]
    waiting, setting = iter(results), iter(results)
    delay = delay_of_a_wake_up(lambda: next(waiting).get(timeout=5), lambda: next(setting).set(1))
    assert delay < 0.05


def test_event_between_two_hubs(hub):
    """An event wakes waiters of two hubs, set from a third thread."""
    event = Event()
    seen = []

    def other():
        seen.append(event.wait(timeout=5))

    thread = threading.Thread(target=other)
    thread.start()
    threading.Timer(0.02, event.set).start()
    assert event.wait(timeout=5)
    thread.join()
    assert seen == [True]


@pytest.fixture(params=[None, 1e-6], ids=["", "restless"])
def interval(request):
    """How soon native threads take the GIL from one another."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(request.param or before)
    yield
    sys.setswitchinterval(before)


def test_two_hubs_take_turns(hub, interval):
    """Two hubs that answer each other through events: no set is missed, and none wakes somebody twice."""
    ping, pong = Event(), Event()
    rounds = 300

    def other():
        for _ in range(rounds):
            assert ping.wait(timeout=5)
            ping.clear()
            pong.set()

    thread = threading.Thread(target=other)
    thread.start()
    for _ in range(rounds):
        ping.set()
        assert pong.wait(timeout=5)
        pong.clear()
    thread.join()


def test_two_hubs_hand_results_over(hub, interval):
    """Two hubs that answer each other through results never miss one another."""
    questions = [AsyncResult() for _ in range(300)]
    answers = [AsyncResult() for _ in range(300)]

    def other():
        for question, answer in zip(questions, answers, strict=True):
            answer.set(question.get(timeout=5) * 2)

    thread = threading.Thread(target=other)
    thread.start()
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        question.set(number)
        assert answer.get(timeout=5) == number * 2
    thread.join()


def test_link_from_a_foreign_thread(hub):
    """A link is called on the hub of the thread that made it, whoever sets the event."""
    event = Event()
    called = []
    done = Event()

    def callback(source):
        called.append(threading.get_ident())
        done.set()

    event.rawlink(callback)
    thread = threading.Thread(target=event.set)
    thread.start()
    assert done.wait(timeout=5)
    thread.join()
    assert called == [threading.get_ident()]


def test_result_of_a_class_with_a_value_of_its_own(hub):
    """A subclass may have a class attribute where the base has a slot: what was set is what is got."""

    class Result(AsyncResult):
        value = None

    result = Result()
    assert Result.value is None
    spawn(result.set, 7)
    assert (result.get(), result.value, result.wait()) == (7, 7, 7)


def test_counting_who_waits():
    """``count_waiting`` tells how many wait for something, and how many links it has, of whatever kind it is."""
    for item in (Event(), AsyncResult(), Semaphore(0)):
        assert count_waiting(item) == 0
        waiting = [spawn(getattr(item, "acquire", item.wait)) for _ in range(2)]
        sleep(0)
        item.rawlink(print)
        assert count_waiting(item) == 3
        item.unlink(print)
        killall(waiting)
        assert count_waiting(item) == 0
