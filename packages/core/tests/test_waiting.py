"""wait_any: the first of several, and the others lose nothing."""

from __future__ import annotations

import socket

import pytest
from hubbub import AsyncResult, Event, Queue, Semaphore, sleep, spawn, wait_any
from hubbub.io import Socket


def test_the_first_that_becomes_ready_is_returned(hub):
    """Of an event, a queue and a greenlet the one that is ready first is returned."""
    event, queue, greenlet = Event(), Queue(), spawn(sleep, 10)
    spawn(event.set)
    assert wait_any([queue, event, greenlet], timeout=5) is event
    greenlet.kill()


def test_nothing_is_taken(hub):
    """A ready queue keeps its item and a semaphore its permit."""
    queue, lock = Queue(items=["item"]), Semaphore(1)
    assert wait_any([queue, lock]) is queue
    assert queue.get_nowait() == "item"
    assert wait_any([queue, lock]) is lock
    assert lock.counter == 1


def test_losers_are_unlinked(hub):
    """What did not win is left without a link, and works on."""
    event, result, queue = Event(), AsyncResult(), Queue()
    queue.put(1)
    assert wait_any([event, result, queue], timeout=5) is queue
    called = []
    event.rawlink(called.append)
    event.set()
    result.set()
    hub.join(timeout=1)
    assert called == [event]


def test_sockets_and_timeouts(hub):
    """A socket with data wins; without anything ready the time runs out with None."""
    ours, theirs = (Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())
    with ours, theirs:
        assert wait_any([ours, Event()], timeout=0.01) is None
        spawn(theirs.send, b"x")
        assert wait_any([Event(), ours], timeout=5) is ours
        assert ours.recv(1) == b"x"


def test_a_queue_item_put_by_a_greenlet_that_waits(hub):
    """An item that arrives while wait_any waits is still there for get."""
    queue, event = Queue(), Event()
    spawn(queue.put, "late")
    assert wait_any([event, queue], timeout=5) is queue
    assert queue.get_nowait() == "late"


def test_bad_arguments_are_named(hub):
    """No objects, or one that cannot be waited for, is an error at the door."""
    with pytest.raises(ValueError, match="at least one"):
        wait_any([])
    with pytest.raises(TypeError, match="neither"):
        wait_any([object()])
