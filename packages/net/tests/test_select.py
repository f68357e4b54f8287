"""``hubbub_net.select``: select, poll and epoll that let other greenlets run while they wait."""

from __future__ import annotations

import errno
import os
import select as stdlib
import socket as plain
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.lowlevel import Hub
from hubbub_net import select, socket

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair(hub: Hub) -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_every_public_name_of_the_standard_library_is_there() -> None:
    """Whatever ``select`` defines in the running interpreter can be had from ``hubbub_net.select``."""
    assert not [name for name in dir(stdlib) if not name.startswith("_") and not hasattr(select, name)]


# select ---------------------------------------------------------------------------------------------------------------


def test_select_waits_for_data_while_others_run(pair: Pair, meanwhile: Callable[..., None]) -> None:
    """``select`` returns the very objects that became readable, and others run meanwhile."""
    one, other = pair
    meanwhile(other.send, b"x")
    assert select.select([one, other], [], []) == ([one], [], [])


def test_select_for_reading_and_writing(pair: Pair) -> None:
    """What is ready is returned at once, in three lists; duplicates are reported as often as they were given."""
    one, other = pair
    other.send(b"x")
    assert select.select([one, one, one.fileno()], [one], [one], 5) == ([one, one, one.fileno()], [one], [])


def test_select_times_out(pair: Pair) -> None:
    """Nothing in time gives three empty lists; without descriptors ``select`` sleeps."""
    assert select.select([pair[0]], [], [], 0.01) == ([], [], [])
    assert select.select([], [], [], 0.01) == ([], [], [])


def test_select_that_only_looks_lets_others_run(pair: Pair) -> None:
    """A loop around ``select`` with a time limit of 0 does not starve the greenlet it waits for."""
    one, other = pair
    hubbub.spawn(other.send, b"x")
    for _ in range(100):
        if select.select([one], [], [], 0)[0]:
            break
    else:
        pytest.fail("the sender never ran")


def test_a_busy_loop_of_selects_lets_others_run(pair: Pair) -> None:
    """A loop around ``select``, ``poll`` or ``epoll`` that always finds something does not starve others."""
    one, _ = pair
    poller = select.poll()
    poller.register(one, stdlib.POLLOUT)
    calls: list[Any] = [lambda: select.select([], [one], []), poller.poll]
    if hasattr(stdlib, "epoll"):
        kernels = select.epoll()
        kernels.register(one, stdlib.EPOLLOUT)
        calls.append(kernels.poll)
    for call in calls:
        ran: list[int] = []
        hubbub.spawn(ran.append, 1)
        for _ in range(3):
            assert call()
        assert ran
    if hasattr(stdlib, "epoll"):
        kernels.close()


def test_a_socket_closed_while_select_gives_way(pair: Pair) -> None:
    """A socket that another greenlet closes while ``select`` only looks is not ready; the next call is an error."""
    one, _ = pair
    number = one.fileno()
    select.select([number], [], [], 0)
    hubbub.spawn(one.close)
    assert select.select([number], [], [], 0) == ([], [], [])
    with pytest.raises(OSError) as caught:
        select.select([number], [], [], 0)
    assert caught.value.errno == errno.EBADF


def test_concurrent_polls(pair: Pair) -> None:
    """Two greenlets that wait in one ``poll`` object are RuntimeError, as two threads are."""
    poller = select.poll()
    poller.register(pair[0], stdlib.POLLIN)
    waiting = hubbub.spawn(poller.poll)
    hubbub.sleep(0)
    with pytest.raises(RuntimeError):
        poller.poll()
    waiting.kill()
    assert poller.poll(0) == []


def test_select_sees_urgent_data(serve: Any) -> None:
    """The third list waits for out-of-band data."""

    def send_urgently(sock: socket.socket) -> None:
        sock.recv(1)
        sock.send(b"!", plain.MSG_OOB)
        sock.recv(1)

    with socket.create_connection(serve(send_urgently)) as sock:
        sock.send(b"x")
        assert select.select([], [], [sock], 5) == ([], [], [sock])
        assert sock.recv(1, plain.MSG_OOB) == b"!"


def test_select_refuses_what_the_standard_library_refuses(pair: Pair) -> None:
    """Negative time limits and descriptors are ValueError, other things TypeError, closed descriptors EBADF."""
    with pytest.raises(ValueError):
        select.select([], [], [], -1)
    with pytest.raises(ValueError):
        select.select([-1], [], [])
    with pytest.raises(TypeError):
        select.select(["a"], [], [])
    with pytest.raises(TypeError):
        select.select(1, [], [])  # type: ignore[arg-type]  # that is the point
    fd = os.dup(0)
    os.close(fd)
    with pytest.raises(OSError) as caught:
        select.select([fd], [], [])
    assert caught.value.errno == errno.EBADF


@pytest.fixture
def more(hub: Hub) -> Iterator[list[Any]]:
    """Sockets on which nothing happens."""
    with ExitStack() as stack:
        yield [stack.enter_context(sock) for _ in range(20) for sock in socket.socketpair()]


@pytest.mark.parametrize("many", [False, True])
def test_closing_a_selected_socket_ends_the_wait(pair: Pair, more: list[Any], many: bool) -> None:
    """``close`` of a socket in the list of a waiting ``select`` is an error there, and no hang."""
    one, _ = pair
    waiting = hubbub.spawn(select.select, [one.fileno(), *(more if many else ())], [], [])
    hubbub.sleep(0)
    one.close()
    waiting.join(timeout=5)
    assert isinstance(waiting.exception, (OSError, ValueError))


@pytest.mark.parametrize("many", [False, True])
def test_an_error_thrown_into_a_wait_comes_out(pair: Pair, more: list[Any], many: bool) -> None:
    """A TimeoutError, or another OSError, that somebody throws into a waiting ``select`` is not taken for its own."""
    for error in (TimeoutError("mine"), ConnectionResetError(errno.ECONNRESET, "mine")):
        with pytest.raises(type(error)) as caught, hubbub.Timeout(0.005, error):
            select.select([pair[0], *(more if many else ())], [], [])
        assert caught.value is error


def test_waiting_for_many_leaves_nothing(pair: Pair, more: list[Any]) -> None:
    """Waits for many descriptors, ended by data, time and a kill, keep no descriptor, and each finds what is ready."""
    one, other = pair
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    poller = select.poll()
    for sock in [one, *more]:
        poller.register(sock, stdlib.POLLIN)
    for _ in range(3):
        hubbub.spawn(other.send, b"x")
        assert select.select([*more, one], [], [], 5) == ([one], [], [])
        one.recv(1)
        hubbub.spawn(other.send, b"x")
        assert poller.poll(5000) == [(one.fileno(), stdlib.POLLIN)]
        one.recv(1)
        assert select.select([*more, one], [], [], 0.001) == ([], [], [])
        killed = hubbub.spawn(select.select, [*more, one], [], [])
        hubbub.sleep(0)
        killed.kill()
    if before:
        assert os.listdir("/proc/self/fd") == before


def test_select_of_a_regular_file(hub: Hub, tmp_path: Path) -> None:
    """A regular file is always ready, and has nothing urgent."""
    with (tmp_path / "file").open("w+") as file:
        assert select.select([file], [file], []) == ([file], [file], [])
        assert select.select([], [], [file], 0.01) == ([], [], [])


def test_a_regular_file_among_others(pair: Pair, more: list[Any], tmp_path: Path) -> None:
    """A regular file in the third list does not disturb the wait for others; with ``poll`` it is ready."""
    one, other = pair
    with (tmp_path / "file").open("w+") as file:
        hubbub.spawn_later(0.01, other.send, b"x")
        assert select.select([one, *more], [], [file], 5) == ([one], [], [])
        poller = select.poll()
        poller.register(more[0], stdlib.POLLIN)
        poller.register(file, stdlib.POLLIN)
        assert poller.poll(5000) == [(file.fileno(), stdlib.POLLIN)]


def test_two_greenlets_select_one_socket(pair: Pair) -> None:
    """Two greenlets that select the same socket both learn that it is readable."""
    one, other = pair
    waiting = [hubbub.spawn(select.select, [one], [], []) for _ in range(2)]
    hubbub.sleep(0)
    other.send(b"x")
    for greenlet in waiting:
        assert greenlet.get(timeout=5) == ([one], [], [])


# poll -----------------------------------------------------------------------------------------------------------------


def test_poll(pair: Pair, meanwhile: Callable[..., None]) -> None:
    """``poll`` waits for the events it was asked for, in milliseconds, and others run meanwhile."""
    one, other = pair
    poller = select.poll()
    poller.register(one, stdlib.POLLIN)
    assert poller.poll(10) == []
    meanwhile(other.send, b"x")
    assert poller.poll() == [(one.fileno(), stdlib.POLLIN)]
    poller.modify(one, stdlib.POLLIN | stdlib.POLLOUT)
    assert poller.poll(-1) == [(one.fileno(), stdlib.POLLIN | stdlib.POLLOUT)]
    poller.unregister(one)
    assert poller.poll(0) == []


def test_the_class_of_poll_objects_cannot_be_called() -> None:
    """``poll`` is a function; the class of what it returns is not for use."""
    with pytest.raises(TypeError, match="cannot create"):
        type(select.poll())()


def test_poll_errors(pair: Pair) -> None:
    """Unknown descriptors are KeyError and FileNotFoundError, an endless time limit is OverflowError."""
    poller = select.poll()
    with pytest.raises(KeyError):
        poller.unregister(pair[0])
    with pytest.raises(FileNotFoundError):
        poller.modify(pair[0], stdlib.POLLIN)
    with pytest.raises(OverflowError):
        poller.poll(1 << 63)
    with pytest.raises(TypeError):
        poller.poll("long")  # type: ignore[arg-type]  # that is the point


def test_poll_sees_hang_up_and_urgent_data(pair: Pair) -> None:
    """A registration without reading or writing still reports a hang-up."""
    one, other = pair
    poller = select.poll()
    poller.register(one, stdlib.POLLPRI)
    other.send(b"not urgent")
    hubbub.spawn_later(0.01, other.close)
    assert [(fd, bits & stdlib.POLLHUP) for fd, bits in poller.poll(5000)] == [(one.fileno(), stdlib.POLLHUP)]


@pytest.mark.parametrize("many", [False, True])
def test_poll_reports_a_closed_descriptor(pair: Pair, more: list[Any], many: bool) -> None:
    """A descriptor that is closed while ``poll`` waits is reported as POLLNVAL."""
    one, _ = pair
    fd = one.fileno()
    poller = select.poll()
    for sock in more if many else ():
        poller.register(sock, stdlib.POLLIN)
    poller.register(fd, stdlib.POLLIN)
    waiting = hubbub.spawn(poller.poll)
    hubbub.sleep(0)
    one.close()
    assert waiting.get(timeout=5) == [(fd, stdlib.POLLNVAL)]


# epoll ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(stdlib, "epoll"), reason="this system has no epoll")
class TestEpoll:
    def test_waits(self, pair: Pair, meanwhile: Callable[..., None]) -> None:
        """``epoll`` waits for its descriptors, again and again, and others run meanwhile."""
        one, other = pair
        with select.epoll() as poller:
            poller.register(one, stdlib.EPOLLIN)
            assert poller.poll(0.01) == []
            for _ in range(3):
                meanwhile(other.send, b"x")
                assert poller.poll() == [(one.fileno(), stdlib.EPOLLIN)]
                one.recv(1)
            poller.modify(one, stdlib.EPOLLOUT)
            assert poller.poll(-1, 1) == [(one.fileno(), stdlib.EPOLLOUT)]
            poller.unregister(one)
            assert poller.poll(0) == []
        assert poller.closed

    def test_edge_triggered(self, pair: Pair) -> None:
        """EPOLLET reports an event once."""
        one, other = pair
        with select.epoll() as poller:
            poller.register(one, stdlib.EPOLLIN | stdlib.EPOLLET)
            other.send(b"x")
            assert poller.poll(5) == [(one.fileno(), stdlib.EPOLLIN)]
            assert poller.poll(0.01) == []

    def test_close_wakes_the_waiter(self, hub: Hub) -> None:
        """``close`` gives EBADF to a greenlet that waits in ``poll``; further calls are ValueError."""
        poller = select.epoll()
        waiting = hubbub.spawn(poller.poll)
        hubbub.sleep(0)
        poller.close()
        waiting.join(timeout=5)
        assert isinstance(waiting.exception, (OSError, ValueError))
        with pytest.raises(ValueError):
            poller.poll()
        poller.close()

    def test_a_dropped_poller_is_forgotten(self, pair: Pair) -> None:
        """A poller that is collected without ``close`` leaves nothing that a later descriptor of its number meets."""
        one, other = pair
        poller = select.epoll()
        poller.register(one, stdlib.EPOLLIN)
        number = poller.fileno()
        assert poller.poll(0.001) == []
        del poller
        again = select.epoll()
        assert again.fileno() == number
        again.register(one, stdlib.EPOLLIN)
        hubbub.spawn_later(0.01, other.send, b"x")
        assert again.poll(5) == [(one.fileno(), stdlib.EPOLLIN)]
        again.close()

    def test_fromfd(self, pair: Pair) -> None:
        """``fromfd`` takes over a descriptor of the kernel's."""
        with stdlib.epoll() as theirs, select.epoll.fromfd(os.dup(theirs.fileno())) as ours:
            theirs.register(pair[0], stdlib.EPOLLOUT)
            assert ours.poll(5) == [(pair[0].fileno(), stdlib.EPOLLOUT)]


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


# Sockets that the loop knows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["poller", "reader"])
@pytest.mark.parametrize("as_numbers", [True, False])
def test_a_poller_takes_no_event_from_readers(hub: Hub, first: str, as_numbers: bool) -> None:
    """A greenlet that polls a socket and one that reads it both go on when something comes, in either order."""
    pairs = [tcp_pair() for _ in range(3)]
    poller = select.poll()
    try:
        for one, _ in pairs:
            poller.register(one.fileno() if as_numbers else one, select.POLLIN)
        for number in range(6):
            one, other = pairs[number % 3]
            calls: list[Any] = [poller.poll, partial(one.recv, 1)]
            if first == "reader":
                calls.reverse()
            waiting = [hubbub.spawn(call) for call in calls]
            hubbub.sleep(0.001)
            other.send(b"xy")  # one for the reader, and one that the poller finds, whoever is first
            done = {type(result): result for result in (each.get(timeout=5) for each in waiting)}
            assert done == {bytes: b"x", list: [(one.fileno(), select.POLLIN)]}
            assert one.recv(1) == b"y"
    finally:
        for one, other in pairs:
            one.close()
            other.close()


def test_what_a_poller_was_told_is_there_for_a_later_reader(hub: Hub) -> None:
    """A read that begins after a poller was woken, or has given up, finds what has come."""
    pairs = [tcp_pair() for _ in range(3)]
    one, other = pairs[0]
    try:
        for round_ in range(20):
            waiting = hubbub.spawn(select.select, [pair[0] for pair in pairs], [], [])
            hubbub.sleep(0.001)
            other.send(b"x")
            if round_ % 2:
                while not waiting.dead:
                    hubbub.sleep(0)
            else:
                hubbub.sleep(0.001)
                waiting.kill()
            assert hubbub.spawn(one.recv, 10).get(timeout=5) == b"x"
    finally:
        for pair in pairs:
            pair[0].close()
            pair[1].close()


@pytest.mark.parametrize("closer", ["greenlet", "thread"])
def test_a_polled_socket_that_is_closed_is_forgotten(hub: Hub, closer: str) -> None:
    """The descriptor's next owner is polled anew, whoever closed the one before."""
    for _ in range(3):
        pairs = [tcp_pair() for _ in range(3)]
        poller = select.poll()
        for one, _ in pairs:
            poller.register(one, select.POLLIN)
        assert poller.poll(1) == []
        for pair in pairs:
            for sock in pair:
                if closer == "thread":
                    hub.threadpool.spawn(sock.close).get()
                else:
                    sock.close()
        hubbub.sleep(0.001)
        assert {bits for _, bits in poller.poll(1)} <= {select.POLLNVAL}


def test_sockets_and_others_are_polled_together(hub: Hub) -> None:
    """Sockets, pipes and urgent data are waited for in one call."""
    one, other = tcp_pair()
    reading, writing = os.pipe()
    poller = select.poll()
    try:
        poller.register(one)  # with urgent data, and for writing
        assert poller.poll(1000) == [(one.fileno(), select.POLLOUT)]
        poller.modify(one, select.POLLIN | select.POLLPRI)
        poller.register(reading, select.POLLIN)
        for send, expected in (
            (partial(os.write, writing, b"x"), [(reading, select.POLLIN)]),
            (partial(other.send, b"x"), [(one.fileno(), select.POLLIN)]),
            (partial(other.send, b"!", plain.MSG_OOB), [(one.fileno(), select.POLLPRI)]),
        ):
            waiting = hubbub.spawn(poller.poll)
            hubbub.sleep(0.001)
            send()
            assert waiting.get(timeout=5) == expected
            if expected == [(reading, select.POLLIN)]:
                os.read(reading, 1)
            elif expected == [(one.fileno(), select.POLLIN)]:
                one.recv(1)
    finally:
        for fd in (reading, writing):
            os.close(fd)
        one.close()
        other.close()
