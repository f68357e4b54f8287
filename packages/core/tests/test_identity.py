"""What there is one of can be neither copied nor pickled."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub import event, local, lock, queue, thread
from hubbub import threading as cooperative
from hubbub._links import Linkable
from hubbub.lowlevel import Waiter
from hubbub.pool import Group, Pool
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor

MAKERS: dict[str, Callable[[], Any]] = {
    "LockType": thread.LockType,
    "thread.RLock": thread.RLock,
    "RLock": lock.RLock,
    "Semaphore": lock.Semaphore,
    "BoundedSemaphore": lock.BoundedSemaphore,
    "threading.Semaphore": cooperative.Semaphore,
    "Condition": lock.Condition,
    "Barrier": lambda: cooperative.Barrier(2),
    "Thread": cooperative.Thread,
    "Event": event.Event,
    "AsyncResult": event.AsyncResult,
    "SimpleQueue": queue.SimpleQueue,
    "Queue": queue.Queue,
    "LifoQueue": queue.LifoQueue,
    "PriorityQueue": queue.PriorityQueue,
    "Channel": queue.Channel,
    "local": local.local,
    "Greenlet": lambda: hubbub.Greenlet(int),
    "started Greenlet": lambda: hubbub.spawn(int),
    "Group": Group,
    "Pool": lambda: Pool(2),
    "ThreadPool": lambda: ThreadPool(1),
    "ThreadPoolExecutor": lambda: ThreadPoolExecutor(1),
    "TaskGroup": hubbub.TaskGroup,
    "CancelScope": hubbub.CancelScope,
    "Hub": hubbub.get_hub,
    "loop": lambda: hubbub.get_hub().loop,
    "timer": lambda: hubbub.get_hub().loop.timer(1.0),
    "io": lambda: hubbub.get_hub().loop.io(0, 1),
    "Waiter": Waiter,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_refused(hub, make, way):
    """copy, deepcopy and pickle are a TypeError that names the class, as of CPython's locks."""
    made = make()
    with pytest.raises(TypeError, match="cannot pickle .*" + type(made).__name__):
        way(made)


@pytest.mark.parametrize("way", [copy.deepcopy, pickle.dumps])
def test_refused_inside_of_others(hub, way):
    """An object that holds a lock cannot be copied wholly either."""
    with pytest.raises(TypeError, match="LockType"):
        way({"lock": thread.LockType()})


def test_every_class_with_waiters_refuses():
    """No public class of core whose objects are waited for, or wait, was left out."""
    found = []
    for module in pkgutil.walk_packages(hubbub.__path__, "hubbub."):
        if "hook-" in module.name:
            continue  # for PyInstaller to load
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and value.__module__ == module.name:
                waited_for = issubclass(value, Linkable) or hasattr(value, "rawlink") or hasattr(value, "acquire")
                if waited_for and not name.startswith("_") and name not in ("DummySemaphore", "Future", "Popen"):
                    found.append(value)
    assert len(found) > 15
    assert [kind for kind in found if kind.__reduce_ex__ is object.__reduce_ex__] == []


def test_queues_have_a_copy_of_their_own(hub):
    """queue.copy() is a queue of the same kind with the same items, and no waiters."""
    made = queue.PriorityQueue(5, [2, 1])
    other = made.copy()
    assert type(other) is queue.PriorityQueue
    assert [other.get(), other.get(), other.maxsize] == [1, 2, 5]
    assert made.qsize() == 2
