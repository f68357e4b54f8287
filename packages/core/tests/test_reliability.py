"""What has gone wrong in software of this kind, and must not here: one promise each."""

from __future__ import annotations

import errno
import gc
import os
import random
import socket
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import hubbub
import pytest
from greenlet import GreenletExit
from hubbub import AsyncResult, Event, Semaphore, Timeout, joinall, sleep, spawn, spawn_later
from hubbub.abc import READ, WRITE
from hubbub.io import Socket, wait_readable
from hubbub.local import local
from hubbub.lowlevel import get_hub_if_exists
from hubbub.queue import Empty, Queue, SimpleQueue
from hubbub_testkit.greenlets import open_descriptors

STRESS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "200"))
"""200 in every run; more for longer stress."""


def pair():
    """Two connected cooperative sockets."""
    return tuple(Socket(fileno=end.detach()) for end in socket.socketpair())


def resident():
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")

# Descriptors


def test_close_wakes_a_reader_at_once(hub):
    """A greenlet in recv gets EBADF in the next turns when another one closes the socket."""
    left, right = pair()

    def read():
        with pytest.raises(OSError) as caught:
            left.recv(10)
        return caught.value.errno

    reader = spawn(read)
    sleep(0)
    left.close()
    for _ in range(3):
        sleep(0)
    assert reader.get(block=False) == errno.EBADF
    right.close()


def test_a_woken_reader_never_sees_the_next_socket(hub):
    """A reader of a closed socket does not get the data of a new one that has taken its number."""
    left, right = pair()
    number = left.fileno()
    reader = spawn(left.recv, 10)
    sleep(0)
    left.close()
    new = pair()
    assert number in (new[0].fileno(), new[1].fileno())
    for end in new:
        end.sendall(b"new")
    hub.exception_stream = None
    with pytest.raises(OSError) as caught:
        reader.get(timeout=5)
    assert caught.value.errno == errno.EBADF
    assert new[0].recv(10) == new[1].recv(10) == b"new"
    for end in (right, *new):
        end.close()


def test_descriptor_closed_without_a_word(hub):
    """A watched descriptor that is closed with os.close neither ends the process nor stops the loop."""
    reader, writer = os.pipe()
    watcher = hub.loop.io(reader, READ)
    watcher.start(lambda: None)
    sleep(0.001)
    os.close(reader)
    sleep(0.001)
    watcher.close()
    os.close(writer)
    assert spawn(lambda: 1).get() == 1


def test_waiting_for_a_closed_descriptor(hub):
    """Waiting for a descriptor that is closed raises EBADF; a regular file raises EPERM; a negative one ValueError."""
    reader, writer = os.pipe()
    os.close(writer)
    os.close(reader)
    with pytest.raises(OSError) as caught:
        wait_readable(reader, timeout=1)
    assert caught.value.errno == errno.EBADF
    with open(__file__) as file, pytest.raises(PermissionError):
        wait_readable(file.fileno(), timeout=1)
    with pytest.raises(ValueError, match="descriptor"):
        wait_readable(-1)


def test_no_descriptors_left_for_a_new_hub(hub):
    """Where the system has no descriptors left, making a hub fails cleanly and works again later."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def work():
        return hubbub.get_hub()

    results = []

    def attempt():
        try:
            hubbub.sleep(0.001)
            results.append("slept")
        except OSError as error:
            results.append(error.errno)

    before = len(open_descriptors())
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 2, hard))
    fillers = []
    try:
        try:
            while True:
                fillers.append(os.dup(0))
        except OSError:
            pass
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    gc.collect()
    assert results == [errno.EMFILE, "slept"]
    assert len(open_descriptors()) == before


# Waking up


def test_acquire_in_vain_changes_nothing(hub):
    """acquire with a limit returns False in vain and leaves the counter alone."""
    semaphore = Semaphore(0)
    assert semaphore.acquire(timeout=0.01) is False
    assert semaphore.counter == 0


def test_set_and_clear_in_one_turn(hub):
    """A waiter that was there when set came returns True although clear followed at once, many times over."""
    event = Event()
    for _ in range(200):
        waiters = [spawn(event.wait, 5) for _ in range(3)]
        sleep(0)
        event.set()
        event.clear()
        assert [one.get() for one in waiters] == [True] * 3


def test_a_hot_releaser_does_not_starve_the_rest(hub):
    """Beside a greenlet that releases and acquires in a loop, each of 20 waiters has its turn within as many turns."""
    semaphore = Semaphore(1)
    turns = []

    def hog():
        while len(turns) < 1000 and len(set(turns)) < 21:
            with semaphore:
                turns.append("hog")
                sleep(0)

    def waiter(name):
        with semaphore:
            turns.append(name)

    joinall([spawn(hog), *[spawn(waiter, number) for number in range(20)]])
    assert len(turns) <= 50


@pytest.mark.parametrize("make", [Event, AsyncResult, lambda: Semaphore(0)], ids=["event", "result", "semaphore"])
def test_a_thread_of_its_own_wakes_the_hub(hub, make):
    """Set or released by a native thread with nothing else to wait for, a waiter wakes, within 50 milliseconds.

    That is the best of ten, as the process may stand still.
    """
    delays = []
    for _ in range(10):
        made = make()
        sent = []

        def send(made=made, sent=sent):
            time.sleep(0.003)
            sent.append(time.monotonic())
            made.release() if isinstance(made, Semaphore) else made.set()

        thread = threading.Thread(target=send)
        thread.start()
        made.acquire() if isinstance(made, Semaphore) else made.wait()
        delays.append(time.monotonic() - sent[0])
        thread.join()
    assert min(delays) < 0.05


def test_destructors_that_put(hub):
    """A destructor that the collector runs in the middle of a queue's own operation may put into that queue."""
    queue = Queue()
    put = [0]

    class Cycle:
        def __init__(self):
            self.me = self

    def remind():
        put[0] += 1
        queue.put_nowait("from a destructor")

    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    got = 0
    try:
        with Timeout(30):
            for number in range(STRESS * 5):
                weakref.finalize(Cycle(), remind)
                queue.put(number)
                queue.get()
                got += 1
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    while not queue.empty():
        queue.get_nowait()
        got += 1
    assert got == STRESS * 5 + put[0]
    assert put[0] == STRESS * 5


def test_killing_a_getter_is_quick(hub):
    """A greenlet that is blocked in Queue.get and killed ends in the next turn, and never goes on."""
    seen = []
    one = spawn(lambda: seen.append(Queue().get()))
    sleep(0)
    one.kill(block=False)
    sleep(0)
    assert one.dead
    sleep(0.001)
    assert seen == []


def test_polling_a_lock(hub):
    """A loop around acquire(False) with sleep(0) does not keep the holder from running."""
    lock = Semaphore(1)

    def holder():
        with lock:
            for _ in range(5):
                sleep(0)

    one = spawn(holder)
    sleep(0)
    rounds = 0
    while not lock.acquire(False):
        sleep(0)
        rounds += 1
    assert one.ready() or rounds < 20


def test_put_into_a_full_simple_queue(hub):
    """put into a full SimpleQueue waits for room."""
    queue = SimpleQueue(1)
    queue.put(1)
    putter = spawn(queue.put, 2)
    sleep(0)
    assert queue.get() == 1
    putter.get(timeout=5)
    assert queue.get() == 2


# Ties: everything at the same instant of the virtual clock


def test_get_put_and_kill_at_the_same_instant(virtual_clock):
    """When put, the time-out of get and a kill fall on one instant, no item is lost or doubled, no kill swallowed."""
    rng = random.Random(1)
    for _ in range(STRESS * 10):
        queue = Queue(rng.choice([None, 1]))
        got = []

        def getter(queue=queue, got=got):
            try:
                got.append(queue.get(timeout=rng.choice([None, 1])))
            except Empty:
                pass

        getters = [spawn(getter) for _ in range(rng.randint(1, 3))]
        puts = rng.randint(1, 2)
        killed = rng.choice([None, *getters])
        actions = [(queue.put, item, False) for item in range(puts)]
        if killed is not None:
            actions.append((killed.kill, GreenletExit, False))
        rng.shuffle(actions)
        sleep(0)
        putters = [spawn_later(1, *action) for action in actions]
        sleep(1)
        for _ in range(5):  # what is given back goes to the next one, turn by turn
            sleep(0)
        accepted = sum(
            1 for one, action in zip(putters, actions, strict=True) if action[0] == queue.put and not one.exception
        )
        left = list(queue.queue)
        assert sorted(got + left) == sorted(set(got + left))
        assert len(got) + len(left) == accepted
        if killed is not None:
            assert killed.dead
        hubbub.killall(getters)


def test_acquire_release_and_kill_at_the_same_instant(virtual_clock):
    """When release, the time-out of acquire and a kill fall on one instant, no permit is lost or doubled."""
    rng = random.Random(2)
    for _ in range(STRESS * 10):
        semaphore = Semaphore(0)
        taken = []

        def acquirer(semaphore=semaphore, taken=taken):
            if rng.random() < 0.5:
                if semaphore.acquire(timeout=1):
                    taken.append(1)
            else:
                with Timeout(1, False):
                    semaphore.acquire()
                    taken.append(1)

        waiters = [spawn(acquirer) for _ in range(rng.randint(1, 3))]
        releases = rng.randint(1, 2)
        sleep(0)
        actions = [semaphore.release] * releases
        if rng.random() < 0.5:
            actions.append(rng.choice(waiters).kill)
        rng.shuffle(actions)
        for action in actions:
            spawn_later(1, action) if action == semaphore.release else spawn_later(1, action, GreenletExit, False)
        sleep(1)
        for _ in range(5):  # what is given back goes to the next one, turn by turn
            sleep(0)
        assert semaphore.counter + len(taken) == releases
        hubbub.killall(waiters)


def test_wait_set_and_kill_at_the_same_instant(virtual_clock):
    """When set and the time-out of wait fall on one instant, wait tells the truth, and nobody stays behind."""
    rng = random.Random(3)
    for _ in range(STRESS * 10):
        event = Event()
        results = []
        waiters = [spawn(lambda event=event: results.append(event.wait(timeout=1))) for _ in range(3)]  # noqa: B023
        sleep(0)
        spawn_later(1, event.set)
        victim = rng.choice(waiters)
        spawn_later(1, victim.kill, GreenletExit, False)
        sleep(1)
        for _ in range(5):  # what is given back goes to the next one, turn by turn
            sleep(0)
        assert all(one.dead for one in waiters)
        assert len(results) >= 2


def test_get_with_a_limit_against_a_put_close_to_it(hub):
    """A put within microseconds of the time-out of get: the item is got or stays, once."""
    rng = random.Random(4)
    for _ in range(STRESS):
        queue = Queue()
        spawn_later(0.0003 + rng.uniform(-0.00005, 0.00005), queue.put, "item")
        try:
            got = [queue.get(timeout=0.0003)]
        except Empty:
            got = []
        while not got and queue.empty():
            sleep(0.0002)
        assert len(got) + queue.qsize() == 1


# Hubs that come and go


def test_destroyed_with_pending_work_and_used_again(hub):
    """Destroying a hub with pending I/O, callbacks and timers, again and again, also in threads, does no harm."""

    def work():
        for _ in range(5):
            mine = hubbub.get_hub()
            left, right = pair()
            spawn(left.recv, 10)
            spawn(sleep, 3600)
            sleep(0)
            mine.loop.run_callback(print)
            watcher = mine.loop.io(right.fileno(), READ | WRITE)
            watcher.start(print, "never")
            mine.loop.timer(10.0).start(print)
            mine.destroy()
            left.close()
            right.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert hubbub.get_hub() is not hub
    assert spawn(lambda: 1).get() == 1


def test_watcher_closed_twice_and_in_its_callback(hub):
    """A watcher closed in its own callback, which then fails, and closed once more, does no harm."""
    reports = []
    hub.handle_error = lambda context, kind, error, tb: reports.append(kind)
    timer = hub.loop.timer(0.0, repeat=0.001)

    def callback():
        timer.close()
        raise KeyError

    timer.start(callback)
    sleep(0.005)
    timer.close()
    assert reports == [KeyError]


def test_spawn_from_a_foreign_thread(hub):
    """A pool refuses to be used from another thread, with an error; greenlets of that thread run there."""
    from hubbub.exceptions import InvalidThreadUseError

    results = []

    def work():
        try:
            hub.threadpool.spawn(int)
        except InvalidThreadUseError:
            results.append("refused")
        results.append(spawn(lambda: "here").get())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == ["refused", "here"]


def test_floating_point_is_left_alone(hub):
    """Neither importing nor running a loop touches the processor's floating-point mode."""
    sleep(0.001)
    assert 5e-324 * 1 != 0.0


# Memory


@pytest.mark.unsanitized
@needs_proc
@pytest.mark.parametrize("what", ["spawn", "local", "timeout", "event", "queue", "later", "kill"])
def test_memory_stays_flat(hub, what):
    """Tens of thousands of greenlets, locals, time limits, waits ... later the memory is what it was."""

    class Mine(local):
        pass

    queue = Queue()

    def later():
        one = spawn_later(3600, int)
        one.kill()

    def wait():
        with Timeout(3600):
            sleep(0)

    def hand_over():
        getter = spawn(queue.get)
        sleep(0)
        queue.put(1)
        getter.get()

    def kill():
        one = spawn(sleep, 3600)
        sleep(0)
        one.kill()

    actions = {
        "spawn": lambda: spawn(int).join(),
        "local": lambda: spawn(lambda: setattr(Mine(), "value", 1)).join(),
        "timeout": wait,
        "event": lambda: Event().wait(timeout=0),
        "queue": hand_over,
        "later": later,
        "kill": kill,
    }
    action = actions[what]
    for _ in range(3000):
        action()
    gc.collect()
    before, objects = resident(), len(gc.get_objects())
    for _ in range(STRESS * 15):
        action()
    gc.collect()
    assert len(gc.get_objects()) - objects < 200
    assert resident() - before < 3_000_000


def test_forgotten_timeouts_do_no_harm(hub):
    """Time limits that were started and never closed are dropped with their hub."""
    for _ in range(STRESS * 10):
        Timeout.start_new(3600)
    for _ in range(100):
        spawn(Timeout.start_new, 0.0001).join()
    sleep(0.01)
    hub.destroy()
    gc.collect()
    assert get_hub_if_exists() is None


@pytest.mark.hubbub_no_leaks
def test_nothing_is_left_behind(hub):
    """A busy program that ends properly leaves no greenlet and no descriptor."""
    left, right = pair()

    def echo():
        while data := right.recv(100):
            right.sendall(data)

    greenlets = [spawn(echo), *[spawn(sleep, 0.001) for _ in range(50)]]
    for _ in range(20):
        left.sendall(b"x" * 50)
        assert left.recv(100)
    left.close()
    joinall(greenlets)
    right.close()


# The end of the interpreter

ENDINGS = {
    "greenlets": "one = hubbub.spawn(hubbub.sleep, 3600); hubbub.sleep(0)",
    "a greenlet that cleans up": """
        def body():
            try:
                hubbub.sleep(3600)
            finally:
                hubbub.sleep(0)
        one = hubbub.spawn(body)
        hubbub.sleep(0.001)
    """,
    "timers": "timer = hubbub.get_hub().loop.timer(3600.0); timer.start(print); hubbub.Timeout.start_new(3600)",
    "sockets": """
        import socket
        from hubbub.io import Socket
        ends = [Socket(fileno=end.detach()) for end in socket.socketpair()]
        readers = [hubbub.spawn(end.recv, 1) for end in ends]
        hubbub.sleep(0.001)
    """,
    "daemon threads with hubs": """
        import threading
        def work():
            hubbub.spawn(hubbub.sleep, 3600)
            hubbub.sleep(3600)
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        hubbub.sleep(0.01)
    """,
    "threads that end first": """
        import threading
        def work():
            hubbub.spawn(hubbub.sleep, 3600)
            hubbub.sleep(0.001)
        for _ in range(3):
            threading.Thread(target=work).start()
    """,
    "pool threads": """
        import time
        hubbub.to_thread(int)
        hubbub.get_hub().threadpool.spawn(time.sleep, 0.01)
    """,
    "callbacks and destructors": """
        import atexit
        class Late:
            def __del__(self):
                try:
                    hubbub.spawn(print)
                except Exception:
                    pass
        late = Late()
        atexit.register(lambda: hubbub.sleep(0))
        hubbub.get_hub().loop.run_callback(int)
        event = hubbub.Event()
        event.rawlink(print)
        hubbub.spawn(event.wait)
    """,
}


@pytest.mark.unsanitized
@pytest.mark.parametrize("what", ENDINGS)
def test_the_interpreter_ends_cleanly(loop_name, what):
    """A program that leaves work behind ends soon, silently, with its own exit status."""
    for number in range(max(1, STRESS // 200)):
        status = (number + len(what)) % 2 * 3
        code = f"import sys, hubbub\n{textwrap.dedent(ENDINGS[what])}\nsys.exit({status})\n"
        done = subprocess.run(
            [sys.executable, "-W", "default", "-W", "ignore::ResourceWarning", "-c", code],
            env={**os.environ, "HUBBUB_LOOP": loop_name},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stderr == ""
        assert done.returncode == status
