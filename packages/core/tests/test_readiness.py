"""Readiness of a descriptor: what the backend is told, and when."""

from __future__ import annotations

import socket

import hubbub
import pytest
from hubbub.abc import READ, WRITE
from hubbub.io import Socket
from hubbub.lowlevel import Readiness


class Recording:
    """As much of a level-triggered loop and its backend as a readiness needs; notes what it is asked for."""

    edge_triggered = False
    calls = 0

    def __init__(self):
        self.ready = []
        self.armed = []
        self._backend = self

    def arm(self, fd, events):
        self.armed.append(events)


@pytest.fixture
def reading():
    left, right = socket.socketpair()
    with left, right:
        direction = Readiness(Recording(), left.fileno()).read
        direction.armed = True
        direction.handle.update()
        yield direction


def test_report_before_the_woken_one_ran(reading):
    """A second report, before the one who was woken has had its turn, changes nothing in the kernel."""
    reading.ready = False
    reading.waiter = int
    reading.fire()
    reading.fire()
    assert reading.loop.ready == [int]
    assert reading.ready
    assert reading.loop.armed == [READ]


def test_reports_that_nobody_heeds(reading):
    """Reports that go on while nobody waits are stopped after a few: the loop must not spin."""
    for _ in range(20):
        reading.fire()
    assert reading.loop.armed == [READ, 0]
    assert not reading.armed


class NoMemory(Exception):
    """Raised where memory might run out."""


@pytest.mark.parametrize("method", ["call_later", "arm_direction"])
@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind another"])
def test_a_wait_that_cannot_begin_leaves_no_trace(hub, method, behind):
    """A wait that fails before it has begun leaves the queue: nobody is woken by it later, and no event is lost."""
    if method == "arm_direction" and behind:
        pytest.skip("it is armed already")
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        handle = hub.loop.handle(left.fileno())
        handle.adopt()
        handle.always_level = True
        first = hubbub.spawn(handle.read.wait) if behind else None
        hubbub.sleep(0.001)
        before = getattr(hub.loop, method)

        def fail(*_, **__):
            raise NoMemory

        setattr(hub.loop, method, fail)
        try:
            with pytest.raises(NoMemory):
                handle.read.wait(5)
        finally:
            setattr(hub.loop, method, before)
        assert bool(handle.read.waiter) is behind
        assert not handle.read.others
        with pytest.raises(ValueError, match="NaN"):
            handle.read.wait(float("nan"))
        assert bool(handle.read.waiter) is behind
        right.send(b"x")
        reader = first or hubbub.spawn(handle.read.wait, 5)
        assert reader.get(timeout=5)
        assert handle.read.waiter is None
        hub.loop.descriptor_closing(left.fileno())


class Observer:
    """Keeps what it is told."""

    def __init__(self, events=READ, then=None):
        self.events = events
        self.told = []
        self.then = then

    def fired(self, events):
        self.told.append(events)
        if self.then is not None:
            self.then()

    def descriptor_closed(self):
        self.told.append("closed")


@pytest.fixture(params=["a socket", "a bare descriptor"])
def ends(hub, request):
    """The readiness of a descriptor on the loop, and the socket that makes it readable."""
    left, right = socket.socketpair()
    with left, right:
        handle = hub.loop.handle(left.fileno())
        if request.param == "a socket":
            handle.adopt()
            hub.loop.arm_direction(handle.read)
            hubbub.sleep(0.001)
        yield handle, right
        hub.loop.descriptor_closing(left.fileno())


def test_observer_is_told_beside_who_waits(ends):
    """An event is told to every observer that wants it, before the greenlet that waits goes on, which it does too."""
    handle, right = ends
    wanted, unwanted, order = Observer(then=lambda: order.append("observer")), Observer(events=0), []
    handle.join(wanted)
    handle.join(unwanted)
    waiting = hubbub.spawn(lambda: (handle.read.wait(5), order.append("greenlet")))
    hubbub.sleep(0)
    right.send(b"x")
    waiting.get(timeout=5)
    assert order[0] == "observer"
    assert order[-1] == "greenlet"
    assert set(wanted.told) == {READ}
    assert unwanted.told == []
    handle.leave(wanted)
    handle.leave(unwanted)


def test_observer_that_left(ends):
    """Whoever has left is told nothing, not even of the closing; to leave twice is harmless."""
    handle, right = ends
    observer = Observer(READ | WRITE)
    handle.join(observer)
    handle.leave(observer)
    handle.leave(observer)
    right.send(b"x")
    hubbub.sleep(0.001)
    handle.close()
    assert observer.told == []


def test_observers_leave_the_registration_as_it_was(ends):
    """When the last observer leaves, the kernel is asked for what it was asked for before."""
    handle, _ = ends
    before = handle.registered
    observers = [Observer(READ), Observer(WRITE), Observer(READ | WRITE), Observer(0)]
    for observer in observers:
        handle.join(observer)
    assert handle.registered & (READ | WRITE) == READ | WRITE
    for observer in observers:
        handle.leave(observer)
    assert handle.registered == before
    assert (handle.fd in handle.loop.handles) is handle.lasting


def test_observer_leaves_while_others_are_told(ends):
    """An observer may make another one leave; those behind it are told all the same."""
    handle, right = ends
    last = Observer()
    first = Observer(then=lambda: handle.leave(first))
    handle.join(first)
    handle.join(last)
    right.send(b"x")
    hubbub.sleep(0.005)
    assert len(first.told) == 1
    assert last.told
    handle.leave(last)


def test_observers_are_told_of_the_closing(ends):
    """Each observer is told once that the descriptor is being closed, and has left it then."""
    handle, _ = ends
    observers = [Observer(READ), Observer(0)]
    for observer in observers:
        handle.join(observer)
    handle.close()
    handle.close()
    for observer in observers:
        handle.leave(observer)
    assert [observer.told for observer in observers] == [["closed"], ["closed"]]


def test_joining_a_closed_descriptor(hub):
    """Joining a descriptor that is closed raises, and the observer has not joined."""
    handle = hub.loop.handle(1000)  # a number that no file has
    observer = Observer()
    with pytest.raises(OSError, match="descriptor"):
        handle.join(observer)
    assert handle.observers is None
    handle.close()
    assert observer.told == []


def test_observed_reports_go_on(reading):
    """Reports that somebody observes are not stopped, however many find no greenlet waiting."""
    observer = Observer()
    reading.handle.join(observer)
    for _ in range(20):
        reading.handle.observed(READ)
        reading.fire()
    assert len(observer.told) == 20
    assert reading.armed


@pytest.fixture
def read():
    """The reading direction of a UNIX socket, which is watched level-triggered on every loop."""
    mine, other = (Socket(sock.family, sock.type, 0, sock.detach()) for sock in socket.socketpair())
    with mine, other:
        yield mine.readiness().read


def report(direction, times):
    """Have the loop of ``direction`` hear of an event so many times, in one turn."""
    loop = direction.loop
    for _ in range(times):
        loop.dispatch([(direction.handle.fd, loop.backend.READ_BITS)])


def test_reports_that_nobody_wants_are_switched_off(hub, read):
    """A descriptor that is reported again and again, and for which nobody waits, is reported no more."""
    report(read, 3)
    assert read.armed
    report(read, 1)
    assert not read.armed


def test_a_report_before_the_turn_of_the_greenlet_does_not_count(hub, read):
    """While many are ready before the greenlet that was woken, reports of the same event switch nothing off."""
    reader = hubbub.spawn(read.wait)
    hubbub.sleep(0)
    hub.loop.ready.extend([int] * 100)
    report(read, 50)
    assert read.armed
    assert reader.get(timeout=5)
    hubbub.sleep(0.001)  # a poll, before which the calls are counted
    report(read, 4)
    assert not read.armed


def test_an_event_is_kept_for_the_next_wait(hub, read):
    """A report that comes before the greenlet's turn is remembered: its next wait need not be."""
    reader = hubbub.spawn(read.wait)
    hubbub.sleep(0)
    hub.loop.ready.extend([int] * 100)
    report(read, 2)
    assert reader.get(timeout=5)
    assert read.ready
