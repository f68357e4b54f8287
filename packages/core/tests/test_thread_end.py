"""A hub ends with its thread and leaves nothing."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter

import hubbub
import pytest

WATCHED = {"Hub", "greenlet", "socket", "_localdummy", "EpollLoop", "LibevLoop", "LibuvLoop", "Readiness"}


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
    before, descriptors, memory = census(), len(os.listdir("/proc/self/fd")), resident()
    run_threads(600)
    after = census()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert sum((after - before).values()) < 10, after - before
    assert resident() - memory < 1024


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


def test_a_destroyed_hub_is_replaced(hub):
    """After destroy the thread's next get_hub is a new one, which works."""
    hub.destroy()
    assert hub.destroyed
    assert hubbub.get_hub() is not hub
    hubbub.sleep(0.001)
    with pytest.raises(RuntimeError, match="destroyed"):
        hub.loop.run_callback(print)
