"""What a wait leaves behind when it has ended, in whichever way: nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading
import weakref
from contextlib import contextmanager

import hubbub
import pytest
from hubbub import event, lock, pool, queue, subprocess, thread, threadpool
from hubbub import threading as cooperative
from hubbub.fileobject import FileObject
from hubbub.io import Socket, wait_readable
from hubbub.lowlevel import Waiter, get_hub
from hubbub_testkit.endings import ENDINGS, assert_freed, assert_seen_by_collector


@contextmanager
def waits_for_event():
    one = event.Event()
    yield one.wait, one.set


@contextmanager
def waits_for_event_with_limit():
    one = event.Event()
    yield (lambda: one.wait(60)), one.set


@contextmanager
def gets_result():
    one = event.AsyncResult()
    yield one.get, (lambda: one.set(1))


@contextmanager
def waits_for_result():
    one = event.AsyncResult()
    yield one.wait, (lambda: one.set(1))


def acquires(one, release=None):
    def take():
        one.acquire()
        (release or one.release)()

    return take


@contextmanager
def acquires_semaphore():
    one = lock.Semaphore(0)
    yield acquires(one), one.release


@contextmanager
def waits_for_semaphore():
    one = lock.Semaphore(0)
    yield one.wait, one.release


@contextmanager
def acquires_bounded():
    one = lock.BoundedSemaphore(1)
    one.acquire()
    yield acquires(one), one.release


@contextmanager
def acquires_rlock():
    one = lock.RLock()
    one.acquire()
    yield acquires(one), one.release


@contextmanager
def acquires_thread_lock():
    one = thread.LockType()
    one.acquire()
    yield acquires(one), one.release


@contextmanager
def acquires_thread_rlock():
    one = thread.RLock()
    one.acquire()
    yield acquires(one), one.release


def conditions(make):
    @contextmanager
    def waits_for_condition():
        one = make()

        def wait():
            with one:
                one.wait()

        def notify():
            with one:
                one.notify_all()

        yield wait, notify

    return waits_for_condition


@contextmanager
def waits_for_predicate():
    one, flag = lock.Condition(), []

    def wait():
        with one:
            one.wait_for(lambda: flag, 60)

    def notify():
        with one:
            flag.append(1)
            one.notify_all()

    yield wait, notify


def queues(make):
    @contextmanager
    def gets():
        one = make()
        yield one.get, (lambda: [one.put_nowait(1) for _ in range(100)])

    return gets


@contextmanager
def puts():
    one = queue.Queue(1)
    one.put(0)
    yield (lambda: one.put(1)), (lambda: [one.get() for _ in range(101)])


@contextmanager
def peeks():
    one = queue.Queue()
    yield one.peek, (lambda: one.put(1))


@contextmanager
def joins_queue():
    one = queue.Queue(None, [1])
    yield one.join, one.task_done


@contextmanager
def gets_from_channel():
    one = queue.Channel()
    yield one.get, (lambda: [one.put(1) for _ in range(100)])


@contextmanager
def puts_to_channel():
    one = queue.Channel()
    yield (lambda: one.put(1)), (lambda: [one.get() for _ in range(100)])


@contextmanager
def sleeps():
    yield (lambda: hubbub.sleep(0.05)), (lambda: None)


@contextmanager
def idles():
    stop = []

    def busy():
        while not stop:
            hubbub.sleep(0)

    other = hubbub.spawn(busy)
    try:
        yield hubbub.idle, (lambda: stop.append(1))
    finally:
        other.kill()


@contextmanager
def waits_for_watcher():
    def wait():
        watcher = get_hub().loop.timer(0.05)
        try:
            get_hub().wait(watcher)
        finally:
            watcher.close()

    yield wait, (lambda: None)


def others(use):
    """Waits for other greenlets, by ``use(greenlet)``."""

    @contextmanager
    def waits_for_greenlet():
        go = event.Event()
        others = [hubbub.spawn(go.wait) for _ in range(3)]
        try:
            yield (lambda: use(others)), go.set
        finally:
            hubbub.killall(others)

    return waits_for_greenlet


def iterates(greenlets):
    with hubbub.iwait(greenlets) as ready:
        return list(ready)


@contextmanager
def waits_for_full_pool():
    go, one = event.Event(), pool.Pool(1)
    one.spawn(go.wait)
    try:
        yield (lambda: one.spawn(int).get()), go.set
    finally:
        one.kill()


@contextmanager
def joins_pool():
    go, one = event.Event(), pool.Pool(1)
    one.spawn(go.wait)
    try:
        yield one.join, go.set
    finally:
        one.kill()


@contextmanager
def maps():
    go, one = event.Event(), pool.Pool(2)
    try:
        yield (lambda: one.map(lambda _: go.wait(), range(3))), go.set
    finally:
        go.set()
        while get_hub().statistics().greenlets:  # a map whose reader is gone goes on
            hubbub.sleep(0.001)


@contextmanager
def joins_task_group():
    go = event.Event()

    def wait():
        with hubbub.TaskGroup() as group:
            group.spawn(go.wait)

    yield wait, go.set


def threads(use):
    @contextmanager
    def waits_for_thread():
        go, one = threading.Event(), threadpool.ThreadPool(2)
        try:
            yield (lambda: use(one, go)), go.set
        finally:
            go.set()
            one.join()
            one.kill()

    return waits_for_thread


def joins_threads(one, go):
    if not len(one):
        one.spawn(go.wait)
    one.join()


@contextmanager
def waits_for_future():
    go = threading.Event()
    with threadpool.ThreadPoolExecutor(1) as one:
        future = one.submit(go.wait)
        try:
            yield future.result, go.set
        finally:
            go.set()


@contextmanager
def to_threads():
    go = threading.Event()
    try:
        yield (lambda: hubbub.to_thread(go.wait)), go.set
    finally:
        go.set()
        get_hub().threadpool.join()


@contextmanager
def waits_for_process():
    ours, theirs = os.pipe()
    child = subprocess.Popen([sys.executable, "-Sc", "import sys; sys.stdin.read()"], stdin=ours)
    os.close(ours)
    gone = []

    def end():
        if not gone:
            gone.append(os.close(theirs))

    try:
        yield child.wait, end
    finally:
        end()
        child.wait()


def pairs(use, release):
    @contextmanager
    def waits_for_socket():
        ours, theirs = (Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())
        try:
            yield (lambda: use(ours)), (lambda: release(theirs))
        finally:
            ours.close()
            theirs.close()

    return waits_for_socket


@contextmanager
def sends():
    ours, theirs = (Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(4096))
    except BlockingIOError:
        ours.settimeout(None)

    def read():
        ours.close()

    def send():
        try:
            ours.sendall(bytes(1 << 20))
        except OSError:
            pass

    try:
        yield send, read
    finally:
        ours.close()
        theirs.close()


@contextmanager
def accepts():
    listener = Socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)

    def accept():
        try:
            listener.accept()[0].close()
        except OSError:
            pass

    try:
        yield accept, listener.close
    finally:
        listener.close()


@contextmanager
def reads_file():
    ours, theirs = os.pipe()
    file = FileObject(ours, "rb", buffering=0)
    gone = []

    def end():
        if not gone:
            gone.append(os.close(theirs))

    try:
        yield (lambda: file.read(1)), end
    finally:
        end()
        file.close()


@contextmanager
def waits_for_any():
    one, two, three = event.Event(), queue.Queue(), lock.Semaphore(0)
    yield (lambda: hubbub.wait_any([one, two, three])), one.set


@contextmanager
def waits_low():
    waiters = []

    def wait():
        waiter = Waiter()
        waiters.append(waiter)
        try:
            waiter.wait()
        finally:
            waiters.remove(waiter)

    yield wait, (lambda: [waiter.wake() for waiter in waiters])


@contextmanager
def joins_thread():
    go = event.Event()
    other = cooperative.Thread(target=go.wait)
    other.start()
    try:
        yield other.join, go.set
    finally:
        go.set()
        other.join()


@contextmanager
def meets_at_barrier():
    one = cooperative.Barrier(101)

    def wait():
        try:
            one.wait()
        except cooperative.BrokenBarrierError:
            pass

    yield wait, one.abort


WAITS = {
    "event": waits_for_event,
    "event with limit": waits_for_event_with_limit,
    "result.get": gets_result,
    "result.wait": waits_for_result,
    "semaphore": acquires_semaphore,
    "semaphore.wait": waits_for_semaphore,
    "bounded semaphore": acquires_bounded,
    "rlock": acquires_rlock,
    "thread lock": acquires_thread_lock,
    "thread rlock": acquires_thread_rlock,
    "condition": conditions(lock.Condition),
    "condition of a semaphore": conditions(lambda: lock.Condition(lock.Semaphore())),
    "condition of a thread rlock": conditions(lambda: lock.Condition(thread.RLock())),
    "threading condition": conditions(cooperative.Condition),
    "threading condition of our rlock": conditions(lambda: cooperative.Condition(lock.RLock())),
    "wait_for": waits_for_predicate,
    "simple queue": queues(queue.SimpleQueue),
    "queue": queues(queue.Queue),
    "priority queue": queues(queue.PriorityQueue),
    "lifo queue": queues(queue.LifoQueue),
    "put": puts,
    "peek": peeks,
    "queue.join": joins_queue,
    "channel.get": gets_from_channel,
    "channel.put": puts_to_channel,
    "sleep": sleeps,
    "idle": idles,
    "hub.wait": waits_for_watcher,
    "join": others(lambda greenlets: greenlets[0].join()),
    "join with limit": others(lambda greenlets: greenlets[0].join(60)),
    "get": others(lambda greenlets: greenlets[0].get()),
    "joinall": others(hubbub.joinall),
    "iwait": others(iterates),
    "wait": others(lambda greenlets: hubbub.wait(greenlets, count=1)),
    "full pool": waits_for_full_pool,
    "pool.join": joins_pool,
    "pool.map": maps,
    "task group": joins_task_group,
    "threadpool.spawn": threads(lambda one, go: one.spawn(go.wait).get()),
    "threadpool.apply": threads(lambda one, go: one.apply(go.wait)),
    "threadpool.join": threads(joins_threads),
    "threadpool.map": threads(lambda one, go: one.map(lambda _: go.wait(), range(2))),
    "future": waits_for_future,
    "to_thread": to_threads,
    "process": waits_for_process,
    "recv": pairs(lambda one: one.recv(1), lambda other: other.close()),
    "recv with limit": pairs(lambda one: (one.settimeout(60), one.recv(1)), lambda other: other.close()),
    "wait_readable": pairs(wait_readable, lambda other: other.close()),
    "sendall": sends,
    "accept": accepts,
    "file": reads_file,
    "wait_any": waits_for_any,
    "waiter": waits_low,
    "thread.join": joins_thread,
    "barrier": meets_at_barrier,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_nothing_stays_behind(hub, wait, ending):
    """A greenlet whose wait has ended, in whichever way, is freed with all that belonged to it."""
    assert_freed(wait, ending)


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_collector_sees_what_holds_greenlets(hub, wait):
    """No wait puts a greenlet where the garbage collector stops looking."""
    assert_seen_by_collector(wait)


def test_a_kill_keeps_no_frames(hub):
    """The GreenletExit that is a killed greenlet's value has no traceback, nor what was being handled when it came."""

    def body():
        try:
            raise ValueError
        except ValueError:
            hubbub.sleep(60)

    killed = hubbub.spawn(body)
    hubbub.sleep(0)
    killed.kill()
    assert isinstance(killed.value, hubbub.GreenletExit)
    assert killed.value.__traceback__ is None
    assert killed.value.__context__ is None


def test_a_failure_keeps_no_arguments(hub):
    """The frame of hubbub's that a failure came through does not keep the arguments, nor the function."""
    hub.exception_stream = None

    def body(given):
        raise ValueError

    failed = hubbub.spawn(body, object())
    failed.join()
    frame = failed.exception.__traceback__.tb_frame
    assert frame.f_code is hubbub.Greenlet.run.__code__
    assert frame.f_locals["args"] is frame.f_locals["run"] is None


class _Thing:
    """What is handed over."""


@pytest.mark.parametrize(
    "hand_over",
    [
        lambda items: (hubbub.spawn(lambda: items.put(_Thing())), items.get())[1],
        lambda items: (hubbub.spawn(lambda: items.put(_Thing())), items.get(timeout=10))[1],
        lambda items: (hubbub.spawn(lambda: [items.put(_Thing()), items.get()]), items.peek())[1],
    ],
    ids=["get", "get with a limit", "peek"],
)
def test_what_was_handed_over_is_not_kept(hub, hand_over):
    """Who gets something from a queue after a wait is the only one to hold it, also before the next wait."""
    gone = weakref.ref(hand_over(queue.Queue()))
    assert gone() is None
