"""Streams are read to their end although reads that come short are not repeated at once."""

from __future__ import annotations

import select
import socket

import pytest
from hubbub import joinall, sleep, spawn
from hubbub.io import _IN_BULK, Socket


@pytest.fixture
def unix(hub):
    ours, theirs = (Socket(s.family, s.type, s.proto, s.detach()) for s in socket.socketpair())
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def tcp(hub):
    with Socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = Socket(socket.AF_INET)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            yield client, server


def read_all(sock: Socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(100), b""))


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_the_end_that_arrives_with_the_last_data(unix, tcp, kind):
    """Data and the end of the stream that arrive together are both seen."""
    ours, theirs = unix if kind == "unix" else tcp
    reader = spawn(read_all, ours)
    sleep(0.001)
    theirs.send(b"last")
    theirs.close()
    assert reader.get(timeout=5) == b"last"


def until_arrived(sock: Socket, count: int) -> None:
    """Block the thread until so many bytes are there."""
    while len(socket.socket.recv(sock, count, socket.MSG_PEEK)) < count:
        assert select.select([sock], [], [], 5)[0]


@pytest.mark.parametrize(
    ("size", "waits"), [(100, True), (_IN_BULK - 1, True), (_IN_BULK, False), (_IN_BULK + 1, False)]
)
@pytest.mark.parametrize("call", ["recv", "recv_into", "recvfrom"])
def test_a_short_read_in_bulk_is_repeated_at_once(hub, tcp, call, size, waits):
    """After a short read the next one lets the loop poll first, unless so much came that more is to be expected."""
    ours, theirs = tcp
    argument = bytearray(1 << 16) if call == "recv_into" else 1 << 16
    turns = []
    for _ in range(3):
        theirs.sendall(bytes(size))
        if not turns:
            ours.wait_readable()
        until_arrived(ours, size)
        before = hub.loop.iteration
        got = getattr(ours, call)(argument)
        assert size == (got if call == "recv_into" else len(got) if call == "recv" else len(got[0]))
        turns.append(hub.loop.iteration - before)
    assert turns[0] == 0
    assert [turn > 0 for turn in turns[1:]] == [waits, waits]


def test_reads_of_all_sizes(tcp):
    """Whatever the sizes asked for, the bytes are those that were sent."""
    ours, theirs = tcp
    data = bytes(range(256)) * 2000

    def read():
        got = bytearray()
        size = 1
        while chunk := ours.recv(size):
            got += chunk
            size = size * 3 % 7919 + 1
        return bytes(got)

    reader = spawn(read)
    theirs.sendall(data)
    theirs.close()
    assert reader.get(timeout=20) == data


def test_urgent_data(tcp):
    """A read cut short at urgent data is followed by one that gets the rest."""
    ours, theirs = tcp
    reader = spawn(read_all, ours)
    sleep(0.001)
    theirs.send(b"before")
    theirs.send(b"!", socket.MSG_OOB)
    theirs.send(b"after")
    theirs.close()
    assert reader.get(timeout=5) == b"beforeafter"


def test_descriptors_in_a_unix_stream(unix):
    """A UNIX stream whose reads are cut short by ancillary data is read to its end."""
    ours, theirs = unix
    reader = spawn(read_all, ours)
    sleep(0.001)
    theirs.send(b"one")
    socket.send_fds(theirs, [b"two"], [theirs.fileno()])
    theirs.send(b"three")
    theirs.close()
    assert reader.get(timeout=5) == b"onetwothree"


def test_several_readers(tcp):
    """Greenlets that read one socket each get something, in the order they came."""
    ours, theirs = tcp
    got = []

    def read(name):
        got.append((name, ours.recv(1)))

    readers = [spawn(read, name) for name in "abc"]
    sleep(0.001)
    theirs.sendall(b"123")
    joinall(readers, timeout=5)
    assert got == [("a", b"1"), ("b", b"2"), ("c", b"3")]


def test_dontwait_never_waits(tcp):
    """MSG_DONTWAIT raises EAGAIN where there is nothing, on a socket that otherwise waits."""
    ours, theirs = tcp
    for call in (ours.recv, ours.recvfrom):
        with pytest.raises(BlockingIOError):
            call(1, socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        ours.recv_into(bytearray(1), 1, socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        ours.recvmsg(1, 0, socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        while True:
            theirs.send(b"x" * 65536, socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        while True:
            theirs.sendmsg([b"x" * 65536], [], socket.MSG_DONTWAIT)
