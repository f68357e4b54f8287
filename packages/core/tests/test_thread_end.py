"""A hub ends with its thread and leaves nothing."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable

import hubbub
import pytest
from hubbub import lowlevel
from hubbub._current import _ThreadGuard, hubs
from hubbub.event import Event
from hubbub.exceptions import HubDestroyed, InvalidThreadUseError
from hubbub.hub import Hub
from hubbub.lowlevel import HubLocal, make_loop
from hubbub.plugins import LOOPS, load

BACKENDS = {"EpollBackend", "LibevBackend", "LibuvBackend"}
WATCHED = {"Hub", "greenlet", "socket", "_localdummy", "BaseLoop", "Readiness"} | BACKENDS
ROUNDS = max(40, int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) // 5)
"""So many threads end while others wake them; ``./do stress`` has more."""


def census() -> Counter[str]:
    gc.collect()
    kinds = Counter(type(item).__name__ for item in gc.get_objects())
    for reference in gc.get_objects():
        if type(reference).__name__ == "ReferenceType":
            kinds[type(reference()).__name__] += 1
    return Counter({kind: count for kind, count in kinds.items() if kind in WATCHED})


def run_threads(count: int) -> None:
    for _ in range(count):
        thread = threading.Thread(target=hubbub.sleep, args=(0.0001,))
        thread.start()
        thread.join()


def test_six_hundred_threads_leave_nothing(hub):
    """600 threads that used a hub leave no descriptor, no object of ours, and no memory."""
    run_threads(20)
    before, descriptors, grown = census(), len(os.listdir("/proc/self/fd")), []
    for _ in range(3):
        memory = resident()
        run_threads(200)
        grown.append(resident() - memory)
    after = census()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert sum((after - before).values()) < 10, after - before
    assert min(grown) < 400  # the allocator may grow once, for what earlier tests have left it


def resident() -> int:
    """KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


def test_a_thread_may_leave_greenlets_behind(hub):
    """A thread that ends while its greenlets wait ends at once; they never run again."""
    ran = []

    def body():
        hubbub.spawn(lambda: (hubbub.sleep(0.01), ran.append(True)))
        hubbub.sleep(0)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    hubbub.sleep(0.03)
    assert ran == []


def end_a_thread(last: Callable[[], object]) -> Hub:
    """Its hub, which had greenlets. ``last`` is the thread's last deed."""
    made = []

    def body():
        made.append(hubbub.get_hub())
        hubbub.spawn(hubbub.sleep, 0).join()
        last()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return made[0]


def test_all_objects_are_listed_as_a_thread_ends(hub):
    """Who lists all objects just then, the guard and the local storage among them, keeps no hub from its end."""
    listed = []
    ended = end_a_thread(lambda: listed.append(gc.get_objects()))
    guards = [item for item in listed[0] if type(item) is _ThreadGuard and item._hub is not None]
    assert ended.destroyed
    assert any(item is ended for item in listed[0])
    assert [guard for guard in guards if guard._hub is not hub] == []
    gone = weakref.ref(ended)
    del ended, guards, listed[:]
    gc.collect()
    assert gone() is None


def test_an_interpreter_that_shows_no_sentinel(hub, monkeypatch):
    """The hub of a thread ends with the guard in the thread's local storage then."""
    monkeypatch.setattr("hubbub._current._sentinel", lambda storage: None)
    assert end_a_thread(bool).destroyed


def test_a_hub_that_was_replaced_is_its_owners(hub):
    """set_hub destroys neither the hub that it replaces nor one taken away; not even the end of the thread does."""
    mine = []

    def swap():
        mine.append(lowlevel.get_hub())
        lowlevel.set_hub(None)
        mine.append(lowlevel.get_hub())
        lowlevel.set_hub(mine[0])
        lowlevel.set_hub(mine[1])

    last = end_a_thread(swap)
    assert [one.destroyed for one in mine] == [False, True]
    assert last is mine[0]
    mine[0].destroy()


def test_a_thread_that_is_ending_gets_no_other_hub(hub):
    """Code that runs because a thread ends and asks for a hub gets an error: nothing would ever end another hub."""
    asked = []

    def end(value):
        try:
            asked.append(hubbub.get_hub())
        except BaseException as error:
            asked.append(type(error))

    local = HubLocal("a value", lambda hub: "a value", end=end)
    before = set(hubs())

    def body():
        hubbub.sleep(0)
        local.get()

    for _ in range(3):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    assert asked == [HubDestroyed] * 3
    assert set(hubs()) == before


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_while_a_thread_is_ending(hub):
    """A process that is forked while a thread is ending may give that thread's number to another, which gets a hub."""
    outcomes = []

    def end(value):
        child = os.fork()
        if not child:
            try:
                status = 0 if hubbub.get_hub() is not None else 2
            except BaseException:
                status = 1
            os._exit(status)
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    local = HubLocal("a value", lambda hub: "a value", end=end)

    def body():
        hubbub.sleep(0)
        local.get()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert outcomes == [0]


def test_a_destroyed_hub_is_replaced(hub):
    """After destroy the thread's next get_hub is a new one, which works."""
    hub.destroy()
    assert hub.destroyed
    assert hubbub.get_hub() is not hub
    hubbub.sleep(0.001)
    with pytest.raises(RuntimeError, match="destroyed"):
        hub.loop.run_callback(print)


def test_a_waker_outlives_the_loop(loop_name):
    """A thread in the middle of a wake-up when the loop is destroyed writes to nobody else's descriptor."""
    loop = make_loop(load(LOOPS, loop_name))
    in_the_middle = loop._signal_writer
    number = in_the_middle.fileno()
    loop.destroy()
    taken = [os.dup(0) for _ in range(10)]
    assert number not in taken
    try:
        in_the_middle.send(b"\0")
    except OSError:
        pass  # nobody reads it any more
    del in_the_middle
    taken.append(os.dup(0))
    assert number in taken
    for fd in taken:
        os.close(fd)


@pytest.mark.parametrize("how", ["ends", "destroys"])
def test_hubs_that_end_while_threads_wake_them(hub, how):
    """Threads may set events that greenlets of other threads wait for, while those threads and their hubs end."""
    event, stop = Event(), threading.Event()
    interval = sys.getswitchinterval()

    def wake():
        while not stop.is_set():
            event.set()
            event.clear()

    def wait():
        for _ in range(3):
            event.wait(0.0002)
            if how == "destroys":
                hubbub.get_hub().destroy()

    wakers = [threading.Thread(target=wake) for _ in range(3)]
    sys.setswitchinterval(1e-5)
    try:
        for waker in wakers:
            waker.start()
        for _ in range(ROUNDS):
            waiter = threading.Thread(target=wait)
            waiter.start()
            waiter.join(20)
            assert not waiter.is_alive()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for waker in wakers:
            waker.join()


def test_destroyed_by_another_thread_while_it_waits(hub):
    """A hub whose loop waits in its thread cannot be destroyed by another; nothing changes, and it goes on."""
    ready, done = threading.Event(), Event()
    found = []

    def work():
        found.append(hubbub.get_hub())
        found[0].loop.run_callback(ready.set)
        done.wait(20)
        hubbub.sleep(0.001)
        found.append("went on")

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(20)
    while not found[0].loop.in_poll:
        time.sleep(0.001)
    time.sleep(0.01)
    with pytest.raises(InvalidThreadUseError):
        found[0].destroy()
    assert not found[0].destroyed
    done.set()
    thread.join(20)
    assert found[1:] == ["went on"]
