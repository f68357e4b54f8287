"""Whatever runs in the hub may wait: callbacks, signal handlers, destructors. A stand-in runs the loop meanwhile."""

from __future__ import annotations

import gc
import logging
import os
import signal as standard
import socket as plain
import threading as native
import time
import weakref
from contextvars import ContextVar
from time import monotonic

import hubbub
import hubbub.os
import pytest
from hubbub import fileobject, inspect, signal, sleep, spawn, thread
from hubbub.event import AsyncResult, Event
from hubbub.exceptions import BlockingSwitchOutError, LoopExit
from hubbub.io import Socket
from hubbub.local import local
from hubbub.lock import Condition, RLock, Semaphore
from hubbub.lowlevel import get_hub
from hubbub.queue import Channel, Queue
from hubbub.scope import move_on_after, shield
from hubbub.taskgroup import TaskGroup

NUMBER = standard.SIGUSR1
LIMIT = 10.0


class Failure(Exception):
    """What a test raises."""


@pytest.fixture(autouse=True)
def handlers():
    """Signal handlers are as before afterwards."""
    before = {number: standard.getsignal(number) for number in (NUMBER, standard.SIGALRM, standard.SIGTERM)}
    yield
    for number, handler in before.items():
        standard.signal(number, handler)


def until(condition):
    """Let others run until ``condition()`` is true."""
    end = monotonic() + LIMIT
    while not condition():
        assert monotonic() < end, "it never came true"
        sleep(0.001)


# What waits, and what it waits for; each answers with True if it waited and was right.


def wait_by_sleep():
    began = monotonic()
    sleep(0.003)
    return monotonic() - began >= 0.003


def wait_by_yield():
    seen = []
    spawn(seen.append, 1)
    sleep(0)
    return seen == [1]


def wait_by_lock():
    lock = thread.LockType()
    lock.acquire()
    spawn(lambda: (sleep(0.002), lock.release()))
    return lock.acquire() and not lock.acquire(timeout=0.001)


def wait_by_rlock():
    lock = RLock()
    spawn(lambda: (lock.acquire(), sleep(0.002), lock.release()))
    sleep(0.001)
    with lock:
        return lock._is_owned()


def wait_by_semaphore():
    semaphore = Semaphore(0)
    spawn(lambda: (sleep(0.002), semaphore.release()))
    return semaphore.acquire() and not semaphore.acquire(timeout=0.001)


def wait_by_condition():
    condition = Condition()

    def notify():
        with condition:
            condition.notify()

    with condition:
        spawn(notify)
        return condition.wait(LIMIT)


def wait_by_event():
    event = Event()
    spawn(lambda: (sleep(0.002), event.set()))
    return not Event().wait(0.001) and event.wait() and event.wait(LIMIT)


def wait_by_queue():
    queue, channel = Queue(1), Channel()
    spawn(lambda: (sleep(0.001), queue.put(1), queue.put(2), channel.put(3)))
    return [queue.get(), queue.get(timeout=LIMIT), channel.get()] == [1, 2, 3]


def wait_by_join():
    worker = spawn(sleep, 0.002)
    worker.join(LIMIT)
    other = spawn(sleep, LIMIT)
    other.join(0.001)
    early = other.dead
    other.kill()
    return worker.dead and not early and other.dead


def wait_by_result():
    result = AsyncResult()
    spawn(lambda: (sleep(0.002), result.set(5)))
    return result.get() == 5 and spawn(lambda: 7).get() == 7


def wait_by_socket():
    one, two = map(_socket, plain.socketpair())
    with one, two:
        spawn(lambda: (sleep(0.002), two.sendall(b"x")))
        found = one.recv(10)
        one.settimeout(0.001)
        with pytest.raises(TimeoutError):
            one.recv(10)
        return found == b"x"


def _socket(sock):
    return Socket(sock.family, sock.type, sock.proto, sock.detach())


def wait_by_descriptor():
    reader, writer = os.pipe()
    try:
        early = hubbub.io.wait_readable(reader, 0.0005)
        spawn(lambda: (sleep(0.002), os.write(writer, b"x")))
        return not early and hubbub.io.wait_readable(reader)
    finally:
        os.close(reader)
        os.close(writer)


def wait_by_watcher():
    with get_hub().loop.timer(0.002) as timer:
        began = monotonic()
        get_hub().wait(timer)
        return monotonic() - began >= 0.002


def wait_by_thread():
    return get_hub().threadpool.spawn(lambda: 5).get() == 5


def wait_by_group():
    seen = []
    with TaskGroup() as group:
        group.spawn(lambda: (sleep(0.001), seen.append(1)))
    return seen == [1]


def wait_by_all():
    workers = [spawn(sleep, 0.001 * n) for n in range(3)]
    return len(hubbub.joinall(workers)) == 3


WAITS = [wait for name, wait in list(globals().items()) if name.startswith("wait_by_")]


# Where it is called: each takes a function, and has it called in the hub, soon.


def in_callback(hub, function):
    hub.loop.run_callback(function)


def in_threadsafe_callback(hub, function):
    native.Thread(target=hub.loop.run_callback_threadsafe, args=(function,)).start()


def in_timer(hub, function):
    hub.loop.timer(0.001).start(function)


def in_io(hub, function):
    one, two = plain.socketpair()
    two.send(b"x")
    watcher = hub.loop.io(one.fileno(), 1)

    def fired():
        try:
            one.recv(1)
            function()
        finally:
            watcher.close()
            one.close()
            two.close()

    watcher.start(fired)


def in_check(hub, function):
    watcher = hub.loop.check()
    watcher.start(lambda: (watcher.stop(), function()))


def in_prepare(hub, function):
    watcher = hub.loop.prepare()
    watcher.start(lambda: (watcher.stop(), function()))


def in_async(hub, function):
    watcher = hub.loop.async_()
    watcher.start(function)
    native.Thread(target=watcher.send).start()


def in_link(hub, function):
    spawn(lambda: None).rawlink(lambda _: function())


def in_event_link(hub, function):
    event = Event()
    event.rawlink(lambda _: function())
    hub.loop.run_callback(event.set)


def in_handler(hub, function):
    standard.signal(NUMBER, lambda *_: function())
    _strike(hub)


def in_prompt_handler(hub, function):
    signal.prompt(NUMBER, lambda *_: function())
    _strike(hub)


def in_handler_while_polling(hub, function):
    begun = Event()
    standard.signal(NUMBER, lambda *_: (begun.set(), function()))

    def strike_in_the_poll():
        while not hub.loop.in_poll:  # or the main greenlet might be struck
            time.sleep(0.001)
        os.kill(os.getpid(), NUMBER)

    native.Thread(target=strike_in_the_poll).start()
    begun.wait()


def _strike(hub):
    hub.loop.run_callback(os.kill, os.getpid(), NUMBER)


class Dying:
    def __init__(self, function):
        self.function = function
        self.me = self

    def __del__(self):
        self.function()


def in_destructor(hub, function):
    dying = Dying(function)
    dying.me = None
    hub.loop.run_callback([dying].clear)
    del dying


def in_collector(hub, function):
    Dying(function)
    hub.loop.run_callback(gc.collect)


def in_weakref(hub, function):
    dying = Dying(int)
    dying.me = None
    _kept[:] = [weakref.ref(dying, lambda _: function())]
    hub.loop.run_callback([dying].clear)
    del dying


_kept = []
PLACES = [place for name, place in list(globals().items()) if name.startswith("in_")]


@pytest.mark.parametrize("place", PLACES)
def test_everything_waits_everywhere(hub, place):
    """In every place in the hub where code of the user's runs, whatever waits waits, and then goes on."""
    done, where = [], []

    def run():
        where.append(hubbub.getcurrent())
        done.extend(wait.__name__ for wait in WAITS if wait() is True)
        where.append(hubbub.getcurrent())

    place(hub, run)
    until(lambda: len(where) == 2)
    assert done == [wait.__name__ for wait in WAITS]
    assert where[0] is where[1]
    assert where[0] is hub


@pytest.mark.parametrize("place", PLACES)
def test_the_loop_turns_on(hub, place):
    """While something in the hub waits, greenlets run, timers fire and others in the hub may wait too."""
    event, seen = Event(), []
    place(hub, lambda: (seen.append("waits"), event.wait(), seen.append("goes on")))
    until(lambda: seen == ["waits"])
    hub.loop.run_callback(lambda: (seen.append("another"), sleep(0.002), seen.append("another goes on")))
    until(lambda: len(seen) == 3)
    assert spawn(lambda: sleep(0.001) or 5).get() == 5
    event.set()
    until(lambda: "goes on" in seen)
    assert seen == ["waits", "another", "another goes on", "goes on"]


def test_a_level_triggered_callback_does_not_overlap_itself(hub):
    """A callback that waits without having read is not called again meanwhile; it is when it has ended."""
    one, two = plain.socketpair()
    two.send(b"ab")
    running, calls = 0, []
    watcher = hub.loop.io(one.fileno(), 1)

    def fired():
        nonlocal running
        running += 1
        calls.append(running)
        sleep(0.002)
        one.recv(1)
        sleep(0.002)
        running -= 1
        if len(calls) == 2:
            watcher.stop()

    watcher.start(fired)
    until(lambda: len(calls) == 2 and not running)
    assert calls == [1, 1]
    one.close()
    two.close()


def test_a_level_triggered_callback_that_waits_costs_nothing(hub):
    """While a callback waits whose descriptor has something to read, the loop does not turn for that."""
    one, two = plain.socketpair()
    two.send(b"a")
    event, calls = Event(), []
    watcher = hub.loop.io(one.fileno(), 1)
    watcher.start(lambda: (calls.append(1), event.wait(), watcher.stop()))
    until(lambda: calls)
    polls = hub.statistics().polls
    sleep(0.05)
    assert hub.statistics().polls - polls < 20
    event.set()
    until(lambda: not hub.parked)
    assert calls == [1]
    one.close()
    two.close()


def test_a_timer_does_not_overlap_itself(hub):
    """A repeating timer whose callback takes longer than its time is called again when that has ended."""
    running, calls = 0, []
    timer = hub.loop.timer(0.001, 0.001)

    def fired():
        nonlocal running
        running += 1
        calls.append(running)
        sleep(0.004)
        running -= 1

    timer.start(fired)
    until(lambda: len(calls) == 3)
    timer.close()
    assert calls == [1, 1, 1]


def test_a_timer_that_is_started_again_by_its_callback(hub):
    """A timer that its callback starts again, and that comes while the callback waits, is called after that."""
    calls = []
    timer = hub.loop.timer(0.001)

    def fired():
        calls.append("first")
        timer.start(calls.append, "second")
        sleep(0.01)
        calls.append("first has ended")

    timer.start(fired)
    until(lambda: len(calls) == 3)
    assert calls == ["first", "first has ended", "second"]


@pytest.mark.parametrize("kind", ["prepare", "check", "idle", "async_"])
def test_a_phase_does_not_overlap_itself(hub, kind):
    """A watcher that is called in every turn is not called while its callback waits, and is afterwards."""
    running, calls = 0, []
    watcher = getattr(hub.loop, kind)()

    def fired():
        nonlocal running
        running += 1
        calls.append(running)
        if kind == "async_":
            watcher.send()
        sleep(0.002)
        running -= 1

    watcher.start(fired)
    if kind == "async_":
        watcher.send()
    until(lambda: len(calls) >= 3)
    watcher.close()
    until(lambda: not running)
    assert set(calls) == {1}


def test_a_watcher_closed_while_its_callback_waits(hub):
    """A watcher that is closed while its callback waits is not called any more, whatever has happened."""
    one, two = plain.socketpair()
    calls = []
    watcher = hub.loop.io(one.fileno(), 1)
    watcher.start(lambda: (calls.append(1), sleep(0.005)))
    two.send(b"x")
    until(lambda: calls)
    watcher.close()
    sleep(0.01)
    assert calls == [1]
    one.close()
    two.close()


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_stand_ins_go_again(hub):
    """However many callbacks have waited, one stand-in is kept, and the hub runs its loop itself."""
    event = Event()
    for _ in range(100):
        hub.loop.run_callback(event.wait)
    until(lambda: hub.statistics().stand_ins >= 100)
    assert hub.statistics().stand_ins <= 101
    event.set()
    until(lambda: hub.statistics().stand_ins == 1)
    assert hub.runner is hub
    assert "switch" not in vars(hub)


def test_one_stand_in_serves_callbacks_that_wait_in_turn(hub):
    """Callbacks that wait one after the other use the same stand-in."""
    hub.loop.run_callback(sleep, 0)
    until(lambda: hub.statistics().stand_ins == 1)
    (kept,) = hub.stand_ins
    for _ in range(20):
        hub.loop.run_callback(sleep, 0)
        sleep(0.001)
    assert hub.stand_ins == {kept}


def test_too_many_callbacks_wait(hub, monkeypatch):
    """There is a limit to the callbacks that wait at a time; one more gets an error, the others go on."""
    monkeypatch.setattr(type(hub), "MAX_STAND_INS", 10)
    event, done, failed = Event(), [], []
    hub.handle_error = lambda context, kind, error, tb: failed.append(kind)
    for _ in range(20):
        hub.loop.run_callback(lambda: (event.wait(), done.append(1)))
    until(lambda: failed)
    event.set()
    until(lambda: len(done) + len(failed) == 20)
    assert set(failed) == {BlockingSwitchOutError}
    assert len(done) >= 10


def test_nothing_is_left(hub):
    """What waited in the hub, and what it used, is freed."""
    dying = weakref.WeakSet()

    class Used:
        pass

    def run():
        used = Used()
        dying.add(used)
        sleep(0.001)

    for _ in range(20):
        hub.loop.run_callback(run)
    until(lambda: hub.statistics().stand_ins == 1 and not hub.parked)
    gc.collect()
    assert not dying


# What is thrown in ----------------------------------------------------------------------------------------------------


def test_timeouts_in_a_callback(hub):
    """Timeout and cancel scopes end waits of a callback; shields hold there too."""
    seen = []

    def run():
        with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.001):
            sleep(LIMIT)
        seen.append(1)
        with move_on_after(0.001) as scope:
            Event().wait()
        seen.append(scope.cancelled_caught)
        with move_on_after(0.001) as scope:
            with shield():
                sleep(0.005)
                seen.append("shielded")
            sleep(LIMIT)
        seen.append(scope.cancelled_caught)
        assert hubbub.with_timeout(0.001, Queue().get, timeout_value=5) == 5
        seen.append(2)

    hub.loop.run_callback(run)
    hub.loop.run_callback(run)
    until(lambda: len(seen) == 10)
    assert sorted(map(str, seen)) == sorted(map(str, [1, True, "shielded", True, 2] * 2))


def test_what_is_thrown_into_the_hub_while_a_callback_waits(hub):
    """throw() on the hub raises in the callback that waits, and the loop goes on."""
    seen = []

    def run():
        try:
            Event().wait()
        except Failure as error:
            seen.append(error.args)

    hub.loop.run_callback(run)
    sleep(0.001)
    hub.throw(Failure("value"))
    until(lambda: seen)
    hub.loop.run_callback(run)
    sleep(0.001)
    hub.throw(Failure, "text")
    until(lambda: len(seen) == 2)
    assert seen == [("value",), ("text",)]


def test_a_callback_that_fails_after_it_waited(hub):
    """The failure of a callback that has waited is reported as that of any other."""
    reports = []
    hub.handle_error = lambda context, kind, error, tb: reports.append((context, kind))

    def run():
        sleep(0.001)
        raise Failure

    hub.loop.run_callback(run)
    until(lambda: reports)
    assert reports == [(run, Failure)]


def test_greenlets_that_end_meanwhile(hub):
    """Greenlets that end or fail while a stand-in runs the loop do so as usual, bare ones too."""
    reports, event = [], Event()
    hub.handle_error = lambda context, kind, error, tb: reports.append(kind)
    hub.loop.run_callback(event.wait)
    until(lambda: hub.runner is not hub)

    def fail():
        raise Failure

    assert [spawn(lambda n=n: n).get() for n in range(3)] == [0, 1, 2]
    with pytest.raises(Failure):
        spawn(fail).get()
    hubbub.spawn_raw(fail)
    sleep(0.001)
    hubbub.spawn_raw(int)
    sleep(0.001)
    assert reports == [Failure, Failure]
    event.set()
    until(lambda: hub.runner is hub)


@pytest.mark.parametrize("error", [Failure("handler"), SystemExit(3), KeyboardInterrupt()])
def test_errors_of_handlers_that_have_waited(hub, error):
    """What a handler raises after it has waited in the hub is raised in the main greenlet, and printed nowhere."""
    shown = []
    hub.print_exception = lambda *args: shown.append(args)

    def handler(*_):
        sleep(0.002)
        raise error

    signal.prompt(NUMBER, handler)
    hub.loop.run_callback(os.kill, os.getpid(), NUMBER)
    with pytest.raises(type(error)):
        sleep(LIMIT)
    assert shown == []
    assert spawn(lambda: 5).get() == 5


# What it sees ---------------------------------------------------------------------------------------------------------

variable: ContextVar[int] = ContextVar("variable")


def test_context_variables_and_locals(hub):
    """Code in a stand-in has the context variables and the local attributes of code in the hub."""
    own, event, seen = local(), Event(), []

    def first():
        variable.set(1)
        own.value = "hub's"
        event.wait()
        seen.append((variable.get(), own.value))

    def second():
        seen.append((variable.get(), own.value))
        variable.set(2)
        own.value = "stand-in's"

    hub.loop.run_callback(first)
    sleep(0.001)
    hub.loop.run_callback(second)
    sleep(0.001)
    event.set()
    until(lambda: len(seen) == 2)
    assert seen == [(1, "hub's"), (2, "stand-in's")]
    assert not hasattr(own, "value")


def test_it_is_the_native_thread(hub):
    """Code in a stand-in is in the native thread, as code in the hub, for whoever asks."""
    seen = []

    def run():
        seen.append(thread.get_ident())
        sleep(0.005)
        seen.append(thread.get_ident())

    hub.loop.run_callback(run)
    hub.loop.run_callback(run)
    until(lambda: len(seen) == 4)
    assert set(seen) == {native.get_ident()}


def test_locks_exclude_callbacks_that_wait(hub):
    """Callbacks that wait while they hold a lock exclude one another, and the main greenlet."""
    for lock in (thread.RLock(), RLock(), thread.LockType()):
        inside, most = 0, []

        def run(lock=lock, most=most):
            nonlocal inside
            with lock:
                inside += 1
                most.append(inside)
                sleep(0.001)
                inside -= 1

        for _ in range(3):
            hub.loop.run_callback(run)
        sleep(0)
        run()
        until(lambda: len(most) == 4)  # noqa: B023
        assert set(most) == {1}


def test_a_handler_may_enter_what_main_holds(hub):
    """Code in the hub enters an RLock of threads that the main greenlet holds, as a signal handler in one thread."""
    lock, seen = thread.RLock(), []

    def handler(*_):
        with lock:
            seen.append("inside")
            sleep(0.001)
        seen.append("outside")

    standard.signal(NUMBER, handler)
    with lock:
        hub.loop.run_callback(os.kill, os.getpid(), NUMBER)
        until(lambda: len(seen) == 2)
    assert spawn(lock.acquire, False).get()


def test_a_lock_that_another_native_thread_holds(hub):
    """Code in the hub waits for a lock that another native thread holds."""
    lock, seen, taken = thread.LockType(), [], native.Event()

    def hold():
        with lock:
            taken.set()
            Event().wait(0.01)

    other = native.Thread(target=hold)
    other.start()
    taken.wait()
    hub.loop.run_callback(lambda: (seen.append("waits"), lock.acquire(), seen.append("has it")))
    until(lambda: "has it" in seen)
    other.join()


# Reports --------------------------------------------------------------------------------------------------------------


def test_reports_name_callbacks_that_wait(hub):
    """Reports show each callback that waits, what for and since when, and none of the greenlets that help."""
    hub.name = "mine"
    others = {info.ident for info in inspect.greenlets()}
    queue, event = Queue(), Event()

    def getting():
        queue.get()

    def waiting():
        event.wait()

    hub.loop.run_callback(getting)
    hub.loop.run_callback(waiting)
    sleep(0.005)
    mine = [info for info in inspect.greenlets() if info.hub == "mine" and info.ident not in others]
    assert sorted((info.name, info.state, info.operation, info.function.rpartition(".")[2]) for info in mine) == [
        ("callback of mine", "waiting", "Event.wait", "waiting"),
        ("callback of mine", "waiting", "SimpleQueue.get", "getting"),
    ]
    assert all(info.seconds is not None and info.seconds > 0 for info in mine)
    queue.put(1)
    event.set()
    until(lambda: not hub.parked)
    sleep(0.001)
    assert [info.name for info in inspect.greenlets() if info.hub == "mine" and info.ident not in others] == []


def test_a_deadlock_names_callbacks_that_wait(hub):
    """A deadlock is found while a callback waits too; its text shows what for."""
    hub.loop.run_callback(Queue().get)
    with pytest.raises(LoopExit, match=r"callback of .* in SimpleQueue\.get"):
        Event().wait()
    with pytest.raises(LoopExit, match=r"callback of .* in SimpleQueue\.get"):
        Event().wait()
    assert spawn(lambda: 5).get() == 5


def test_join_of_the_hub(hub):
    """hub.join waits for callbacks that wait, as long as something can wake them."""
    seen = []
    hub.loop.run_callback(lambda: (sleep(0.002), seen.append(1)))
    assert hub.join(LIMIT)
    assert seen == [1]


# The end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5])
def test_a_hub_is_destroyed_while_callbacks_wait(hub, count):
    """A hub that is destroyed ends the callbacks that wait in it, and all who ran its loop."""
    ended, runners = [], []

    def run():
        try:
            Event().wait()
        finally:
            ended.append(1)

    for _ in range(count):
        hub.loop.run_callback(run)
    sleep(0.001)
    runners = [*hub.stand_ins, hub]
    hub.destroy()
    assert len(ended) == count
    assert all(runner.dead for runner in runners)
    sleep(0)
    assert get_hub() is not hub
    get_hub().destroy()


def test_a_thread_ends_while_a_callback_waits():
    """A thread may end while a callback of its hub waits."""
    seen = []

    def run():
        get_hub().loop.run_callback(Event().wait)
        sleep(0.001)
        seen.append(get_hub().parked)

    one = native.Thread(target=run)
    one.start()
    one.join(LIMIT)
    assert seen == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_a_callback_waits(hub):
    """In a child process nothing of the parent's waits; callbacks may wait there again."""
    hub.loop.run_callback(Event().wait)
    sleep(0.001)
    child = hubbub.os.fork()
    if not child:
        code = 1
        try:
            seen = []
            hub.loop.run_callback(lambda: (sleep(0.001), seen.append(1)))
            until(lambda: seen)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(hubbub.os.waitpid(child, 0)[1]) == 0


# Whole stories --------------------------------------------------------------------------------------------------------


def test_a_worker_is_joined_by_a_signal_handler(hub):
    """A handler of SIGALRM joins a worker, while the main greenlet waits for that too."""
    worker, seen = spawn(sleep, 0.02), []
    standard.signal(standard.SIGALRM, lambda *_: (worker.join(), seen.append(worker.dead)))
    standard.setitimer(standard.ITIMER_REAL, 0.005)
    worker.join()
    until(lambda: seen)
    assert seen == [True]


class Sending(logging.Handler):
    """Sends each record over a socket, and waits for the answer."""

    def __init__(self, sock):
        super().__init__()
        self.sock = sock

    def createLock(self):
        self.lock = thread.RLock()

    def emit(self, record):
        self.sock.sendall(record.getMessage().encode() + b"\n")
        assert self.sock.recv(10)


# A handler that struck the server itself would wait for its own answer.
@pytest.mark.parametrize("place", [place for place in PLACES if place is not in_handler_while_polling])
def test_logging_over_a_socket(hub, place):
    """Code in the hub logs by a handler that sends over a socket, beside greenlets that log by the same."""
    one, two = map(_socket, plain.socketpair())
    lines = []

    def serve():
        while data := two.recv(1000):
            lines.append(data)
            sleep(0.001)
            two.sendall(b"k")

    server = spawn(serve)
    log = logging.Logger("test")
    log.addHandler(Sending(one))
    others = [spawn(log.warning, "greenlet") for _ in range(3)]
    done = []
    place(hub, lambda: (log.warning("hub"), log.warning("hub"), done.append(1)))
    hubbub.joinall(others)
    until(lambda: done)
    one.close()
    server.join()
    two.close()
    assert sorted(b"".join(lines).split()) == [b"greenlet"] * 3 + [b"hub"] * 2


def test_files_do_not_block_the_loop(hub, tmp_path):
    """Code in the hub that reads and writes files lets the loop turn on."""
    seen, path = [], tmp_path / "file"

    def run():
        with fileobject.open(str(path), "wb") as file:
            file.write(b"data")
        seen.append(path.read_bytes())

    hub.loop.run_callback(run)
    until(lambda: seen)
    assert seen == [b"data"]
    assert hub.statistics().stand_ins == 1  # it did wait


def test_a_handler_waits_while_another_waits(hub):
    """Signal handlers that strike the hub one after the other all wait, and end in any order."""
    events, seen = [Event() for _ in range(4)], []

    def handler(*_):
        number = len(seen)
        seen.append(number)
        events[number].wait()
        seen.append(-number)

    standard.signal(NUMBER, handler)
    for number in range(4):
        hub.loop.run_callback(os.kill, os.getpid(), NUMBER)
        until(lambda number=number: number in seen)
    for number in (2, 3, 1):
        events[number].set()
        until(lambda number=number: -number in seen)
    assert seen == [0, 1, 2, 3, -2, -3, -1]
    events[0].set()
    until(lambda: seen[-1] == 0)
