"""However a wait ends, nothing is left behind that would end the greenlet's next wait before its time.

Each call of core that waits meets each way in which its wake-up and something else can come in one turn of the loop.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from functools import partial

import hubbub
import pytest
from greenlet import getcurrent
from hubbub import io, lock, queue
from hubbub.event import AsyncResult, Event
from hubbub.lowlevel import Waiter
from hubbub.pool import Pool
from hubbub.threadpool import ThreadPool

LIMIT = 0.002


class Struck(Exception):
    """What is thrown into those who wait."""


class Case:
    """One call that waits. ``wait(limit)`` is made in the victim, ``wake()`` in the hub; ``end()`` cleans up."""

    limited = True

    def end(self):
        pass


class _Simple(Case):
    def __init__(self, wait, wake):
        self.wait, self.wake = wait, wake


def event():
    flag = Event()
    return _Simple(flag.wait, flag.set)


def result():
    value = AsyncResult()
    return _Simple(lambda limit: value.wait(timeout=limit), partial(value.set, 1))


def semaphore():
    permits = lock.Semaphore(0)
    return _Simple(lambda limit: permits.acquire(timeout=limit), permits.release)


def semaphore_wait():
    permits = lock.Semaphore(0)
    return _Simple(permits.wait, permits.release)


class _Held(Case):
    """A lock that another greenlet holds."""

    def __init__(self):
        self.lock = lock.RLock()
        self.holder = hubbub.spawn(self.hold)
        self.let_go = Event()
        hubbub.sleep(0)

    def hold(self):
        with self.lock:
            self.let_go.wait()

    def wait(self, limit):
        if self.lock.acquire(timeout=limit):
            self.lock.release()

    def wake(self):
        self.holder.throw(hubbub.GreenletExit)

    def end(self):
        self.holder.kill()


class _Condition(Case):
    def __init__(self):
        self.condition = lock.Condition(lock.Semaphore(1))

    def wait(self, limit):
        with self.condition:
            self.condition.wait(limit)

    def wake(self):
        if self.condition.acquire(blocking=False):
            self.condition.notify_all()
            self.condition.release()


def get():
    items = queue.Queue()
    return _Simple(lambda limit: items.get(timeout=limit), partial(items.put_nowait, 1))


def simple_get():
    items = queue.SimpleQueue()
    return _Simple(lambda limit: items.get(timeout=limit), partial(items.put_nowait, 1))


def peek():
    items = queue.Queue()
    return _Simple(lambda limit: items.peek(timeout=limit), partial(items.put_nowait, 1))


def put():
    items = queue.Queue(1)
    items.put(1)

    def wake():
        if items.full():
            items.get_nowait()

    return _Simple(lambda limit: items.put(2, timeout=limit), wake)


def queue_join():
    items = queue.Queue()
    items.put(1)

    def wake():
        if items.unfinished_tasks:
            items.task_done()

    return _Simple(items.join, wake)


def channel_get():
    channel = queue.Channel()

    def wake():
        if channel.balance < 0:
            channel.put_nowait(1)

    return _Simple(lambda limit: channel.get(timeout=limit), wake)


def channel_put():
    channel = queue.Channel()

    def wake():
        if channel.balance > 0:
            channel.get_nowait()

    return _Simple(lambda limit: channel.put(1, timeout=limit), wake)


class _Target(Case):
    """A greenlet that ends when ``wake`` is called."""

    def __init__(self):
        self.target = hubbub.spawn(hubbub.sleep, 3600)
        hubbub.sleep(0)

    def wake(self):
        if not self.target.dead:
            self.target.throw(hubbub.GreenletExit)

    def end(self):
        self.target.kill()


class _Join(_Target):
    def wait(self, limit):
        self.target.join(limit)


class _Get(_Target):
    def wait(self, limit):
        self.target.get(timeout=limit)


class _Joinall(_Target):
    def wait(self, limit):
        hubbub.joinall([self.target], limit)


class _Iwait(_Target):
    def wait(self, limit):
        list(hubbub.iwait([self.target], limit))


class _WaitAny(_Target):
    def wait(self, limit):
        hubbub.wait_any([self.target], limit)


class _Pool(Case):
    def __init__(self):
        self.pool = Pool(1)
        self.target = self.pool.spawn(hubbub.sleep, 3600)
        hubbub.sleep(0)

    def wait(self, limit):
        self.pool.join(limit)

    wake, end = _Target.wake, _Target.end


class _FullPool(_Pool):
    limited = False

    def wait(self, limit):
        self.pool.spawn(int)


class _TaskGroup(Case):
    limited = False

    def __init__(self):
        self.event = Event()

    def wait(self, limit):
        with hubbub.TaskGroup() as group:
            group.spawn(self.event.wait)

    def wake(self):
        self.event.set()


class _Thread(Case):
    """A call in a thread of a pool; it has ended when ``wake`` returns."""

    limited = False

    def __init__(self):
        self.go, self.ended = threading.Event(), threading.Event()
        self.pool = ThreadPool(1)

    def work(self):
        self.go.wait(20)
        self.ended.set()

    def wait(self, limit):
        self.pool.apply(self.work)

    def wake(self):
        self.go.set()
        assert self.ended.wait(20)
        time.sleep(0.002)  # the thread may have to hand over the result yet

    def end(self):
        self.go.set()
        self.pool.join()
        self.pool.kill()


class _ThreadResult(_Thread):
    limited = True

    def wait(self, limit):
        self.pool.spawn(self.work).get(timeout=limit)


class _ThreadJoin(_Thread):
    def wait(self, limit):
        self.pool.spawn(self.work)
        self.pool.join()


class _Pipe(Case):
    def __init__(self):
        self.read, self.write = os.pipe()

    def wait(self, limit):
        io.wait_readable(self.read, limit)

    def wake(self):
        os.write(self.write, b"x")

    def end(self):
        for fd in (self.read, self.write):
            try:
                io.close(fd)
            except OSError:
                pass  # by wake


class _ClosedPipe(_Pipe):
    def wake(self):
        io.close(self.read)


class _Recv(Case):
    closes = False

    def __init__(self):
        self.ends = [io.Socket(end.family, end.type, end.proto, end.detach()) for end in socket.socketpair()]

    def wait(self, limit):
        self.ends[0].settimeout(limit)
        self.ends[0].recv(10)

    def wake(self):
        if self.closes:
            self.ends[0].close()
        else:
            socket.socket.send(self.ends[1], b"x")

    def end(self):
        for end in self.ends:
            end.close()


class _ClosedRecv(_Recv):
    closes = True


class _SecondReader(_ClosedRecv):
    """It waits behind another."""

    def __init__(self):
        super().__init__()
        self.first = hubbub.spawn(self.read)
        hubbub.sleep(0)

    def read(self):
        try:
            self.ends[0].recv(10)
        except OSError:
            pass  # closed

    def end(self):
        self.first.kill()
        super().end()


class _Send(_Recv):
    closes = True

    def wait(self, limit):
        self.ends[0].settimeout(limit)
        self.ends[0].sendall(bytes(10_000_000))


class _Accept(Case):
    def __init__(self):
        self.listener = io.Socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.client = None

    def wait(self, limit):
        self.listener.settimeout(limit)
        self.listener.accept()[0].close()

    def wake(self):
        self.listener.close()

    def end(self):
        self.listener.close()


class _Async(Case):
    limited = False

    def __init__(self):
        self.hub = hubbub.get_hub()
        self.watcher = self.hub.loop.async_()

    def wait(self, limit):
        self.hub.wait(self.watcher)

    def wake(self):
        self.watcher.send()

    def end(self):
        self.watcher.close()


class _Bare(Case):
    """A waiter as packages make one, also woken before it waits."""

    early = False

    def __init__(self):
        self.waiter = None

    def wait(self, limit):
        self.waiter = Waiter()
        if self.early:
            self.waiter.wake()
        self.waiter.wait(limit)

    def wake(self):
        if self.waiter is not None:
            self.waiter.wake()


class _Early(_Bare):
    early = True


class _Sleep(Case):
    """There is nobody who wakes it."""

    def wait(self, limit):
        hubbub.sleep(limit or LIMIT)

    def wake(self):
        pass


class _Yield(_Sleep):
    limited = False

    def wait(self, limit):
        hubbub.sleep(0)


CASES = {
    "Event.wait": event,
    "AsyncResult.wait": result,
    "Semaphore.acquire": semaphore,
    "Semaphore.wait": semaphore_wait,
    "RLock.acquire": _Held,
    "Condition.wait": _Condition,
    "Queue.get": get,
    "SimpleQueue.get": simple_get,
    "Queue.peek": peek,
    "Queue.put": put,
    "Queue.join": queue_join,
    "Channel.get": channel_get,
    "Channel.put": channel_put,
    "Greenlet.join": _Join,
    "Greenlet.get": _Get,
    "joinall": _Joinall,
    "iwait": _Iwait,
    "wait_any": _WaitAny,
    "Pool.join": _Pool,
    "Pool.spawn": _FullPool,
    "TaskGroup": _TaskGroup,
    "ThreadPool.apply": _Thread,
    "ThreadPool.spawn.get": _ThreadResult,
    "ThreadPool.join": _ThreadJoin,
    "wait_readable": _Pipe,
    "wait_readable, close": _ClosedPipe,
    "Socket.recv": _Recv,
    "Socket.recv, close": _ClosedRecv,
    "Socket.recv behind another": _SecondReader,
    "Socket.sendall": _Send,
    "Socket.accept": _Accept,
    "Hub.wait": _Async,
    "Waiter.wait": _Bare,
    "Waiter.wait after wake": _Early,
    "sleep": _Sleep,
    "yield": _Yield,
}


class Victim:
    """Waits once, and looks what its next waits are like."""

    def __init__(self, hub, case, limit, scope=None):
        self.hub, self.case, self.limit, self.scope = hub, case, limit, scope
        self.clean = None
        self.greenlet = hubbub.spawn(self.run)
        hub.loop.run_callback(int)

    def run(self):
        try:
            with self.scope or hubbub.CancelScope():
                self.case.wait(self.limit)
        except (Struck, hubbub.GreenletExit, hubbub.Timeout, queue.Empty, queue.Full, OSError):
            pass
        self.clean = self.queued() == 0
        for _ in range(3):
            self.clean = self.clean and self.undisturbed()

    def queued(self):
        """How often the switch of the greenlet itself is in the run queue."""
        return list(self.hub.loop.ready).count(getcurrent().switch)

    def undisturbed(self):
        """Whether a wait ends by that which it is for."""
        token = object()
        expire = partial(getcurrent().switch, token)
        self.hub.loop.call_later(0.002, expire)
        return self.hub.switch() is token

    def check(self):
        self.greenlet.join(10)
        assert self.greenlet.dead, "it waits for ever"
        assert self.clean, "something that was not for it has ended a later wait"


def late(seconds=2 * LIMIT):
    """In the hub: what falls due meanwhile comes in one turn."""
    time.sleep(seconds)


def woken_then_limit(hub, case):
    """The wake-up is in the run queue, then the limit expires."""
    hub.loop.call_later(LIMIT / 4, lambda: (late(), case.wake()))
    return Victim(hub, case, LIMIT)


def limit_then_woken(hub, case):
    """The limit is in the run queue, the wake-up comes behind it."""
    victim = Victim(hub, case, LIMIT)
    hub.loop.call_later(LIMIT / 2, case.wake)
    hub.loop.call_later(LIMIT / 4, late)
    return victim


def limit_then_nobody(hub, case):
    """The limit has expired when the wake-up comes."""
    victim = Victim(hub, case, LIMIT)
    hub.loop.call_later(2 * LIMIT, case.wake)
    hub.loop.call_later(LIMIT / 4, partial(late, 3 * LIMIT))
    return victim


def woken_and_struck(hub, case):
    """An exception comes between the wake-up and its turn."""
    victim = Victim(hub, case, None)
    hub.loop.call_later(LIMIT, lambda: (case.wake(), victim.greenlet.throw(Struck)))
    return victim


def struck_and_woken(hub, case):
    """The wake-up comes right after an exception."""
    victim = Victim(hub, case, None)
    hub.loop.call_later(LIMIT, lambda: (victim.greenlet.throw(Struck), case.wake()))
    return victim


def woken_and_killed(hub, case):
    """A kill and the wake-up are in the run queue."""
    victim = Victim(hub, case, None)
    hub.loop.call_later(LIMIT, lambda: (victim.greenlet.kill(block=False), case.wake()))
    return victim


def woken_and_timed_out(hub, case):
    """A Timeout is in the run queue, the wake-up comes behind it."""

    def wait(limit, wait=case.wait):
        with hubbub.Timeout(LIMIT):
            wait(None)

    case.wait = wait
    victim = Victim(hub, case, None)
    hub.loop.call_later(LIMIT / 2, case.wake)
    hub.loop.call_later(LIMIT / 4, late)
    return victim


def woken_and_cancelled(hub, case):
    """A cancellation is in the run queue, the wake-up comes behind it."""
    scope = hubbub.CancelScope()
    victim = Victim(hub, case, None, scope)
    hub.loop.call_later(LIMIT, lambda: (scope.cancel(), case.wake()))
    return victim


WAYS = [
    woken_then_limit,
    limit_then_woken,
    limit_then_nobody,
    woken_and_struck,
    struck_and_woken,
    woken_and_killed,
    woken_and_timed_out,
    woken_and_cancelled,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_of_a_wait(hub, name, way):
    """Whatever ends a wait together with its wake-up, in either order, the greenlet's next waits are undisturbed."""
    case = CASES[name]()
    if not case.limited and "limit" in way.__name__:
        pytest.skip("this call has no limit of its own")
    try:
        way(hub, case).check()
    finally:
        case.end()
