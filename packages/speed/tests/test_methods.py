"""The methods of core in C: the same as those in Python, at any time, and without a leak."""

from __future__ import annotations

import gc
import inspect
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import WrapperDescriptorType
from typing import Any

import hubbub
import hubbub_speed
import pytest
from hubbub import acceleration, plugins
from hubbub.acceleration import LAYOUT
from hubbub.event import AsyncResult, Awaitable, Event
from hubbub.io import Socket
from hubbub.local import local
from hubbub.lock import RLock, Semaphore
from hubbub.queue import Empty, Queue
from hubbub.thread import allocate_lock
from hubbub.timeout import Timeout
from hubbub_speed import _methods, methods
from hubbub_speed.methods import install_methods, uninstall_methods

TWINS: dict[tuple[type, str], Any] = _methods.bind(acceleration.PARTS)
uninstall_methods()
ORIGINALS = {(cls, name): cls.__dict__[name] for cls, name in TWINS}


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    install_methods()
    yield
    install_methods()  # as the hub does


def names(table: dict[tuple[type, str], Any]) -> list[Any]:
    """Parameters with readable names."""
    return [pytest.param(key, id=f"{key[0].__name__}.{key[1]}") for key in table]


@pytest.mark.parametrize("key", names(TWINS))
def test_every_method_is_set_and_taken_back(key: tuple[type, str]) -> None:
    """install_methods sets each method in C on its class, uninstall_methods the Python one; again does no harm."""
    cls, name = key
    for _ in range(2):
        assert install_methods()
        assert install_methods()
        assert cls.__dict__[name] is TWINS[key]
        uninstall_methods()
        uninstall_methods()
        assert cls.__dict__[name] is ORIGINALS[key]


@pytest.mark.parametrize("key", names(TWINS))
def test_signatures_are_the_same(key: tuple[type, str]) -> None:
    """A method in C takes the arguments of the Python method, by the same names. Some slots of types hide them."""
    if str(inspect.signature(TWINS[key])) == "(self, /, *args, **kwargs)":
        assert isinstance(TWINS[key], WrapperDescriptorType)
        return
    theirs = [(p.name, p.default) for p in inspect.signature(ORIGINALS[key]).parameters.values()]
    ours = [(p.name, p.default) for p in inspect.signature(TWINS[key]).parameters.values()]
    if key[1] == "__init__":
        theirs, ours = theirs[1:], ours[1:]
    assert ours == theirs


def refused(reason: str) -> None:
    """Installing warns with the reason and with what to do, and core stays as it is."""
    uninstall_methods()
    with pytest.warns(RuntimeWarning, match=f"{reason}.*pip install -e packages/speed"):
        assert not install_methods()
    assert all(cls.__dict__[name] is ORIGINALS[cls, name] for cls, name in TWINS)


@pytest.mark.parametrize("built", [LAYOUT - 1, LAYOUT + 1])
def test_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch, built: int) -> None:
    """A module that was compiled for another layout is told from core's, older or newer."""
    monkeypatch.setattr(methods.extension, "LAYOUT", built)
    refused(f"layout {built}, not {LAYOUT}")


def test_a_module_without_a_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that was compiled before modules knew their layout is an older one."""
    monkeypatch.delattr(methods.extension, "LAYOUT")
    refused("an older version")


@pytest.mark.parametrize("error", [TypeError("lock is missing"), AttributeError("no slot _loop")])
def test_a_module_that_finds_not_what_it_needs_is_refused(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A layout whose number was not raised is refused as well, with what was not found."""

    def bind(parts: object) -> None:
        raise error

    monkeypatch.setattr(methods.extension, "bind", bind)
    refused(str(error))


def test_a_class_without_the_method_is_refused() -> None:
    """replace_methods changes nothing if one of the methods is not there to be replaced."""
    uninstall_methods()
    with pytest.raises(AttributeError, match="no method 'sing'"):
        acceleration.replace_methods({(Semaphore, "release"): int, (Semaphore, "sing"): int})
    assert Semaphore.__dict__["release"] is ORIGINALS[Semaphore, "release"]


def test_parts_of_another_shape_are_refused() -> None:
    """A core whose classes lack a slot is refused with its name, before anything is touched."""
    code = (
        "from hubbub import acceleration; from hubbub_speed import _methods\n"
        "parts = dict(acceleration.PARTS) | {'hubbub._waiter.Waiter': int}\n"
        "try: _methods.bind(parts)\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "_loop" in done.stdout


def socket_pair() -> tuple[Socket, Socket]:
    """Two connected sockets."""
    import socket

    return tuple(Socket(a.family, a.type, a.proto, a.detach()) for a in socket.socketpair())  # type: ignore[return-value]  # two


def take_and_leave(lock: Any) -> None:
    """Wait for a lock, and give it back."""
    lock.acquire()
    lock.release()


def test_exchanged_in_the_middle_of_a_wait() -> None:
    """A wait that began with the methods in C ends with those in Python, and the other way round."""
    for first, second in ((install_methods, uninstall_methods), (uninstall_methods, install_methods)):
        first()
        queue: Queue[str] = Queue()
        full: Queue[str] = Queue(1, ["c"])
        event, lock, (ours, theirs) = Event(), Semaphore(0), socket_pair()
        mutex, mine = allocate_lock(), RLock()
        waits: list[Callable[[], Any]] = [queue.get, event.wait, lock.acquire, partial(ours.recv, 10)]
        waits += [partial(full.put, "d"), mutex.acquire, partial(take_and_leave, mine), partial(hubbub.sleep, 0.001)]
        mutex.acquire()
        mine.acquire()
        limited: list[Callable[[], Any]] = [partial(queue.get, timeout=50), partial(event.wait, 50)]
        waiting = [hubbub.spawn(wait) for wait in waits + limited]
        hubbub.sleep(0)
        second()
        queue.put("a")
        queue.put("b")
        event.set()
        lock.release()
        theirs.sendall(b"x")
        assert full.get() == "c"
        mutex.release()
        mine.release()
        hubbub.joinall(waiting, timeout=10, raise_error=True)
        assert [greenlet.value for greenlet in waiting] == ["a", True, True, b"x", None, True, None, None, "b", True]
        assert full.get() == "d"
        ours.close()
        theirs.close()


def test_locals_are_the_same_to_both() -> None:
    """What was set by the methods in C is read, listed and deleted by those in Python, and the other way round."""
    for first, second in ((install_methods, uninstall_methods), (uninstall_methods, install_methods)):
        first()
        mine = local()
        mine.one = 1
        assert mine.one == 1
        second()
        assert (mine.one, mine.__dict__) == (1, {"one": 1})
        mine.two = 2
        del mine.one
        first()
        assert mine.two == 2
        with pytest.raises(AttributeError, match="one"):
            mine.one  # noqa: B018  # the look-up is what is tested
        with pytest.raises(AttributeError, match="one"):
            del mine.one
        assert hubbub.spawn(lambda mine=mine: hasattr(mine, "two")).get() is False


def test_waits_in_c_are_named() -> None:
    """A greenlet that waits in C, where no frame tells, is shown with what it waits in and for."""
    from hubbub.inspect import greenlets

    event, result, lock = Event(), AsyncResult[int](), Semaphore(0)
    queue, full = Queue[int](), Queue[int](1, [1])
    mutex, mine = allocate_lock(), RLock()
    mutex.acquire()
    mine.acquire()
    waits: list[Callable[[], Any]] = [event.wait, partial(event.wait, 50), result.get, lock.acquire]
    waits += [queue.get, partial(full.put, 2), mutex.acquire, partial(take_and_leave, mine)]
    waiting = [hubbub.spawn(wait) for wait in waits]
    hubbub.sleep(0)
    infos = {info.name: info for info in greenlets()}
    shown = [infos[one.name] for one in waiting]
    assert [info.operation for info in shown] == [
        *("Event.wait", "Event.wait", "AsyncResult.get", "Semaphore.acquire"),
        *("SimpleQueue.get", "SimpleQueue.put", "LockType.acquire", "RLock.acquire"),
    ]
    assert all(info.state == "waiting" and info.seconds is not None for info in shown)
    assert [info.waits_for for info in shown[4:6]] == [repr(queue), repr(full)]
    queue.put(1)
    full.get()
    mutex.release()
    mine.release()
    event.set()
    result.set(1)
    lock.release()
    hubbub.joinall(waiting, timeout=10, raise_error=True)


def use(queue: Queue[int], lock: Semaphore, pair: tuple[Socket, Socket]) -> None:
    """All the ways through the methods: at once, after a wait, too late, killed."""
    ours, theirs = pair
    reader = hubbub.spawn(ours.recv, 100)
    getter = hubbub.spawn(queue.get)
    holder = hubbub.spawn(lock.acquire)
    hubbub.sleep(0)
    theirs.sendall(b"data")
    queue.put(1)
    lock.release()
    hubbub.joinall([reader, getter, holder], timeout=10, raise_error=True)
    full, mutex, mine = Queue[int](1, [1]), allocate_lock(), RLock()
    mutex.acquire()
    mine.acquire()
    blocked: list[Callable[[], Any]] = [queue.get, lock.acquire, partial(full.put, 2), mutex.acquire, mine.acquire]
    victims = [hubbub.spawn(ours.recv, 100), *map(hubbub.spawn, blocked), hubbub.spawn(hubbub.sleep, 50)]
    putter, taker, owner = hubbub.spawn(full.put, 3), hubbub.spawn(mutex.acquire), hubbub.spawn(take_and_leave, mine)
    hubbub.sleep(0)
    hubbub.killall(victims, timeout=10)
    full.get()
    mutex.release()
    mine.release()
    hubbub.joinall([putter, taker, owner], timeout=10, raise_error=True)
    assert full.get() == 3
    ours.settimeout(0.0001)
    with pytest.raises(TimeoutError):
        ours.recv(10)
    ours.settimeout(None)
    with pytest.raises(Empty):
        queue.get(timeout=0.0001)
    assert not lock.acquire(timeout=0.0001)
    limit = Timeout.start_new(10)
    limit.close()
    with pytest.raises(Timeout), Timeout(0.0001):
        hubbub.sleep(10)


def test_nothing_leaks() -> None:
    """Waits that end in every way leave no object and no reference behind."""
    pair = socket_pair()
    queue: Queue[int] = Queue()
    lock = Semaphore(0)
    shared = [None, True, False, hubbub.get_hub(), hubbub.get_hub().loop, *pair, queue, lock]
    for _ in range(20):
        use(queue, lock, pair)
    gc.collect()
    objects, references = len(gc.get_objects()), [sys.getrefcount(item) for item in shared[3:]]
    for _ in range(200):
        use(queue, lock, pair)
    gc.collect()
    assert abs(len(gc.get_objects()) - objects) < 50
    assert [abs(sys.getrefcount(item) - before) < 50 for item, before in zip(shared[3:], references, strict=True)] == [
        True
    ] * len(references)
    for sock in pair:
        sock.close()


def test_a_failing_callback_is_reported_and_the_rest_goes_on() -> None:
    """run_ready reports what a callable of the run queue raises, and calls the others."""
    hub = hubbub.get_hub()
    told: list[Any] = []
    done: list[int] = []
    before = hub.handle_error
    hub.handle_error = lambda *arguments: told.append(arguments)  # type: ignore[method-assign]  # documented as possible
    try:

        def fails() -> None:
            raise ValueError("on purpose")

        hub.loop.ready.append(fails)
        hub.loop.ready.append(lambda: done.append(1))
        hubbub.sleep(0.001)
    finally:
        hub.handle_error = before  # type: ignore[method-assign]  # as above
    assert done == [1]
    ((context, kind, error, traceback),) = told
    assert (context, kind, str(error)) == (fails, ValueError, "on purpose")
    assert traceback is not None


@pytest.mark.parametrize("wrong", [("x", print), (1.0,), ()])
def test_bad_arguments_get_pythons_errors(wrong: tuple[Any, ...]) -> None:
    """Arguments that the methods in C cannot use are handed to the Python method, whose exception is raised."""
    loop = hubbub.get_hub().loop
    with pytest.raises(TypeError):
        loop.call_later(*wrong)
    with pytest.raises(ValueError, match="NaN"):
        loop.call_later(float("nan"), print)
    assert loop.timer_count() == hubbub.get_hub().statistics().timers


def test_timers_come_in_order() -> None:
    """Deadlines are kept in order however many are stopped in between, whichever methods are installed."""
    import random

    chance = random.Random(5)
    loop = hubbub.get_hub().loop
    came: list[tuple[float, int]] = []
    expected = []
    keys = []
    for number in range(2000):
        (install_methods if number % 3 else uninstall_methods)()
        after = chance.randrange(40) / 1000

        def call(entry: tuple[float, int] = (after, number)) -> None:
            came.append(entry)

        keys.append((loop.call_later(after, call), call, (after, number)))
    for index, (key, call, entry) in enumerate(keys):
        (install_methods if index % 5 else uninstall_methods)()
        if chance.random() < 0.6:
            loop.cancel_later(key, call)
        else:
            expected.append(entry)
    install_methods()
    hubbub.sleep(0.1)
    assert sorted(came) == sorted(expected)
    deadlines = [key[0] for key, _, _ in keys]
    assert [deadlines[number] for _, number in came] == sorted(deadlines[number] for _, number in came)


@pytest.mark.unsanitized
def test_off_by_the_environment() -> None:
    """HUBBUB_ACCELERATORS=0 leaves the Python methods where they are."""
    code = (
        "import hubbub; hubbub.sleep(0); from hubbub.lock import Semaphore; print(type(Semaphore.acquire).__name__);"
        "hubbub.get_hub().destroy()"
    )
    for value, expected in (("0", "function"), ("1", "method_descriptor")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HUBBUB_ACCELERATORS": value},
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_the_accelerator_is_found_by_entry_point() -> None:
    """The entry point ``methods`` of ``hubbub.accelerators`` is install_methods, without a warning."""
    from hubbub.plugins import ACCELERATORS, load

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(ACCELERATORS, "methods") is hubbub_speed.install_methods


@pytest.fixture
def pair() -> Iterator[tuple[Socket, Socket]]:
    """Two connected cooperative sockets."""
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    with left, right:
        left.settimeout(10)
        right.settimeout(10)
        yield left, right


def test_a_busy_thread_does_not_get_between_reads_and_writes(pair: tuple[Socket, Socket]) -> None:
    """recv and sendall of a few bytes that need not wait keep the GIL: a thread that computes costs them nothing."""
    left, right = pair
    count = 0
    stop = False

    def compute() -> None:
        nonlocal count
        while not stop:
            count += 1

    def uninterrupted() -> bool:
        before = count
        for _ in range(20):
            left.sendall(b"x")
            assert right.recv(4096) == b"x"
        return count == before

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=compute)
    sys.setswitchinterval(0.2)
    try:
        thread.start()
        assert any(uninterrupted() for _ in range(5))  # the system may stop us for a moment too
    finally:
        stop = True
        sys.setswitchinterval(interval)
        thread.join()


@pytest.mark.parametrize("loop", ["libev", "libuv"])
def test_a_look_at_the_descriptors_keeps_the_gil(loop: str) -> None:
    """A native loop that has something to run polls with the GIL: a thread that waits for that insists after its time.

    Released for a moment the GIL would not be taken by anybody, and who waits would count from the start.
    """
    if loop not in plugins.names(plugins.LOOPS):
        pytest.skip("not installed")
    code = (
        "import sys, threading, time, hubbub\n"
        f"hubbub.configure(loop={loop!r})\n"
        "hubbub.sleep(0.001)\n"
        "count, stop = 0, False\n"
        "def compute():\n"
        "    global count\n"
        "    while not stop: count += 1\n"
        "thread = threading.Thread(target=compute)\n"
        "thread.start()\n"
        "sys.setswitchinterval(1)\n"  # nobody is made to give up the GIL for so long
        "end = time.monotonic() + 0.02\n"  # but for a request from before
        "while time.monotonic() < end: pass\n"
        "before, polls = count, hubbub.get_hub().statistics().polls\n"
        "for _ in range(50_000): hubbub.sleep(0)\n"
        "print(count == before, hubbub.get_hub().statistics().polls - polls > 20)\n"
        "stop = True\n"
        "thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_descriptor_that_blocks_does_not_block_the_thread(pair: tuple[Socket, Socket]) -> None:
    """If another process has set the shared description to block, recv and sendall let others run all the same."""
    left, right = pair
    os.set_blocking(left.fileno(), True)
    os.set_blocking(right.fileno(), True)
    message = b"y" * 50_000
    got = bytearray()

    def read_all() -> None:
        while len(got) < 20 * len(message):
            got.extend(left.recv(4096))

    reader = hubbub.spawn(read_all)
    hubbub.sleep(0)
    for _ in range(20):
        right.sendall(message)
    reader.get(timeout=10)
    assert got == 20 * message


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1 << 20])
def test_sizes_of_reads(pair: tuple[Socket, Socket], size: int) -> None:
    """A read returns what there is, up to the size that was asked for, on both sides of the size that keeps the GIL."""
    left, right = pair
    right.sendall(b"z" * 100)
    data = left.recv(size)
    assert data == b"z" * min(size, 100)
    right.close()
    rest = left.recv(1 << 20)
    assert len(data) + len(rest) == 100
    assert left.recv(1 << 20) == b""


def test_reads_after_reads_of_another_size(pair: tuple[Socket, Socket]) -> None:
    """What comes is the same whether few bytes or many were read before it, with peeks and datagrams in between."""
    left, right = pair
    few, many = b"few", bytes(range(256)) * 200
    for message in (few, many, few, many, many, few):
        right.sendall(message)
        assert left.recv(65_536, socket.MSG_PEEK)[:3] == message[:3]
        got = b""
        while len(got) < len(message):
            got += left.recv(65_536)
        assert got == message
    one, other = (Socket(fileno=end.detach()) for end in socket.socketpair(type=socket.SOCK_DGRAM))
    with one, other:
        for message in (few, many, few):
            one.sendall(message)
            assert other.recv(65_536) == message


def test_errors_of_reads_and_writes(pair: tuple[Socket, Socket]) -> None:
    """Errors are those of the standard library's socket: nothing there, no room, closed, broken, too much asked for."""
    left, right = pair
    left.settimeout(0)
    with pytest.raises(BlockingIOError):
        left.recv(10)
    left.settimeout(10)
    with pytest.raises(BlockingIOError):
        left.recv(10, socket.MSG_DONTWAIT)
    with pytest.raises(OverflowError):
        left.recv(1 << 70)
    right.settimeout(0)
    with pytest.raises(BlockingIOError):
        for _ in range(10_000):
            right.sendall(b"w" * 60_000)
    left.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        left.recv(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        left.sendall(b"v")
    with pytest.raises(BrokenPipeError):
        right.sendall(b"v")
    with pytest.raises(ConnectionResetError):
        right.recv(10)


WAITS: dict[str, tuple[type[Awaitable], Callable[[Any], object]]] = {
    "event": (Event, lambda event: event.wait()),
    "event_limit": (Event, lambda event: event.wait(5)),
    "event_named_limit": (Event, lambda event: event.wait(timeout=5)),
    "event_subclass": (type("Sub", (Event,), {}), lambda event: event.wait(timeout=5)),
    "get": (AsyncResult, lambda result: result.get()),
    "get_named_limit": (AsyncResult, lambda result: result.get(timeout=5)),
    "get_subclass": (type("Sub", (AsyncResult,), {}), lambda result: result.get(True, 5)),
    "result": (AsyncResult, lambda result: result.result(5)),
    "wait": (AsyncResult, lambda result: result.wait(timeout=5)),
}


@pytest.mark.parametrize("way", WAITS)
def test_no_wait_for_a_flag_looks_at_it_in_python(hub: hubbub.Hub, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """However a greenlet waits for an event or a result, it joins and looks at the flag in one step of C.

    The method in Python takes a mutex for that, which ``set`` in C does not ask for: a ``set`` of another thread in the
    middle took the waiter out of the queue first, and the wait ended with a ValueError.
    """
    monkeypatch.delattr(Awaitable, "_enter")
    kind, wait = WAITS[way]
    waited_for: Any = kind()
    waiter = hubbub.spawn(wait, waited_for)
    hubbub.sleep(0)
    assert not waiter.ready()
    waited_for.set()
    waiter.get(timeout=5)


def test_who_wakes_another_thread_goes_on(hub: hubbub.Hub) -> None:
    """A thread that wakes a greenlet of another does not give up the GIL by that, as none does by a lock of threads.

    What programs for threads do after they have set a result is done before the one who waits for it has it.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1)
    try:
        for _ in range(100):
            waiting, order = Event(), []

            def wake(waiting: Event = waiting, order: list[str] = order) -> None:
                while not hub.loop.in_poll:
                    time.sleep(0)
                waiting.set()
                order.append("after it")

            thread = threading.Thread(target=wake)
            thread.start()
            waiting.wait(10)
            order.append("woken")
            thread.join()
            assert order == ["after it", "woken"]
    finally:
        sys.setswitchinterval(interval)
