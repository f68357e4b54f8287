"""The hub: one for each thread, sleeping, errors, the end."""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import socket
import threading
import time
import weakref

import hubbub
import pytest
from greenlet import GreenletExit, getcurrent
from hubbub import Event, Hub, LoopExit, get_hub, idle, sleep, spawn, spawn_later
from hubbub.exceptions import LoopDestroyed
from hubbub.io import Socket
from hubbub.loop.base import SLICE, SLICES
from hubbub.lowlevel import get_hub_if_exists, hubs, run_callback, run_callback_threadsafe, set_hub_class


class Failure(Exception):
    """Raised by the greenlets of these tests."""


def fail(error=Failure):
    raise error


def in_thread(function, *args):
    """What ``function`` returns in a native thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


# One for each thread


def test_one_hub(hub):
    """get_hub returns the same hub in all greenlets of a thread."""
    assert get_hub() is hub
    assert spawn(get_hub).get() is hub


def test_other_thread_other_hub(hub):
    """Every thread that asks has a hub of its own, and one that does not ask has none."""
    assert in_thread(get_hub) is not hub
    assert in_thread(get_hub_if_exists) is None
    assert get_hub_if_exists() is hub


def test_ends_with_its_thread(hub):
    """When a thread ends, its hub is destroyed: loop and descriptors are gone."""
    loop = in_thread(lambda: get_hub().loop)
    gc.collect()
    assert loop.destroyed
    assert hubs() == [hub]


def test_ends_with_its_thread_after_a_failure(hub):
    """That is so too when the thread dies of an error, with greenlets that wait."""
    loops = []

    def work():
        loops.append(get_hub().loop)
        spawn(sleep, 3600)
        sleep(0)

    in_thread(work)
    gc.collect()
    assert loops[0].destroyed


def test_greenlets_of_a_thread_run_there(hub):
    """Greenlets run in the thread that spawned them, beside those of other threads."""

    def work():
        return spawn(threading.get_ident).get() == threading.get_ident()

    assert in_thread(work) is True


# Sleeping


def test_sleep_is_not_short(hub):
    """sleep returns after its time, not before."""
    begun = time.monotonic()
    sleep(0.02)
    assert time.monotonic() - begun >= 0.0195


def test_sleepers_wake_in_order(virtual_clock):
    """Sleepers wake in order of their times; an earlier one is not held up by a later one."""
    seen = []

    def sleeper(seconds):
        sleep(seconds)
        seen.append(seconds)

    for seconds in (3, 1, 2):
        spawn(sleeper, seconds)
    sleep(5)
    assert seen == [1, 2, 3]


def test_sleep_zero_lets_everybody_run(hub):
    """sleep(0) lets those run that are ready, in order, and comes back."""
    seen = []

    def turn(name):
        for _ in range(3):
            seen.append(name)
            sleep(0)

    greenlets = [spawn(turn, name) for name in "abc"]
    hubbub.joinall(greenlets)
    assert "".join(seen) == "abcabcabc"


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_sleep_of_nothing(hub, seconds):
    """Zero and negative times yield once."""
    seen = []
    spawn(seen.append, 1)
    sleep(seconds)
    assert seen == [1]


def test_sleep_needs_a_number(hub):
    """What is no number of seconds is refused, and nothing waits."""
    for wrong in (None, "1", []):
        with pytest.raises(TypeError):
            sleep(wrong)


def test_unreferenced_sleep(hub):
    """A sleep with ref=False does not keep the loop from ending."""
    one = spawn(sleep, 3600, ref=False)
    assert hub.join(timeout=5)
    one.kill()


def test_sleep_in_a_callback(virtual_clock):
    """Sleeping in a loop callback waits as anywhere; the loop goes on."""
    seen = []
    for seconds in (5, 0):
        run_callback(lambda seconds=seconds: (sleep(seconds), seen.append(seconds)))
    sleep(10)
    assert seen == [0, 5]


def test_idle(hub):
    """idle returns when nothing else is ready to run."""
    seen = []

    def busy():
        for _ in range(3):
            sleep(0)
        seen.append("busy")

    spawn(busy)
    idle()
    seen.append("idle")
    assert seen == ["busy", "idle"]


def test_spinning_greenlets_leave_room_for_io(hub):
    """Twenty greenlets that spin on sleep(0) leave room for I/O: the p90 of a ping-pong beside them is under 30 ms.

    Of the time in which this thread runs: it always does, except when the whole process stands still.
    """
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    stop = []

    def spin():
        while not stop:
            sleep(0)

    def echo():
        while data := right.recv(10):
            right.sendall(data)

    greenlets = [spawn(spin) for _ in range(20)] + [spawn(echo)]
    times = []
    for _ in range(40):
        begun = time.thread_time()
        left.sendall(b"x")
        left.recv(10)
        times.append(time.thread_time() - begun)
    stop.append(1)
    left.close()
    hubbub.joinall(greenlets)
    right.close()
    assert sorted(times)[36] < 0.03


def test_a_greenlet_that_computes_lets_the_kernel_be_asked(hub):
    """A greenlet that computes for longer than a turn's budget between its sleep(0) runs three times at most before the
    loop has asked for events, and not a whole slice of times."""
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    runs = []

    def compute():
        right.send(b"x")
        while not reader.ready():
            runs.append(1)
            end = time.monotonic() + 2 * hub.loop.turn_seconds
            while time.monotonic() < end:
                pass
            sleep(0)

    reader = spawn(left.recv, 10)
    sleep(0)
    spawn(compute).join()
    assert reader.get() == b"x"
    assert len(runs) <= 3
    left.close()
    right.close()


# Errors


def test_loop_exit(hub):
    """Waiting for what nobody can bring raises LoopExit in the main greenlet, with the hub; the hub goes on then."""
    with pytest.raises(LoopExit, match="block forever") as caught:
        Event().wait()
    assert caught.value.hub is hub
    sleep(0.001)
    with pytest.raises(LoopExit):
        hubbub.Queue().get()
    assert spawn(lambda: 5).get() == 5


def test_loop_exit_while_a_greenlet_waits_too(hub):
    """A deadlock of several greenlets raises LoopExit in the main greenlet; the others stay where they are."""
    event = Event()
    one = spawn(event.wait)
    with pytest.raises(LoopExit):
        one.join()
    assert not one.ready()
    event.set()
    assert one.get(timeout=5) is True


def test_failure_is_printed(hub):
    """A failure is printed on exception_stream: traceback, time stamp, what failed, with which error."""
    hub.exception_stream = stream = io.StringIO()
    one = spawn(fail)
    one.join()
    text = stream.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text
    assert text.rstrip().endswith(f"{one!r} failed with Failure")
    assert time.strftime("%Y-%m-") in text


def test_exception_stream(hub, capsys):
    """exception_stream is sys.stderr unless assigned; None prints nothing."""
    run_callback(fail)
    sleep(0.001)
    assert "Failure" in capsys.readouterr().err
    hub.exception_stream = None
    run_callback(fail)
    sleep(0.001)
    assert capsys.readouterr().err == ""


def test_broken_exception_stream(hub):
    """A stream that is closed or fails does not take the hub down."""

    class Broken(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    for stream in (Broken(), io.StringIO()):
        stream.close()
        hub.exception_stream = stream
        spawn(fail).join()
    assert spawn(lambda: 1).get() == 1


def test_failing_repr_of_what_failed(hub):
    """A context whose repr fails is reported all the same."""

    class Nameless:
        def __repr__(self):
            raise Failure

        def __call__(self):
            raise ValueError("reported")

    hub.exception_stream = stream = io.StringIO()
    run_callback(Nameless())
    sleep(0.001)
    assert "reported" in stream.getvalue()


def test_not_error(hub):
    """What is in NOT_ERROR is not printed; the hub's own tuple may be assigned."""
    hub.exception_stream = stream = io.StringIO()
    spawn(fail, GreenletExit).join()
    assert stream.getvalue() == ""
    hub.NOT_ERROR = (*Hub.NOT_ERROR, Failure)
    spawn(fail).join()
    assert stream.getvalue() == ""
    assert Failure not in Hub.NOT_ERROR


def test_system_error(hub):
    """What is in SYSTEM_ERROR is raised in the main greenlet; the hub's own tuple may be assigned."""
    hub.exception_stream = None
    hub.SYSTEM_ERROR = (*Hub.SYSTEM_ERROR, Failure)
    spawn(fail)
    with pytest.raises(Failure):
        sleep(5)
    sleep(0.001)


def test_system_error_of_a_callback(hub):
    """KeyboardInterrupt and SystemExit of a loop callback are raised in the main greenlet."""
    hub.exception_stream = None
    for error in (KeyboardInterrupt, SystemExit):
        run_callback(fail, error)
        with pytest.raises(error):
            sleep(5)


def test_handle_error_on_the_instance(hub):
    """handle_error may be replaced on the hub itself; it is told of greenlets, callbacks and watchers."""
    reports = []
    hub.handle_error = lambda context, kind, error, tb: reports.append((context, kind))
    one = spawn(fail)
    timer = hub.loop.timer(0.0)
    timer.start(fail, KeyError)
    run_callback(fail, ValueError)
    sleep(0.005)
    assert set(reports) == {(one, Failure), (timer, KeyError), (fail, ValueError)}


def test_keyboard_interrupt(hub):
    """Ctrl-C interrupts a waiting main greenlet at once."""
    hub.exception_stream = None
    thread = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT])
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        thread.start()
        sleep(30)
    thread.join()
    assert time.monotonic() - begun < 25
    sleep(0.001)


def test_keyboard_interrupt_in_a_greenlet(hub):
    """Ctrl-C that hits another greenlet than the main one is raised in the main one."""
    hub.exception_stream = None

    def spin():
        threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            pass

    spawn(spin)
    with pytest.raises(KeyboardInterrupt):
        sleep(30)


# Callbacks


def test_run_callback(hub):
    """run_callback calls on the hub, in order, and can be stopped."""
    seen = []
    run_callback(lambda: seen.append(getcurrent() is hub))
    run_callback(seen.append, 2).stop()
    run_callback(seen.append, 3)
    sleep(0)
    assert seen == [True, 3]


def test_run_callback_threadsafe(hub):
    """run_callback_threadsafe calls on the given hub, from any thread."""
    done = Event()
    seen = []

    def callback():
        seen.append(threading.get_ident())
        done.set()

    threading.Thread(target=run_callback_threadsafe, args=(hub, callback)).start()
    assert done.wait(timeout=5)
    assert seen == [threading.get_ident()]


def test_wait_for_a_watcher(hub):
    """hub.wait waits for one event of a watcher and stops it."""
    timer = hub.loop.timer(0.001)
    hub.wait(timer)
    assert not timer.active
    repeating = hub.loop.timer(0.001, repeat=0.001)
    hub.wait(repeating)
    assert not repeating.active


# The end


def test_join(hub):
    """join runs until nothing is left, or until the time is up."""
    seen = []
    spawn_later(0.002, seen.append, 1)
    assert hub.join() is True
    assert seen == [1]
    assert hub.join() is True
    one = spawn(sleep, 3600)
    assert hub.join(timeout=0.002) is False
    one.kill()


def test_join_only_in_the_main_greenlet(hub):
    """join from another greenlet is a RuntimeError."""

    def body():
        with pytest.raises(RuntimeError, match="main greenlet"):
            hub.join()
        return True

    assert spawn(body).get() is True


def test_destroy(hub):
    """After destroy the thread's next get_hub makes a new hub; destroying again is harmless."""
    hub.destroy()
    hub.destroy()
    assert "destroyed" in repr(hub)
    assert hub.loop.destroyed
    with pytest.raises(LoopDestroyed):
        hub.loop.run_callback(print)
    new = get_hub()
    assert new is not hub
    sleep(0.001)


def test_waiting_greenlets_of_a_destroyed_hub(hub, capsys):
    """Greenlets that wait for anything when their hub is destroyed never run again, and end quietly."""
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    seen = []
    queue, event, semaphore = hubbub.Queue(), Event(), hubbub.Semaphore(0)

    def body(wait, *args):
        wait(*args)
        seen.append(wait)

    waits = [
        (sleep, 3600),
        (left.recv, 1),
        (event.wait,),
        (event.wait, 3600),
        (queue.get,),
        (queue.get, True, 3600),
        (semaphore.acquire,),
        (semaphore.acquire, True, 3600),
        (hubbub.with_timeout, 3600, sleep, 7200),
    ]
    greenlets = [spawn(body, *wait) for wait in waits]
    greenlets.append(spawn(body, greenlets[0].join))
    late = spawn_later(3600, body, int)
    sleep(0.001)
    hub.destroy()
    del greenlets, late
    gc.collect()
    sleep(0.001)
    left.close()
    right.close()
    del queue, event, semaphore, waits
    gc.collect()
    assert seen == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("limit", [None, 3600])
def test_hub_destroyed_by_a_greenlet(loop_name, limit):
    """Whatever the main greenlet waits for goes on when a greenlet ends the hub, with an error if that has not come.

    The thread's next hub works.
    """
    outcomes = []
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    left.settimeout(limit)

    def end_the_hub():
        get_hub().destroy()
        sleep(0.001)

    def in_thread():
        for wait in (
            lambda greenlet: greenlet.join(limit),
            lambda greenlet: sleep(limit or 3600),
            lambda greenlet: left.recv(1),
            lambda greenlet: Event().wait(limit),
            lambda greenlet: hubbub.Queue().get(True, limit),
            lambda greenlet: hubbub.Semaphore(0).acquire(True, limit),
        ):
            try:
                wait(ending := spawn(end_the_hub))
                outcomes.append(ending.dead)
            except LoopExit as error:
                outcomes.append("The hub was destroyed while this greenlet waited" in str(error))
            except OSError as error:
                outcomes.append(error.errno == errno.EBADF)
            sleep(0.001)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(60)
    left.close()
    right.close()
    assert outcomes == [True] * 6


def test_destroyed_hub_is_collected(hub):
    """A destroyed hub that nobody refers to is freed, with its loop."""
    spawn(sleep, 3600)
    sleep(0)

    def work():
        mine = get_hub()
        spawn(int).join()
        mine.destroy()
        return weakref.ref(mine), weakref.ref(mine.loop)

    refs = in_thread(work)
    gc.collect()
    assert [one() for one in refs] == [None, None]


def test_hub_class(hub):
    """A subclass of Hub may be chosen for new hubs; anything else is refused."""

    class Mine(Hub):
        pass

    with pytest.raises(TypeError, match="Hub"):
        set_hub_class(int)
    set_hub_class(Mine)
    try:
        assert type(in_thread(get_hub)) is Mine
    finally:
        set_hub_class(Hub)


def test_resolver_and_threadpool_can_be_replaced(hub):
    """resolver and threadpool are made on first use and may be assigned and deleted."""
    pool, resolver = hub.threadpool, hub.resolver
    assert hub.threadpool is pool
    assert hub.resolver is resolver
    stand_in = object()
    hub.threadpool = hub.resolver = stand_in
    assert hub.threadpool is hub.resolver is stand_in
    del hub.threadpool, hub.resolver
    assert hub.threadpool is not stand_in
    assert hub.resolver is not stand_in
    pool.kill()
    resolver.close()


def test_statistics(hub):
    """statistics tells polls, switches, what is queued, timers, descriptors and who waits, as of now."""
    before = hub.statistics()
    greenlets = [spawn(sleep, 3600) for _ in range(3)]
    sleep(0.001)
    after = hub.statistics()
    assert after.timers - before.timers == 3
    assert after.switches - before.switches >= 3
    assert after.polls > before.polls
    hubbub.killall(greenlets)
    assert hub.statistics().timers == before.timers
    with pytest.raises(AttributeError):
        after.timers = 0


def test_repr(hub):
    """The repr tells the loop, its state and the hub's name, if it has one."""
    assert type(hub.loop).__name__ in repr(hub)
    hub.name = "front"
    assert "front" in repr(hub)


class Interruption(Exception):
    """What a signal handler of the user's raises."""


def test_a_signal_handler_that_raises_between_two_steps_does_not_end_the_hub(hub):
    """What comes out of the loop's own steps is raised in the main greenlet, and the hub goes on."""
    run, failures = hub.loop.run, [Interruption("now")]

    def interrupted(*args, **kwargs):
        if failures:
            raise failures.pop()
        return run(*args, **kwargs)

    hub.loop.run = interrupted
    hub.exception_stream = None
    with pytest.raises(Interruption, match="now"):
        hubbub.sleep(0.001)
    hubbub.sleep(0.001)
    assert not hub.dead


def test_events_outlive_a_signal_handler_that_raises_after_the_poll(hub):
    """An event that was polled when a signal handler raised still wakes who waits for it, also where edges are told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours = Socket(fileno=listener.accept()[0].detach())
    with ours, theirs:
        reader = hubbub.spawn(ours.recv, 10)
        hubbub.sleep(0.001)
        poll, failures = hub.loop.backend.poll, [Interruption("now")]

        def interrupted(timeout):
            events = poll(timeout)
            if events and failures:
                raise failures.pop()
            return events

        hub.loop.backend.poll = interrupted
        hub.exception_stream = None
        theirs.sendall(b"data")
        try:
            hubbub.sleep(0.001)
        except Interruption:
            pass  # raised here where the loop is polled by its method
        reader.join(10)
        assert reader.value == b"data"


def turns(hub, behind):
    """In how many turns so many callables run that two budgets would not do; the first one queues ``behind`` more."""
    seen = []

    def note():
        seen.append(hub.loop.iteration)

    def first():
        for _ in range(behind):
            hub.loop.run_callback(seen.append, hub.loop.iteration)

    hub.loop.run_callback(first)
    for _ in range(2 * SLICE * SLICES):
        hub.loop.run_callback(note)
    sleep(0)
    while len(seen) < behind + 2 * SLICE * SLICES:
        sleep(0)
    return len(set(seen[: 2 * SLICE * SLICES]))


def test_a_turn_goes_on_while_nothing_is_queued(hub):
    """What was queued before a turn runs in that turn, beyond its budget: a poll would wake nobody before them."""
    assert 1 in [turns(hub, 0) for _ in range(20)]  # each unless the process stands still for a while


def test_a_turn_ends_when_something_was_queued(hub):
    """A turn that has run its number of callables ends if anything was queued meanwhile."""
    assert turns(hub, 1) > 1
