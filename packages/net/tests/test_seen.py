"""What the loop saw is what a wait returns, whoever has taken it since."""

from __future__ import annotations

import os
import select as stdlib
import socket as plain
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import hubbub
import pytest
from hubbub.abc import READ, WRITE
from hubbub.lowlevel import Hub
from hubbub_net import select, selectors, socket

pytestmark = pytest.mark.skipif(not hasattr(stdlib, "epoll"), reason="written for systems with epoll")

Wait = Callable[[list[Any], float], list[int]]
"""Waits for any of several descriptors to be readable; returns the numbers of those that are."""


def by_select(members: list[Any], seconds: float) -> list[int]:
    return [number(member) for member in select.select(members, [], [], seconds)[0]]


def by_select_with_urgent(members: list[Any], seconds: float) -> list[int]:
    return [number(member) for member in select.select(members, [], members, seconds)[0]]


def by_poll(members: list[Any], seconds: float) -> list[int]:
    poller = select.poll()
    for member in members:
        poller.register(member, stdlib.POLLIN)
    return [fd for fd, bits in poller.poll(seconds * 1000) if bits == stdlib.POLLIN]


def by_epoll(members: list[Any], seconds: float) -> list[int]:
    with select.epoll() as poller:
        for member in members:
            poller.register(member, stdlib.EPOLLIN)
        return [fd for fd, bits in poller.poll(seconds) if bits == stdlib.EPOLLIN]


def by_selector(cls: str, members: list[Any], seconds: float) -> list[int]:
    with getattr(selectors, cls)() as selector:
        for member in members:
            selector.register(member, selectors.EVENT_READ, [])  # data that cannot be hashed
        return [key.fd for key, events in selector.select(seconds) if events == selectors.EVENT_READ]


def by_wait(members: list[Any], seconds: float) -> list[int]:
    return [number(members[0])] if socket.wait(members[0], READ, seconds) == READ else []


def by_wait_both(members: list[Any], seconds: float) -> list[int]:
    """Both directions of a descriptor that cannot be written."""
    return [number(members[0])] if socket.wait(members[0], READ | WRITE, seconds) & READ else []


def by_wait_read(members: list[Any], seconds: float) -> list[int]:
    try:
        socket.wait_read(members[0], seconds)
    except TimeoutError:
        return []
    return [number(members[0])]


WAITS: dict[str, Wait] = {
    "select": by_select,
    "select-urgent": by_select_with_urgent,
    "poll": by_poll,
    "epoll": by_epoll,
    "wait": by_wait,
    "wait-both": by_wait_both,
    "wait_read": by_wait_read,
    **{
        name: lambda members, seconds, name=name: by_selector(name, members, seconds)
        for name in ("SelectSelector", "PollSelector", "EpollSelector", "DefaultSelector")
    },
}
ONE = ("wait", "wait-both", "wait_read")
"""Those that know one descriptor only."""


def number(member: Any) -> int:
    fd: int = member if isinstance(member, int) else member.fileno()
    return fd


class Source:
    """Something that becomes readable, and somebody who takes what is there before anybody else runs."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        if kind == "pipe":
            self.member: Any
            self.member, end = os.pipe()
            stack.callback(os.close, self.member)
            stack.callback(os.close, end)
            self.send = lambda: os.write(end, b"x")
            self.fd: int = self.member
        else:
            maker = socket.socketpair if kind == "socket" else plain.socketpair
            self.member, other = maker()
            stack.enter_context(self.member)
            stack.enter_context(other)
            self.send = lambda: other.send(b"x")
            self.fd = self.member.fileno()
        os.set_blocking(self.fd, False)

    def take(self, hub: Hub, stack: ExitStack) -> list[bytes]:
        taken: list[bytes] = []
        watcher = hub.loop.io(self.fd, READ)
        stack.callback(watcher.close)

        def callback() -> None:
            try:
                taken.append(os.read(self.fd, 10))
            except BlockingIOError:
                taken.append(b"")

        watcher.start(callback)
        return taken


@pytest.fixture
def stack(hub: Hub) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("before", [True, False], ids=["taker-first", "waiter-first"])
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "plain"])
@pytest.mark.parametrize("name", WAITS)
def test_what_another_callback_takes(
    hub: Hub, stack: ExitStack, name: str, kind: str, known: bool, before: bool
) -> None:
    """A wait returns the descriptor that the loop reported although a callback has read it empty meanwhile."""
    if name == "wait-both" and kind != "pipe":
        pytest.skip("a socket can be written")
    sources = [Source(kind, stack) for _ in range(1 if name in ONE else 3)]
    if known and kind == "socket":
        for source in sources:
            with pytest.raises(TimeoutError):
                source.member.wait_readable(0.0)
    taken: list[list[bytes]] = []
    if before:
        taken.append(sources[0].take(hub, stack))
    waiting = hubbub.spawn(WAITS[name], [source.member for source in sources], 5.0)
    hubbub.sleep(0)
    if not before:
        taken.append(sources[0].take(hub, stack))
    sources[0].send()
    with hubbub.Timeout(2):
        found = waiting.get()
    assert found == [sources[0].fd]
    assert b"x" in taken[0]


@pytest.mark.parametrize("name", WAITS)
def test_alone(hub: Hub, stack: ExitStack, name: str) -> None:
    """Two greenlets that wait for one descriptor both return, the one that comes later though the first has read."""
    source = Source("pipe", stack)
    found: list[list[int]] = []

    def wait_and_read() -> None:
        found.append(WAITS[name]([source.fd], 5.0))
        try:
            os.read(source.fd, 10)
        except BlockingIOError:
            pass

    waiting = [hubbub.spawn(wait_and_read) for _ in range(2)]
    for _ in range(5):
        hubbub.sleep(0)
    source.send()
    if name == "wait_read":  # first come, first served: the other is woken by what is left
        waiting[0].join(2)
        source.send()
    hubbub.joinall(waiting, 2)
    assert found == [[source.fd], [source.fd]]


@pytest.mark.parametrize("name", WAITS)
def test_nothing_is_left(hub: Hub, stack: ExitStack, name: str) -> None:
    """After a wait that ended, timed out or was killed nothing of it is in the loop, and the next one works."""
    sources = [Source("plain", stack) for _ in range(1 if name in ONE else 3)]
    members = [source.member for source in sources]
    before = hub.loop.refs, sorted(hub.loop.handles)
    assert WAITS[name](members, 0.001) == []
    waiting = hubbub.spawn(WAITS[name], members, 5.0)
    hubbub.sleep(0)
    waiting.kill()
    waiting = hubbub.spawn(WAITS[name], members, 5.0)
    hubbub.sleep(0)
    sources[-1].send()
    waiting.kill()  # before its turn
    assert (hub.loop.refs, sorted(hub.loop.handles)) == before
    assert WAITS[name](members, 5.0) == [sources[-1].fd]
    assert (hub.loop.refs, sorted(hub.loop.handles)) == before


def _throw_in_the_turn_of_the_event(hub: Hub, stack: ExitStack, bits: int, late: bool, first: bool) -> bool:
    """Whether the exception came before the greenlet's own turn."""
    source, other = Source("plain", stack), Source("plain", stack)
    poller = stack.enter_context(select.epoll())
    poller.register(source.member, stdlib.EPOLLIN | bits)
    watcher = hub.loop.io(other.fd, READ)
    stack.callback(watcher.close)

    def end() -> None:
        watcher.stop()
        waiting.throw(hubbub.GreenletExit)

    if first:
        watcher.start(end)
    waiting = hubbub.spawn(poller.poll)
    hubbub.sleep(0.001)
    if not first:
        watcher.start(end)
    for one in (source, other) if late else (other, source):
        one.send()
    waiting.join(2)
    thrown = isinstance(waiting.value, hubbub.GreenletExit)
    assert (poller.poll(2) if thrown else waiting.value) == [(source.fd, stdlib.EPOLLIN)]
    assert poller.poll(0) == []
    return thrown


@pytest.mark.parametrize("bits", [stdlib.EPOLLET, stdlib.EPOLLONESHOT])
def test_an_event_that_comes_once_is_not_lost_to_a_kill(hub: Hub, stack: ExitStack, bits: int) -> None:
    """What an ``epoll`` object took for a greenlet that ended before its turn, the next ``poll`` returns."""
    orders = [(late, first) for late in (False, True) for first in (False, True)]
    thrown = [_throw_in_the_turn_of_the_event(hub, stack, bits, *order) for order in orders]
    assert any(thrown)


def test_a_number_that_is_used_again(hub: Hub, stack: ExitStack) -> None:
    """A descriptor that was polled, closed without a word and is another one now is reported like any other."""
    for turn in range(6):
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        got: list[int] = []
        watcher = hub.loop.io(fd, READ)
        watcher.start(lambda fd=fd, got=got: got.append(os.eventfd_read(fd)))
        if turn % 2:
            assert select.select([fd], [], [], 0.002) == ([], [], [])
        hubbub.sleep(0.001)
        os.eventfd_write(fd, 1)
        for _ in range(200):
            if got:
                break
            hubbub.sleep(0.001)
        watcher.stop()
        os.close(fd)
        assert got == [1], turn


def test_only_waiting_in_select_is_no_deadlock(hub: Hub, stack: ExitStack) -> None:
    """The main greenlet may wait in ``select`` for what comes from outside alone."""
    source = Source("pipe", stack)
    timer = threading.Timer(0.05, source.send)
    timer.start()
    assert select.select([source.fd], [], []) == ([source.fd], [], [])
    timer.join()
