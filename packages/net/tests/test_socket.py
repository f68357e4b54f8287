"""``hubbub_net.socket``: the standard library's module, waiting without blocking the thread."""

from __future__ import annotations

import errno
import inspect
import io
import os
import socket as stdlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.abc import READ, WRITE
from hubbub.lowlevel import Hub
from hubbub_net import socket

Serve = Callable[..., tuple[Any, ...]]
IPV4 = int(stdlib.AF_INET)


def echo(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more."""
    limit = sock.gettimeout()
    sock.settimeout(0.0)
    sent = 0
    try:
        while True:
            sent += sock.send(b"x" * 65536)
    except BlockingIOError:
        return sent
    finally:
        sock.settimeout(limit)


# The module -----------------------------------------------------------------------------------------------------------


def public(module: Any) -> set[str]:
    return {name for name in dir(module) if not name.startswith("_")}


def test_every_public_name_of_the_standard_library_is_there() -> None:
    """Whatever ``socket`` lists or defines in the running interpreter can be had from ``hubbub_net.socket``."""
    missing = [name for name in public(stdlib) | set(stdlib.__all__) if not hasattr(socket, name)]
    assert not missing
    assert set(stdlib.__all__) <= set(socket.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the standard library does not have is missing here too."""
    with pytest.raises(AttributeError):
        _ = socket.no_such_name


@pytest.mark.parametrize(
    "name",
    ["create_connection", "create_server", "fromfd", "getaddrinfo", "getfqdn", "socketpair"],
)
def test_functions_have_the_signatures_of_the_standard_library(name: str) -> None:
    """The functions written in Python take the same parameters, by the same names and in the same order."""
    theirs = [(p.name, p.kind) for p in inspect.signature(getattr(stdlib, name)).parameters.values()]
    ours = [(p.name, p.kind) for p in inspect.signature(getattr(socket, name)).parameters.values()]
    assert ours == theirs


def test_methods_are_all_there_with_the_parameters_of_the_standard_library() -> None:
    """The class has every public attribute of ``socket.socket``, and methods in Python take the same parameters."""
    assert public(stdlib.socket) <= public(socket.socket)
    for name in ("makefile", "sendfile", "accept", "dup", "close", "detach", "__init__"):
        theirs = list(inspect.signature(getattr(stdlib.socket, name)).parameters)
        assert list(inspect.signature(getattr(socket.socket, name)).parameters) == theirs, name


def test_a_cooperative_socket_is_a_socket(hub: Hub) -> None:
    """``isinstance`` against the standard library's class holds without patching."""
    with socket.socket() as sock:
        assert isinstance(sock, stdlib.socket)
        assert sock.family is stdlib.AF_INET


# Streams --------------------------------------------------------------------------------------------------------------


def test_others_run_while_one_waits(hub: Hub, meanwhile: Callable[..., None]) -> None:
    """A greenlet that waits for data lets others run."""
    one, other = socket.socketpair()
    with one, other:
        meanwhile(other.sendall, b"late")
        assert one.recv(100) == b"late"


def test_bulk_data_arrives_whole_in_both_directions_at_once(hub: Hub, serve: Serve) -> None:
    """A megabyte sent by one greenlet while another reads its echo comes back unchanged."""
    data = os.urandom(1 << 20)
    with socket.create_connection(serve(echo)) as sock:
        reader = hubbub.spawn(read_all, sock)
        sock.sendall(data)
        sock.shutdown(stdlib.SHUT_WR)
        assert reader.get(timeout=20) == data


def test_short_counts_change_no_byte(hub: Hub) -> None:
    """With the smallest buffers the kernel allows, where every call moves a little, the bytes are the same."""
    data = os.urandom(300_000)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as sender:
        listener.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_RCVBUF, 1)
        sender.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_SNDBUF, 1)
        accepting = hubbub.spawn(listener.accept)
        sender.connect(listener.getsockname())
        with accepting.get(timeout=5)[0] as receiver:
            reading = hubbub.spawn(read_all, receiver)
            sender.sendall(data)
            sender.shutdown(stdlib.SHUT_WR)
            assert reading.get(timeout=20) == data


def test_makefile_reads_lines_and_writes(hub: Hub, serve: Serve) -> None:
    """``makefile`` gives a buffered file that waits cooperatively and keeps the socket open until it is closed."""
    with socket.create_connection(serve(echo)) as sock, sock.makefile("rwb") as file:
        sock.close()
        file.write(b"one\ntwo\n")
        file.flush()
        assert file.readline() == b"one\n"
        assert file.readline() == b"two\n"


@pytest.mark.parametrize("family", [stdlib.AF_INET, stdlib.AF_INET6])
def test_names_are_looked_up_for_the_family_of_the_socket(hub: Hub, serve: Serve, family: int, know: Any) -> None:
    """``connect`` and ``bind`` take names, and look for an address of the socket's own family."""
    resolver = know({"here.test": ["127.0.0.1", "::1"]})
    address = serve(echo, "127.0.0.1" if family == stdlib.AF_INET else "::1", family)
    with socket.socket(family) as sock:
        sock.bind(("here.test", 0))
        sock.connect(("here.test", address[1]))
        sock.sendall(b"hello")
        assert sock.recv(10) == b"hello"
    assert resolver.asked == ["here.test", "here.test"]


def test_an_unknown_name_is_a_gaierror(hub: Hub, know: Any) -> None:
    """``connect`` and ``connect_ex`` raise the resolver's error."""
    know({})
    with socket.socket() as sock:
        with pytest.raises(stdlib.gaierror):
            sock.connect(("nowhere.test", 80))
        with pytest.raises(stdlib.gaierror):
            sock.connect_ex(("nowhere.test", 80))


def test_numeric_addresses_need_no_resolver(hub: Hub, serve: Serve, know: Any) -> None:
    """A numeric address is never given to the resolver."""
    resolver = know({})
    socket.create_connection(serve(echo)).close()
    assert resolver.asked == []


def test_refused_connection(hub: Hub) -> None:
    """A port where nobody listens is ConnectionRefusedError, or its number from ``connect_ex``."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(taken.getsockname())
        with socket.socket() as sock:
            assert sock.connect_ex(taken.getsockname()) == errno.ECONNREFUSED


def test_socketpair_and_fromfd_and_dup(hub: Hub) -> None:
    """``socketpair``, ``fromfd`` and ``dup`` give cooperative sockets."""
    one, other = socket.socketpair()
    with one, other, socket.fromfd(one.fileno(), one.family, one.type) as again, other.dup() as twin:
        for sock in (one, other, again, twin):
            assert isinstance(sock, socket.socket)
        reader = hubbub.spawn(twin.recv, 10)
        again.send(b"hello")
        assert reader.get(timeout=5) == b"hello"


def test_create_server_reuses_a_port(hub: Hub) -> None:
    """With ``reuse_port`` two servers listen on one port."""
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as one,
        socket.create_server(one.getsockname(), reuse_port=True) as other,
    ):
        assert isinstance(other, socket.socket)
        assert one.getsockname() == other.getsockname()


def test_create_server_on_both_families(hub: Hub) -> None:
    """``dualstack_ipv6`` serves IPv4 clients on an IPv6 socket."""
    with socket.create_server(("", 0), family=stdlib.AF_INET6, dualstack_ipv6=True) as server:
        accepting = hubbub.spawn(server.accept)
        with socket.create_connection(("127.0.0.1", server.getsockname()[1])):
            accepting.get(timeout=5)[0].close()


def test_unix_sockets(hub: Hub, tmp_path: Path) -> None:
    """UNIX stream sockets connect, accept and carry data."""
    with socket.socket(stdlib.AF_UNIX) as server:
        server.bind(str(tmp_path / "door"))
        server.listen()
        serving = hubbub.spawn(lambda: echo_once(server))
        with socket.socket(stdlib.AF_UNIX) as sock:
            sock.connect(str(tmp_path / "door"))
            sock.sendall(b"hello")
            assert sock.recv(10) == b"hello"
        serving.join()


def echo_once(server: socket.socket) -> None:
    sock, _ = server.accept()
    with sock:
        echo(sock)


def test_descriptors_travel(hub: Hub, tmp_path: Path) -> None:
    """``send_fds`` and ``recv_fds`` pass an open file, and the receiver waits cooperatively."""
    one, other = socket.socketpair()
    with one, other, (tmp_path / "file").open("wb+") as file:
        receiving = hubbub.spawn(socket.recv_fds, other, 10, 1)
        hubbub.sleep(0)
        socket.send_fds(one, [b"take"], [file.fileno()])
        data, fds, _, _ = receiving.get(timeout=5)
        assert data == b"take"
        os.write(fds[0], b"through")
        os.close(fds[0])
        file.seek(0)
        assert file.read() == b"through"


# Datagrams ------------------------------------------------------------------------------------------------------------


def test_udp(hub: Hub, know: Any) -> None:
    """Datagrams go to numeric addresses and names, with ``sendto`` and ``sendmsg``, and keep their borders."""
    know({"here.test": ["127.0.0.1"]})
    with socket.socket(type=stdlib.SOCK_DGRAM) as one, socket.socket(type=stdlib.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        reader = hubbub.spawn(lambda: [one.recvfrom(100)[0] for _ in range(4)])
        hubbub.sleep(0)
        other.sendto(b"a", ("127.0.0.1", port))
        other.sendto(b"bb", ("here.test", port))
        other.sendto(b"ccc", 0, ("here.test", port))
        other.sendmsg([b"dd", b"dd"], [], 0, ("here.test", port))
        assert reader.get(timeout=5) == [b"a", b"bb", b"ccc", b"dddd"]


def test_recv_into_and_recvmsg(hub: Hub) -> None:
    """``recv_into``, ``recvfrom_into``, ``recvmsg`` and ``recvmsg_into`` wait and fill what they are given."""
    one, other = socket.socketpair()
    with one, other:
        buffer = bytearray(10)
        for receive, expected in (
            (lambda: one.recv_into(buffer), 3),
            (lambda: one.recvfrom_into(buffer)[0], 3),
            (lambda: one.recvmsg(10)[0], b"abc"),
            (lambda: one.recvmsg_into([buffer])[0], 3),
        ):
            waiting: hubbub.Greenlet = hubbub.spawn(receive)
            hubbub.sleep(0)
            other.send(b"abc")
            assert waiting.get(timeout=5) == expected
        assert buffer[:3] == b"abc"


# Time limits ----------------------------------------------------------------------------------------------------------


def test_recv_times_out(hub: Hub) -> None:
    """A read that gets nothing in time is TimeoutError."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.01)
        with pytest.raises(TimeoutError):
            one.recv(1)


def test_sendall_keeps_one_limit_over_all_its_waits(hub: Hub) -> None:
    """A peer that takes a little now and then does not make ``sendall`` last longer than its limit."""
    one, other = socket.socketpair()
    with one, other:
        fill(one)
        one.settimeout(0.2)

        def sip() -> None:
            while True:
                hubbub.sleep(0.02)
                other.recv(65536)

        sipping = hubbub.spawn(sip)
        started = hub.loop.update_now()
        with pytest.raises(TimeoutError):
            one.sendall(b"x" * (1 << 26))
        assert 0.15 < hub.loop.update_now() - started < 2.0
        sipping.kill()


def test_nonblocking_mode_never_waits(hub: Hub) -> None:
    """With ``setblocking(False)`` calls that would wait raise BlockingIOError."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(1)
        fill(one)
        with pytest.raises(BlockingIOError):
            one.sendall(b"x")


def test_default_timeout(hub: Hub) -> None:
    """``setdefaulttimeout`` counts for sockets made after it, with ``create_connection`` and accept too."""
    socket.setdefaulttimeout(12.5)
    try:
        with socket.socket() as sock:
            assert sock.gettimeout() == 12.5
    finally:
        socket.setdefaulttimeout(None)
    with socket.socket() as sock:
        assert sock.gettimeout() is None


# Closing --------------------------------------------------------------------------------------------------------------


def test_close_wakes_every_waiter(hub: Hub) -> None:
    """``close`` gives EBADF to all readers and writers of the socket, within one turn of the loop."""
    one, other = socket.socketpair()
    with other:
        fill(one)
        waiters = [hubbub.spawn(one.recv, 1), hubbub.spawn(one.recv, 1), hubbub.spawn(one.sendall, b"x" * 100)]
        hubbub.sleep(0)
        one.close()
        turn = hub.loop.iteration
        for waiter in waiters:
            waiter.join(timeout=5)
            assert isinstance(waiter.exception, OSError)
            assert waiter.exception.errno == errno.EBADF
        assert hub.loop.iteration - turn <= 2


def test_a_reused_number_never_reaches_an_old_waiter(hub: Hub) -> None:
    """A socket that gets the number of a closed one before its waiter has run is not read by that waiter."""
    one, other = socket.socketpair()
    waiter = hubbub.spawn(one.recv, 100)
    hubbub.sleep(0)
    number = one.fileno()
    one.close()
    new, peer = socket.socketpair()
    with other, new, peer:
        assert number in (new.fileno(), peer.fileno())
        peer.send(b"for the new one")
        new.send(b"for its peer")
        waiter.join(timeout=5)
        assert isinstance(waiter.exception, OSError)
        assert waiter.exception.errno == errno.EBADF
        assert new.recv(100) == b"for the new one"
        assert peer.recv(100) == b"for its peer"


def test_readers_are_queued_and_none_is_lost(hub: Hub) -> None:
    """Twenty greenlets that read one socket all get their byte."""
    one, other = socket.socketpair()
    with one, other:
        readers = [hubbub.spawn(one.recv, 1) for _ in range(20)]
        hubbub.sleep(0)
        other.sendall(bytes(range(20)))
        hubbub.joinall(readers, timeout=10)
        assert sorted(reader.get(block=False) for reader in readers) == [bytes([n]) for n in range(20)]


def test_a_reader_and_a_writer_do_not_disturb_each_other(hub: Hub) -> None:
    """One greenlet waits to read while another waits to write, on the same socket."""
    one, other = socket.socketpair()
    with one, other:
        sent = fill(one)
        reader = hubbub.spawn(one.recv, 10)
        writer = hubbub.spawn(one.sendall, b"end")
        hubbub.sleep(0)
        other.send(b"hello")
        assert reader.get(timeout=5) == b"hello"
        assert not writer.dead
        left = sent + 3
        while left:
            left -= len(other.recv(1 << 20))
        writer.get(timeout=5)


def test_a_dropped_socket_is_forgotten(hub: Hub) -> None:
    """A socket that is collected without ``close`` warns, and the next one with its number works."""
    one, other = socket.socketpair()
    one.settimeout(0.001)
    with other, pytest.raises(TimeoutError):
        one.recv(1)
    number = one.fileno()
    with pytest.warns(ResourceWarning):
        del one
    new, peer = socket.socketpair()
    with new, peer:
        assert number in (new.fileno(), peer.fileno())
        for sock, partner in ((new, peer), (peer, new)):
            reader = hubbub.spawn(sock.recv, 10)
            hubbub.sleep(0.001)
            partner.send(b"hello")
            assert reader.get(timeout=5) == b"hello"


def test_a_socket_in_two_threads(hub: Hub) -> None:
    """A socket that one thread reads and another writes wakes each on its own loop, and ``close`` reaches both."""
    one, other = socket.socketpair()
    pool = hub.threadpool

    def elsewhere() -> tuple[bytes, int]:
        data = one.recv(10)
        one.send(b"back")
        try:
            one.recv(10)
        except OSError as error:
            return data, error.errno or 0
        finally:
            hubbub.get_hub().destroy()
        return data, 0

    with other:
        running = pool.spawn(elsewhere)
        hubbub.sleep(0.01)
        mine = hubbub.spawn(one.recv, 10)
        mine.kill()
        other.send(b"there")
        assert other.recv(10) == b"back"
        hubbub.sleep(0.01)
        one.close()
        assert running.get(timeout=5) == (b"there", errno.EBADF)


# sendfile -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "count"), [(0, None), (10, None), (0, 1000), (5, 1_500_000)])
def test_sendfile(hub: Hub, serve: Serve, tmp_path: Path, offset: int, count: int | None) -> None:
    """``sendfile`` sends the bytes asked for and leaves the file's position after them."""
    data = os.urandom(2_000_000)
    (tmp_path / "file").write_bytes(data)
    received: list[bytes] = []
    with (tmp_path / "file").open("rb") as file:
        done = hubbub.Event()

        def keep(sock: socket.socket) -> None:
            received.append(read_all(sock))
            done.set()

        with socket.create_connection(serve(keep)) as sock:
            expected = data[offset:] if count is None else data[offset : offset + count]
            assert sock.sendfile(file, offset, count) == len(expected)
            assert file.tell() == offset + len(expected)
        assert done.wait(timeout=10)
    assert received == [expected]


def test_sendfile_of_something_that_is_no_file(hub: Hub) -> None:
    """An object without a descriptor is read and sent."""
    one, other = socket.socketpair()
    with one, other:
        assert one.sendfile(io.BytesIO(b"in memory"), 3) == 6
        assert other.recv(100) == b"memory"


def test_sendfile_refuses_what_the_standard_library_refuses(hub: Hub, tmp_path: Path) -> None:
    """Datagram sockets, text files and sockets that do not wait are ValueError."""
    one, other = socket.socketpair()
    with one, other, socket.socket(type=stdlib.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError):
            datagrams.sendfile(io.BytesIO(b"x"))
        (tmp_path / "text").write_text("text")
        with (tmp_path / "text").open() as file, pytest.raises(ValueError):
            one.sendfile(file)
        one.settimeout(0)
        with pytest.raises(ValueError):
            one.sendfile(io.BytesIO(b"x"))


# Descriptors of others ------------------------------------------------------------------------------------------------


def test_wait_read_and_wait_write_on_a_pipe(hub: Hub) -> None:
    """``wait_read`` returns when another greenlet has written into a pipe; an empty one times out."""
    reading, writing = os.pipe()
    try:
        socket.wait_write(writing)
        with pytest.raises(TimeoutError):
            socket.wait_read(reading, timeout=0.01)
        with pytest.raises(KeyError):
            socket.wait_read(reading, timeout=0.01, timeout_exc=KeyError("late"))
        waiter = hubbub.spawn(socket.wait_read, reading)
        hubbub.sleep(0)
        os.write(writing, b"x")
        waiter.get(timeout=5)
    finally:
        os.close(reading)
        os.close(writing)


def test_wait_says_which_event_came(hub: Hub) -> None:
    """``wait`` returns the events that are there, and 0 when the time ran out."""
    one, other = stdlib.socketpair()
    with one, other:
        assert socket.wait(one, READ | WRITE) == WRITE
        assert socket.wait(one, READ, timeout=0.01) == 0
        other.send(b"x")
        assert socket.wait(one.fileno(), READ | WRITE) == READ | WRITE
        socket.wait_readwrite(one, timeout=5)


def test_waiting_for_a_closed_descriptor_is_an_error(hub: Hub) -> None:
    """``wait_read`` and ``wait`` raise EBADF for a number that is not open."""
    one, other = os.pipe()
    os.close(one)
    os.close(other)
    for call in (lambda: socket.wait_read(one), lambda: socket.wait(one, READ)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


CALLS: dict[str, Callable[[Any], Any]] = {
    "accept": lambda sock: sock.accept(),
    "bind": lambda sock: sock.bind(""),
    "connect": lambda sock: sock.connect("/nowhere"),
    "connect_ex": lambda sock: sock.connect_ex("/nowhere"),
    "dup": lambda sock: sock.dup(),
    "get_inheritable": lambda sock: sock.get_inheritable(),
    "getpeername": lambda sock: sock.getpeername(),
    "getsockname": lambda sock: sock.getsockname(),
    "getsockopt": lambda sock: sock.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR),
    "listen": lambda sock: sock.listen(),
    "recv": lambda sock: sock.recv(1),
    "recv nothing": lambda sock: sock.recv(0),
    "recv_into": lambda sock: sock.recv_into(bytearray(1)),
    "recvfrom": lambda sock: sock.recvfrom(1),
    "recvmsg": lambda sock: sock.recvmsg(1),
    "send": lambda sock: sock.send(b"x"),
    "sendall": lambda sock: sock.sendall(b"x"),
    "sendmsg": lambda sock: sock.sendmsg([b"x"]),
    "set_inheritable": lambda sock: sock.set_inheritable(True),
    "setblocking": lambda sock: sock.setblocking(True),
    "setsockopt": lambda sock: sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, 1),
    "settimeout": lambda sock: sock.settimeout(1.0),
    "settimeout None": lambda sock: sock.settimeout(None),
    "shutdown": lambda sock: sock.shutdown(stdlib.SHUT_RDWR),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("end", ["close", "detach"])
def test_calls_of_a_closed_socket(hub: Hub, call: str, end: str) -> None:
    """Each call of a socket without a descriptor raises, or returns, what the standard library's does."""

    def outcome(module: Any) -> Any:
        one, other = module.socketpair()
        with other:
            number = getattr(one, end)()
            try:
                return CALLS[call](one)
            except OSError as error:
                return type(error), error.errno
            finally:
                if number is not None:
                    os.close(number)

    assert outcome(socket) == outcome(stdlib)


def test_reset_connections_do_not_stop_accept(hub: Hub) -> None:
    """Clients that connect and reset at once leave the accepting greenlet able to serve the next one."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                sock, _ = server.accept()
                with sock:
                    try:
                        sock.sendall(sock.recv(100))
                    except ConnectionError:
                        pass

        accepting = hubbub.spawn(accept)
        for _ in range(50):
            rude = socket.create_connection(server.getsockname())
            rude.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_LINGER, struct.pack("ii", 1, 0))
            rude.close()
        with socket.create_connection(server.getsockname(), timeout=5) as polite:
            polite.sendall(b"hello")
            assert polite.recv(10) == b"hello"
        accepting.kill()
