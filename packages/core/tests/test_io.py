"""Cooperative sockets, and waiting for descriptors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import random
import select
import socket
import struct
import sys
import threading
import time

import hubbub
import pytest
from hubbub import fail_after, joinall, sleep, spawn
from hubbub.io import Socket, closing, wait_readable, wait_writable

HOST = "127.0.0.1"


@pytest.fixture
def listener(hub):
    """A cooperative socket that listens on a free port."""
    with Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.bind((HOST, 0))
        made.listen(128)
        yield made


@pytest.fixture(params=["tcp", "unix"])
def pair(request, hub):
    """Two connected cooperative sockets of a family."""
    if request.param == "unix":
        left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    else:
        with Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            made.bind((HOST, 0))
            made.listen(1)
            left = Socket(socket.AF_INET, socket.SOCK_STREAM)
            left.connect(made.getsockname())
            right, _ = made.accept()
    with left, right:
        yield left, right


@pytest.fixture
def native(listener):
    """A cooperative socket, and its peer: a plain blocking one, for native threads."""
    peer = socket.create_connection(listener.getsockname())
    mine, _ = listener.accept()
    with mine, peer:
        yield mine, peer


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def read_all(sock, sizes):
    """Read until the end, asking for ``sizes`` in turn."""
    parts = []
    while True:
        data = sock.recv(sizes[len(parts) % len(sizes)])
        if not data:
            return b"".join(parts)
        parts.append(data)


# Reading


def test_is_a_socket(pair):
    """A Socket is a socket.socket, non-blocking inside, blocking to the eye."""
    left, _ = pair
    assert isinstance(left, socket.socket)
    assert os.get_blocking(left.fileno()) is False
    assert left.getblocking() is True
    assert left.gettimeout() is None


def test_others_run_while_one_reads(pair):
    """While a greenlet waits in recv, others run."""
    left, right = pair
    reader = spawn(left.recv, 10)
    sleep(0)
    assert not reader.ready()
    right.sendall(b"data")
    assert reader.get(timeout=5) == b"data"


def test_data_before_the_first_wait(pair):
    """What is there already is read without waiting."""
    left, right = pair
    right.sendall(b"data")
    seen = []
    spawn(seen.append, 1)
    assert left.recv(10) == b"data"
    assert seen == []


@pytest.mark.parametrize("sizes", [[1], [7, 4096], [65536], [1, 100, 10_000, 3]])
def test_a_stream_in_pieces(pair, sizes):
    """A stream arrives whole and in order, whatever sizes are asked for and sent."""
    left, right = pair
    rng = random.Random(len(sizes))
    data = rng.randbytes(3000 if sizes == [1] else 300_000)

    def send():
        position = 0
        while position < len(data):
            step = rng.choice([1, 10, 1000, 50_000])
            right.sendall(data[position : position + step])
            position += step
            if rng.random() < 0.3:
                sleep(0)
        right.shutdown(socket.SHUT_WR)

    sender = spawn(send)
    assert hashlib.sha256(read_all(left, sizes)).digest() == hashlib.sha256(data).digest()
    sender.get()


def test_a_stream_from_a_thread(native):
    """A stream of a native thread, which sends at moments of its own, arrives whole: no wake-up is missed."""
    mine, peer = native
    rng = random.Random(5)
    data = rng.randbytes(400_000)

    def send():
        position = 0
        while position < len(data):
            step = rng.choice([1, 100, 5000, 40_000])
            peer.sendall(data[position : position + step])
            position += step
            if rng.random() < 0.2:
                time.sleep(rng.uniform(0, 0.0005))
        peer.shutdown(socket.SHUT_WR)

    thread = in_thread(send)
    mine.settimeout(10)
    assert read_all(mine, [100, 65536, 4096]) == data
    thread.join()


def test_the_end_is_never_missed(listener):
    """However close the last bytes and the end of a connection come together, both are seen."""
    rng = random.Random(6)
    pauses = [rng.choice([0.0, 0.0, rng.uniform(0, 0.0003)]) for _ in range(300)]

    def clients():
        for pause in pauses:
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"some")
                if pause:
                    time.sleep(pause)
                client.sendall(b"thing")

    thread = in_thread(clients)
    for _ in pauses:
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(10)
            assert read_all(sock, [100]) == b"something"
    thread.join()


def test_ping_pong_with_a_thread(native):
    """Questions and answers between a greenlet and a native thread never get stuck."""
    mine, peer = native

    def answer():
        while data := peer.recv(100):
            peer.sendall(data)

    thread = in_thread(answer)
    mine.settimeout(10)
    for number in range(500):
        mine.sendall(b"%d" % number)
        assert mine.recv(100) == b"%d" % number
    mine.shutdown(socket.SHUT_WR)
    thread.join()


def test_recv_into(pair):
    """recv_into fills a buffer, as much as asked for; other greenlets run while it waits."""
    left, right = pair
    buffer = bytearray(10)
    reader = spawn(left.recv_into, buffer)
    sleep(0)
    right.sendall(b"abcdef")
    assert reader.get(timeout=5) == 6
    assert left.settimeout(5) is None
    right.sendall(b"ghijkl")
    assert left.recv_into(buffer, 2) == 2
    assert left.recv_into(buffer, 10) == 4
    assert bytes(buffer[:4]) == b"ijkl"


def test_short_reads_of_every_kind(pair):
    """After reads of every kind that returned less than asked, what comes later is still seen."""
    left, right = pair
    left.settimeout(5)
    buffer = bytearray(100)
    calls = [
        lambda: left.recv(100),
        lambda: bytes(buffer[: left.recv_into(buffer)]),
        lambda: left.recvfrom(100)[0],
        lambda: left.recvmsg(100)[0],
        lambda: left.recv(3) + left.recv(100),
        lambda: left.recv(100, socket.MSG_PEEK) and left.recv(100),
    ]
    rng = random.Random(7)
    for number in range(200):
        text = b"message %d" % number
        sender = spawn(right.sendall, text)
        assert rng.choice(calls)() == text
        sender.join()


def test_peek_takes_nothing(pair):
    """MSG_PEEK leaves the data for the next read."""
    left, right = pair
    left.settimeout(5)
    right.sendall(b"abc")
    assert left.recv(10, socket.MSG_PEEK) == b"abc"
    assert left.recv(10, socket.MSG_PEEK) == b"abc"
    assert left.recv(10) == b"abc"


def test_urgent_data(listener):
    """A read that stops at urgent data does not make the next one wait for what is there already."""
    left = Socket(socket.AF_INET, socket.SOCK_STREAM)
    left.connect(listener.getsockname())
    right, _ = listener.accept()
    with left, right:
        right.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        right.settimeout(5)
        reader = spawn(right.recv, 1)
        sleep(0)
        left.sendall(b"x")
        assert reader.get() == b"x"
        left.sendall(b"before")
        left.send(b"!", socket.MSG_OOB)
        left.sendall(b"after")
        sleep(0.01)
        got = b""
        while len(got) < 12:
            got += right.recv(100)
        assert got == b"before!after"


def test_recv_of_nothing(pair):
    """recv(0) returns nothing and disturbs nothing."""
    left, right = pair
    left.settimeout(5)
    right.sendall(b"x")
    assert left.recv(0) == b""
    assert left.recv(1) == b"x"


def test_reset(listener):
    """A reset by the peer raises ECONNRESET in a waiting reader."""
    left = Socket(socket.AF_INET, socket.SOCK_STREAM)
    left.connect(listener.getsockname())
    right, _ = listener.accept()
    with left, right:
        reader = spawn(catch, left.recv, 10)
        sleep(0)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        right.close()
        assert reader.get(timeout=5) == errno.ECONNRESET


def catch(function, *args):
    """The number of the OSError that a call raises."""
    with pytest.raises(OSError) as caught:
        function(*args)
    return caught.value.errno


# Writing


def test_sendall_of_much(pair):
    """sendall of more than the buffers hold waits for the reader; others run meanwhile."""
    left, right = pair
    data = random.Random(8).randbytes(20_000_000)
    sender = spawn(left.sendall, data)
    sleep(0)
    assert not sender.ready()
    got = bytearray()
    while len(got) < len(data):
        got += right.recv(1 << 20)
    assert bytes(got) == data
    sender.get(timeout=5)


def test_both_directions_at_once(pair):
    """Two ends that send much to each other at the same time both finish."""
    left, right = pair
    data = bytes(2_000_000)

    def talk(sock):
        sender = spawn(sock.sendall, data)
        count = 0
        while count < len(data):
            count += len(sock.recv(100_000))
        sender.get()
        return count

    assert [one.get(timeout=20) for one in [spawn(talk, left), spawn(talk, right)]] == [len(data)] * 2


def test_sendall_takes_any_buffer(pair):
    """sendall takes bytes, bytearrays, memoryviews and arrays, also of items larger than a byte."""
    import array

    left, right = pair
    values = [b"bytes", bytearray(b"array"), memoryview(b"xviewx")[1:5], array.array("i", [1, 2, 3])]
    for value in values:
        left.sendall(value)
        expected = bytes(memoryview(value).cast("B"))
        assert right.recv(100) == expected
    left.sendall(b"")


def test_send_returns_what_was_sent(pair):
    """send sends what fits and says how much that was."""
    left, right = pair
    left.setblocking(False)
    total = 0
    with pytest.raises(BlockingIOError):
        while True:
            total += left.send(bytes(100_000))
    right.settimeout(5)
    got = 0
    while got < total:
        got += len(right.recv(1 << 20))
    assert got == total


def test_broken_pipe(pair):
    """Writing to a closed connection raises EPIPE or ECONNRESET, also from a wait for room."""
    left, right = pair
    sender = spawn(catch, left.sendall, bytes(20_000_000))
    sleep(0.001)
    right.close()
    assert sender.get(timeout=5) in (errno.EPIPE, errno.ECONNRESET)
    assert catch(left.sendall, b"more") in (errno.EPIPE, errno.ECONNRESET)


# Several who wait


def test_several_readers(pair):
    """Several greenlets may read one socket: each message is read by one of them, none is lost."""
    left, right = pair
    got = []

    def reader():
        while data := left.recv(4):
            got.append(data)

    readers = [spawn(reader) for _ in range(3)]
    messages = [b"%04d" % number for number in range(100)]
    for message in messages:
        right.sendall(message)
        sleep(0)
    right.shutdown(socket.SHUT_WR)
    joinall(readers, timeout=10)
    assert sorted(b"".join(got)[i : i + 4] for i in range(0, 400, 4)) == messages


def test_killed_reader_loses_no_event(pair):
    """When a reader is killed just as its data comes, the next reader gets it."""
    left, right = pair
    for _ in range(20):
        victim = spawn(left.recv, 100)
        sleep(0)
        right.sendall(b"data")
        victim.kill(block=False)
        left.settimeout(5)
        victim.join()
        data = victim.value if isinstance(victim.value, bytes) else left.recv(100)
        assert data == b"data"


def test_close_wakes_readers_and_writers(pair):
    """close wakes all who wait for the socket with EBADF."""
    left, _ = pair
    writer = spawn(catch, left.sendall, bytes(20_000_000))
    readers = [spawn(catch, left.recv, 1) for _ in range(3)]
    sleep(0.001)
    left.close()
    assert [one.get(timeout=5) for one in [*readers, writer]] == [errno.EBADF] * 4
    assert left.fileno() == -1
    assert catch(left.recv, 1) == errno.EBADF


def test_close_from_another_thread(pair):
    """close from another native thread wakes a reader with EBADF."""
    left, _ = pair
    reader = spawn(catch, left.recv, 1)
    sleep(0)
    thread = in_thread(left.close)
    assert reader.get(timeout=5) == errno.EBADF
    thread.join()


def test_one_socket_in_two_threads(pair):
    """A socket is read here while a native thread with a hub of its own writes to it and reads its peer."""
    left, right = pair
    results = []

    def other():
        left.sendall(b"from the thread")
        results.append(right.recv(100))
        right.sendall(b"answer")

    reader = spawn(left.recv, 100)
    sleep(0)
    thread = in_thread(other)
    assert reader.get(timeout=5) == b"answer"
    thread.join()
    assert results == [b"from the thread"]


def test_readers_in_two_threads(pair):
    """Two threads may wait for one socket; both see the end of the connection."""
    left, right = pair
    results = []
    thread = in_thread(lambda: results.append(left.recv(10)))
    reader = spawn(left.recv, 10)
    sleep(0.02)
    right.close()
    assert reader.get(timeout=5) == b""
    thread.join(5)
    assert results == [b""]


# Time limits


def test_recv_times_out(pair):
    """recv raises the builtin TimeoutError when the socket's limit has passed, and the socket goes on working."""
    left, right = pair
    left.settimeout(0.01)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out"):
        left.recv(1)
    assert time.monotonic() - begun >= 0.0095
    right.sendall(b"x")
    assert left.recv(1) == b"x"


def test_sendall_times_out(pair):
    """sendall raises TimeoutError when the limit for the whole has passed."""
    left, _ = pair
    left.settimeout(0.02)
    with pytest.raises(TimeoutError):
        left.sendall(bytes(20_000_000))


def test_accept_times_out(listener):
    """accept raises TimeoutError when nobody comes in time."""
    listener.settimeout(0.005)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_settimeout(pair):
    """settimeout takes None, 0 and positive numbers, and refuses all else."""
    left, _ = pair
    for value, blocking in ((None, True), (1.5, True), (0, False), (0.0, False)):
        left.settimeout(value)
        assert left.gettimeout() == left.timeout == value
        assert left.getblocking() is blocking
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError, match="out of range"):
            left.settimeout(wrong)
    with pytest.raises(TypeError):
        left.settimeout("1")
    left.setblocking(True)
    assert left.gettimeout() is None


def test_non_blocking_never_waits(pair, listener):
    """With a limit of 0 nothing waits: BlockingIOError instead."""
    left, _ = pair
    left.setblocking(False)
    listener.setblocking(False)
    seen = []
    spawn(seen.append, 1)
    for call in (lambda: left.recv(1), lambda: left.recvfrom(1), listener.accept):
        with pytest.raises(BlockingIOError):
            call()
    assert seen == []


def test_default_timeout(hub):
    """A new socket takes over socket.getdefaulttimeout()."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(3.5)
    try:
        with Socket() as made:
            assert made.gettimeout() == 3.5
    finally:
        socket.setdefaulttimeout(before)


def test_timeout_in_a_greenlet(pair):
    """A hubbub.Timeout interrupts a recv, and the socket goes on working."""
    left, right = pair
    with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.002):
        left.recv(1)
    right.sendall(b"x")
    assert left.recv(1) == b"x"


# Connecting and accepting


def test_connect_and_accept(listener):
    """connect and accept wait for each other; the accepted socket is of the same class."""
    client = Socket(socket.AF_INET, socket.SOCK_STREAM)
    accepted = spawn(listener.accept)
    sleep(0)
    client.connect(listener.getsockname())
    server, address = accepted.get(timeout=5)
    assert type(server) is Socket
    assert address == client.getsockname()
    with client, server:
        client.sendall(b"hello")
        assert server.recv(10) == b"hello"


def test_many_connections_at_one_event(listener):
    """Connections that came in together are all accepted, though there was one event."""
    clients = [socket.create_connection(listener.getsockname()) for _ in range(60)]
    listener.settimeout(5)
    accepted = [listener.accept()[0] for _ in clients]
    more = socket.create_connection(listener.getsockname())
    accepted.append(listener.accept()[0])
    for one in (*clients, more, *accepted):
        one.close()


def test_connection_refused(hub):
    """connect to a closed port raises ConnectionRefusedError; connect_ex returns its number."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        address = taken.getsockname()
        with Socket(socket.AF_INET, socket.SOCK_STREAM) as made, pytest.raises(ConnectionRefusedError):
            made.connect(address)
        with Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            assert made.connect_ex(address) == errno.ECONNREFUSED


def test_a_refused_socket_connects_again(hub):
    """A socket that was refused is refused again, for the same reason, and connects as soon as somebody listens."""
    with socket.socket() as taken, Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        taken.bind((HOST, 0))
        address = taken.getsockname()
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                made.connect(address)
        taken.listen()
        made.connect(address)
        assert made.getpeername() == address


def test_a_connected_socket_does_not_connect_again(listener):
    """connect of a socket that is connected already fails, as the standard library's does."""
    with Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.connect(listener.getsockname())
        assert made.connect_ex(listener.getsockname()) == errno.EISCONN


def test_waiting_for_all(pair):
    """With MSG_WAITALL a blocking stream socket reads all that was asked for, or to the end; not one with a limit."""
    left, right = pair
    buffer = bytearray(6)

    def sending():
        for piece in (b"ab", b"cd", b"ef", b"gh", b"ij", b"k"):
            right.sendall(piece)
            sleep(0.001)
        right.shutdown(socket.SHUT_WR)

    sender = spawn(sending)
    assert left.recv(4, socket.MSG_WAITALL) == b"abcd"
    assert left.recv_into(buffer, 4, socket.MSG_WAITALL) == 4
    assert bytes(buffer) == b"efgh\0\0"
    assert left.recv_into(buffer, flags=socket.MSG_WAITALL) == 3
    assert bytes(buffer) == b"ijkh\0\0"
    assert left.recv(4, socket.MSG_WAITALL) == b""
    sender.get(timeout=5)
    left.sendall(b"xy")
    right.settimeout(5)
    assert right.recv(9, socket.MSG_WAITALL) == b"xy"
    left.sendall(b"z")
    right.settimeout(None)
    assert right.recv(9, socket.MSG_WAITALL | socket.MSG_PEEK) == b"z"
    assert right.recv(9, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"z"


READ_ALL = {
    "recv": lambda sock, size, flags: sock.recv(size, flags),
    "recvfrom": lambda sock, size, flags: sock.recvfrom(size, flags)[0],
    "recvmsg": lambda sock, size, flags: sock.recvmsg(size, 0, flags)[0],
    "recv_into": lambda sock, size, flags: into(size, lambda room: sock.recv_into(room, 0, flags)),
    "recvfrom_into": lambda sock, size, flags: into(size, lambda room: sock.recvfrom_into(room, 0, flags)[0]),
    "recvmsg_into": lambda sock, size, flags: into(
        size, lambda room: sock.recvmsg_into([memoryview(room)[:3], memoryview(room)[3:]], 0, flags)[0]
    ),
}


def into(size, call):
    room = bytearray(size)
    return bytes(room[: call(room)])


@pytest.mark.parametrize("how", READ_ALL)
@pytest.mark.parametrize("ending", ["all", "close", "reset"])
def test_every_call_waits_for_all(hub, how, ending):
    """With MSG_WAITALL every call that receives has all that was asked for, or what came before the end or an error."""
    with socket.create_server((HOST, 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    ours = Socket(fileno=client.detach())
    with ours, accepted:
        reader = spawn(READ_ALL[how], ours, 8, socket.MSG_WAITALL)
        for piece in (b"ab", b"cd", b"e"):
            sleep(0)
            accepted.sendall(piece)
            wait_until(lambda: ours_has_read(reader, ours))
        assert not reader.ready()
        if ending == "all":
            accepted.sendall(b"fghi")
            assert reader.get(timeout=5) == b"abcdefgh"
            assert ours.recv(9) == b"i"
            return
        if ending == "reset":
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        assert reader.get(timeout=5) == b"abcde"


def ours_has_read(reader, ours):
    """Whether what was sent is out of the kernel's buffer."""
    return reader.ready() or not select.select([ours.fileno()], [], [], 0)[0]


def wait_until(condition):
    with fail_after(5):
        while not condition():
            sleep(0)


@pytest.mark.skipif(not hasattr(socket, "SCM_RIGHTS"), reason="needs descriptors that are passed on")
def test_waiting_for_all_ends_at_ancillary_data(hub):
    """MSG_WAITALL does not join what comes with ancillary data to what comes after it."""
    left, right = socket.socketpair()
    ours = Socket(fileno=left.detach())
    with ours, right:
        reader = spawn(ours.recvmsg, 8, 100, socket.MSG_WAITALL)
        right.sendall(b"ab")
        wait_until(lambda: ours_has_read(reader, ours))
        socket.send_fds(right, [b"cd"], [right.fileno()])
        data, ancillary, *_ = reader.get(timeout=5)
        assert (data, len(ancillary)) == (b"abcd", 1)
        os.close(int.from_bytes(ancillary[0][2], sys.byteorder))


@pytest.mark.parametrize("value", [-1, -1e-9, float("nan"), float("inf"), float("-inf"), 1e300, 2**63, 9.3e9, "1"])
def test_settimeout_refuses_what_the_standard_library_refuses(value):
    """Each wrong time limit raises the same class of error, and the old limit stays; long ones are taken."""
    with socket.socket() as theirs, Socket(socket.AF_INET, socket.SOCK_STREAM) as ours:
        with pytest.raises((ValueError, OverflowError, TypeError)) as expected:
            theirs.settimeout(value)
        ours.settimeout(7)
        with pytest.raises(expected.type):
            ours.settimeout(value)
        assert ours.gettimeout() == 7.0
        ours.settimeout(9.2e9)
        assert ours.gettimeout() == 9.2e9


@pytest.fixture(params=[socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
def full_listener(request, tmp_path):
    """The address of a listener that answers nobody, because its queue is full."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.socket(request.param)) for _ in range(4)]
        listening, *clients = made
        listening.bind((HOST, 0) if request.param == socket.AF_INET else str(tmp_path / "socket"))
        listening.listen(0)
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        yield listening.getsockname()


def connecting_to(address):
    return Socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM)


def test_connect_ex_tells_of_a_time_that_ran_out(hub, full_listener):
    """connect_ex returns EAGAIN when its own time has run out, as the standard library's does; connect raises."""
    with connecting_to(full_listener) as made:
        made.settimeout(0.01)
        assert made.connect_ex(full_listener) == errno.EAGAIN
    with connecting_to(full_listener) as made:
        made.settimeout(0.01)
        with pytest.raises(TimeoutError):
            made.connect(full_listener)


@pytest.mark.parametrize("thrown", [TimeoutError("mine"), OSError(errno.EPIPE, "mine")], ids=["timeout", "oserror"])
def test_connect_ex_does_not_take_foreign_errors_for_its_own(hub, full_listener, thrown):
    """What somebody throws into a greenlet that waits in connect_ex is raised there, not returned as a number."""
    with connecting_to(full_listener) as made:
        waiting = spawn(made.connect_ex, full_listener)
        sleep(0)
        waiting.kill(thrown, block=False)
        with pytest.raises(type(thrown)) as caught:
            waiting.get(timeout=5)
        assert caught.value is thrown


def test_connect_ex_of_a_socket_that_is_closed_meanwhile(hub, full_listener):
    """connect_ex returns EBADF when another greenlet closes the socket."""
    with connecting_to(full_listener) as made:
        waiting = spawn(made.connect_ex, full_listener)
        sleep(0)
        made.close()
        assert waiting.get(timeout=5) == errno.EBADF


def test_connect_without_waiting(listener):
    """A non-blocking connect_ex returns EINPROGRESS or 0."""
    with Socket(socket.AF_INET, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        assert made.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        made.setblocking(True)
        made.wait_writable()
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        listener.accept()[0].close()


def test_connect_to_a_full_unix_listener(hub, tmp_path):
    """connect to a UNIX listener whose queue is full waits for room, or until the time is up."""
    path = str(tmp_path / "socket")
    with Socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen(0)
        clients = []

        def connect():
            made = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            clients.append(made)
            made.connect(path)

        connecting = [spawn(connect) for _ in range(4)]
        sleep(0.005)
        assert not all(one.ready() for one in connecting)
        with Socket(socket.AF_UNIX, socket.SOCK_STREAM) as impatient:
            impatient.settimeout(0.01)
            with pytest.raises(TimeoutError):
                impatient.connect(path)
        accepted = [listening.accept()[0] for _ in connecting]
        joinall(connecting, timeout=5)
        for one in (*accepted, *clients):
            one.close()


# Datagrams


def test_datagrams(hub):
    """Datagrams arrive one for one, several for one event, empty ones too."""
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as one, Socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        one.bind((HOST, 0))
        two.bind((HOST, 0))
        one.settimeout(5)
        reader = spawn(one.recvfrom, 100)
        sleep(0)
        two.sendto(b"first", one.getsockname())
        assert reader.get(timeout=5) == (b"first", two.getsockname())
        messages = [b"", b"a", b"bb", b"", b"ccc"]
        for message in messages:
            two.sendto(message, one.getsockname())
        assert [one.recv(100) for _ in messages] == messages
        sender = hubbub.spawn_later(0.005, two.sendto, b"later", one.getsockname())
        assert one.recv(100) == b"later"
        sender.join()


# Copies and ends


def test_dup(pair):
    """dup gives another cooperative socket for the same connection."""
    left, right = pair
    left.settimeout(5)
    with left.dup() as copy:
        assert type(copy) is Socket
        assert copy.gettimeout() == 5
        right.sendall(b"x")
        assert copy.recv(1) == b"x"


def test_detach(pair):
    """detach wakes those who wait with EBADF and leaves the descriptor open."""
    left, right = pair
    reader = spawn(catch, left.recv, 1)
    sleep(0)
    number = left.detach()
    assert reader.get(timeout=5) == errno.EBADF
    with Socket(fileno=number) as again:
        right.sendall(b"x")
        assert again.recv(1) == b"x"


def test_half_closed(pair):
    """After shutdown of one direction the other still works."""
    left, right = pair
    left.sendall(b"question")
    left.shutdown(socket.SHUT_WR)
    assert read_all(right, [100]) == b"question"
    right.sendall(b"answer")
    right.shutdown(socket.SHUT_WR)
    assert read_all(left, [100]) == b"answer"


def test_forgotten_socket_warns(hub):
    """A socket that is dropped without close warns, as a plain one does, and leaves the loop in order."""
    left, right = socket.socketpair()
    mine = Socket(fileno=left.detach())
    hubbub.spawn_later(0.001, right.send, b"x")
    assert mine.recv(1) == b"x"
    with pytest.warns(ResourceWarning, match="unclosed"):
        del mine
    right.close()
    assert spawn(lambda: 1).get() == 1


# Bare descriptors


@pytest.fixture
def pipe(hub):
    """A pipe: reading and writing end."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass  # the test closed it


def test_wait_readable(pipe):
    """wait_readable returns True when there is something to read, also if it was there before."""
    reader, writer = pipe
    waiter = spawn(wait_readable, reader, 5)
    sleep(0)
    assert not waiter.ready()
    os.write(writer, b"x")
    assert waiter.get(timeout=5) is True
    assert wait_readable(reader) is True
    os.read(reader, 10)
    assert wait_readable(reader, timeout=0.001) is False


def test_wait_writable(pipe):
    """wait_writable returns True when there is room, False when the time is up."""
    reader, writer = pipe
    assert wait_writable(writer) is True
    try:
        while True:
            os.write(writer, bytes(65536))
    except BlockingIOError:
        pass
    assert wait_writable(writer, timeout=0.001) is False
    waiter = spawn(wait_writable, writer, 5)
    sleep(0)
    os.read(reader, 1 << 20)
    assert waiter.get(timeout=5) is True


def test_wait_again_and_again(pipe):
    """A descriptor can be waited for again and again, by several at once."""
    reader, writer = pipe
    for _ in range(20):
        waiters = [spawn(wait_readable, reader, 5) for _ in range(3)]
        sleep(0)
        os.write(writer, b"x")
        assert [one.get(timeout=5) for one in waiters] == [True] * 3
        os.read(reader, 10)


def test_waits_beside_a_socket(pair):
    """Waiting for a socket's bare descriptor does not disturb those who read the socket, before, beside or after it."""
    left, right = pair
    left.settimeout(5)
    for _ in range(3):
        bare = spawn(wait_readable, left.fileno(), 5)
        sleep(0)
        reader = spawn(left.recv, 100)
        sleep(0)
        right.sendall(b"x")
        assert bare.get(timeout=5) is True
        assert reader.get(timeout=5) == b"x"
        sender = hubbub.spawn_later(0.001, right.sendall, b"y")
        assert left.recv(100) == b"y"
        sender.join()


def test_wait_takes_objects(pair):
    """wait_readable and wait_writable take anything with fileno()."""
    left, right = pair
    assert wait_writable(left) is True
    right.sendall(b"x")
    assert wait_readable(left) is True


def test_closing(pipe):
    """closing, called before a descriptor is closed, wakes those who wait for it with EBADF."""
    reader, _ = pipe
    waiter = spawn(catch, wait_readable, reader)
    sleep(0)
    closing(reader)
    os.close(reader)
    assert waiter.get(timeout=5) == errno.EBADF


def test_closing_from_another_thread(pipe):
    """closing from another native thread does the same."""
    reader, _ = pipe
    waiter = spawn(catch, wait_readable, reader)
    sleep(0)
    thread = in_thread(closing, reader)
    assert waiter.get(timeout=5) == errno.EBADF
    thread.join()


def test_killed_waiter_leaves_nothing(pipe, hub):
    """A killed waiter leaves no registration behind: the number can be closed and used again."""
    reader, writer = pipe
    waiter = spawn(wait_readable, reader)
    sleep(0)
    waiter.kill()
    assert reader not in hub.loop.handles
    os.write(writer, b"x")
    assert wait_readable(reader, timeout=5) is True


@pytest.mark.parametrize("call", ["recv", "recv_into"])
def test_readers_take_turns(pair, call):
    """Several greenlets that read one socket are served in the order in which they came."""
    mine, other = pair
    got = []

    def read(number):
        while len(got) < 9:
            mine.recv(1) if call == "recv" else mine.recv_into(bytearray(1))
            got.append(number)

    readers = [spawn(read, number) for number in range(3)]
    sleep(0)
    for done in range(1, 10):
        other.sendall(b"x")
        with hubbub.fail_after(10):
            while len(got) < done:
                sleep(0.0001)
    assert got == [0, 1, 2] * 3
    hubbub.killall(readers)


def test_acceptors_take_turns(listener):
    """Several greenlets that accept from one socket are served in the order in which they came."""
    got = []

    def accept(number):
        while len(got) < 9:
            listener.accept()[0].close()
            got.append(number)

    acceptors = [spawn(accept, number) for number in range(3)]
    sleep(0)
    for done in range(1, 10):
        with socket.create_connection(listener.getsockname()), hubbub.fail_after(10):
            while len(got) < done:
                sleep(0.0001)
    assert got == [0, 1, 2] * 3
    hubbub.killall(acceptors)


def test_what_one_reader_leaves_wakes_the_next(hub, pair):
    """A reader that came after another was woken, and before that one has read, gets what the other leaves."""
    mine, other = pair
    got, late = [], []

    def read():
        got.append(mine.recv(2))

    first = spawn(read)
    sleep(0)
    other.sendall(b"abcd")
    hub.loop.ready.append(lambda: late.append(spawn(read)))
    joinall([first], timeout=10)
    joinall(late, timeout=10)
    assert got == [b"ab", b"cd"]


@pytest.fixture
def datagrams(hub):
    """Two cooperative sockets for datagrams that know each other, with a time limit."""
    left, right = (Socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with left, right:
        for sock in (left, right):
            sock.bind((HOST, 0))
            sock.settimeout(10)
        yield left, right


def test_datagrams_are_all_read_whatever_was_guessed(datagrams):
    """A burst of datagrams after any number of turns of a conversation is read to the last."""
    mine, other = datagrams
    for rounds in range(20):
        for _ in range(rounds):
            spawn(other.sendto, b"one", mine.getsockname())
            assert mine.recvfrom(10)[0] == b"one"
        for number in range(40):
            other.sendto(b"%d" % number, mine.getsockname())
        assert [mine.recvfrom(10)[0] for _ in range(40)] == [b"%d" % number for number in range(40)]


class Counting(Socket):
    """Counts the reads that found nothing."""

    vain = 0

    def _found_nothing(self):
        Counting.vain += 1
        super()._found_nothing()


def test_a_conversation_of_datagrams_seldom_tries_in_vain(datagrams):
    """Where one datagram answers another, a read waits first instead of learning that there is nothing yet."""
    other = datagrams[1]
    Counting.vain = 0
    with Counting(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind((HOST, 0))
        for _ in range(200):
            spawn(other.sendto, b"one", mine.getsockname())
            mine.recvfrom(10)
    assert 0 < Counting.vain < 40


def test_the_limit_holds_in_a_read_that_waits_first(datagrams):
    """A read of a datagram that waits before it tries ends with a time-out all the same."""
    mine, other = datagrams
    mine.settimeout(0.01)
    for _ in range(3):
        spawn(other.sendto, b"one", mine.getsockname())
        assert mine.recvfrom(10)[0] == b"one"
        with pytest.raises(TimeoutError):
            mine.recvfrom(10)


@pytest.mark.parametrize("flag", [True, False])
def test_setblocking_of_a_closed_socket(flag):
    """setblocking raises EBADF for a closed socket, as the standard library's does."""
    sock = Socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.setblocking(flag)


@pytest.mark.parametrize("by", ["socket", "descriptor"])
def test_waiting_first_and_reading_then(hub, pair, by):
    """Who waits until there is something and reads then gets it at once, each time, however much is left."""
    left, right = pair
    right.settimeout(5)

    def wait():
        if by == "socket":
            left.wait_readable(5)
        else:
            assert hubbub.lowlevel.wait_readable(left.fileno(), 5)

    for message in (b"one", b"two", b"three"):
        hubbub.spawn_later(0.001, right.sendall, message)
        wait()
        wait()  # it is still there
        assert left.recv(1) == message[:1]
        wait()
        assert left.recv(100) == message[1:]


def test_waiting_for_room_twice(hub, pair):
    """A socket that can be written to is so for everybody who asks."""
    left, _ = pair
    for _ in range(3):
        left.wait_writable(5)
        left.sendall(b"x")
        left.wait_writable(5)
