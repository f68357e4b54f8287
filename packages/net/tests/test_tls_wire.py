"""TLS over buffers of our own: nothing that was read or encrypted too early is lost, and nobody is kept waiting."""

from __future__ import annotations

import hmac
import os
import socket as plain
import ssl as stdlib
import struct
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

import hubbub
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hubbub.lowlevel import Hub
from hubbub_net import select, selectors, socket, ssl
from hubbub_net._tlsrecords import RECEIVE, Incoming

pytestmark = pytest.mark.usefixtures("tls_methods")

VERSIONS = [stdlib.TLSVersion.TLSv1_2, stdlib.TLSVersion.TLSv1_3]
RECORD = 1 << 14


class Peer:
    """The client's half of a TLS connection, in memory, whose records can be held back, mixed and repeated."""

    def __init__(self, certificates: Any, sock: Any) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = certificates.client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def do(self, call: Callable[[], Any]) -> Any:
        """Make ``call`` with the peer's help."""
        while True:
            try:
                result = call()
            except stdlib.SSLWantReadError:
                self.flush()
                self.incoming.write(self.sock.recv(65536))
            else:
                self.flush()
                return result

    def flush(self) -> None:
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def records(self, *texts: bytes) -> bytes:
        """What would be sent for ``texts``, a record each."""
        for text in texts:
            self.tls.write(text)
        return self.outgoing.read()

    def close_notify(self) -> bytes:
        try:
            self.tls.unwrap()
        except stdlib.SSLWantReadError:  # if it is the first
            pass
        return self.outgoing.read()


def server_and_peer(certificates: Any, version: Any = None) -> tuple[Any, Peer]:
    """A TLS socket of the server's, and a peer to test it with, over TCP."""
    if version is not None:
        certificates.client.minimum_version = certificates.client.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = socket.create_connection(listener.getsockname(), timeout=10)
        one, _ = listener.accept()
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    peer = Peer(certificates, other)
    peer.do(peer.tls.do_handshake)
    return wrapping.get(timeout=10), peer


def fill(sock: Any) -> bytes:
    """Write without waiting until the kernel takes no more; the block that did not fit."""
    block = os.urandom(65536)
    limit = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        while True:
            sock.send(block)
    except stdlib.SSLWantWriteError:
        return block
    finally:
        sock.settimeout(limit)


# Ciphertext, record by record -----------------------------------------------------------------------------------------


def record(text: bytes) -> bytes:
    return b"\x17\x03\x03" + len(text).to_bytes(2, "big") + text


@pytest.mark.parametrize("size", [1, 3, 5, 7, 64, 1000])
def test_records_are_fed_one_at_a_time(size: int) -> None:
    """However the stream is cut, OpenSSL's end gets one record after the other, and all of the bytes."""
    texts = [b"x" * 10, b"", b"y" * 100, b"z"]
    stream = b"".join(map(record, texts))
    incoming = Incoming()
    incoming.settle()
    seen = []
    pending = b""
    for start in range(0, len(stream), size):
        useful = incoming.take(stream[start : start + size])
        while True:
            pending += incoming.bio.read()
            if useful:
                seen.append(pending)
                pending = b""
            if not incoming.ready:
                useful = incoming.feed()
                assert not useful
                pending += incoming.bio.read()
                break
            useful = incoming.feed()
    assert seen == [record(text) for text in texts]


def settled(stream: bytes, most: int) -> tuple[Incoming, int]:
    """A stream after the handshake, of which OpenSSL has got up to ``most`` records; and how many they are."""
    incoming = Incoming()
    incoming.settle()
    return incoming, incoming.take(stream, most)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 100])
def test_large_records_are_fed_together(most: int) -> None:
    """Large records of data are given at once, as many as are asked for, but never more than two."""
    large = record(b"x" * RECORD)
    incoming, given = settled(large * 6 + large[:100], most)
    assert given == min(most, 2)
    assert incoming.bio.read() == large * given
    assert incoming.rest() == large * (6 - given) + large[:100]


@pytest.mark.parametrize(
    "second",
    [
        record(b"small"),
        record(b"x" * 4000),
        b"\x15" + record(b"x" * RECORD)[1:],  # an alert
        b"\x17\x09" + record(b"x" * RECORD)[2:],  # no TLS
        record(b"x" * 30_000),  # too long
        record(b"x" * RECORD)[:-1],  # not all of it
        record(b"x" * RECORD)[:4],
    ],
)
def test_only_large_records_are_fed_together(second: bytes) -> None:
    """A record that is small, of another kind, bad or not whole is not given with the one before: it comes alone."""
    large = record(b"x" * RECORD)
    incoming, given = settled(large + second, 4)
    assert given == 1
    assert incoming.bio.read() == large
    if len(second) >= 5 + int.from_bytes(second[3:5], "big"):
        incoming, given = settled(second + large, 4)
        assert given == 1
        assert incoming.bio.read() == second


def test_what_is_received_ends_with_a_record() -> None:
    """After a large record so much is received that records of its length come whole; else as much as fits."""
    large = record(b"x" * RECORD)
    incoming = Incoming()
    incoming.settle()
    assert incoming.appetite == RECEIVE
    assert incoming.take(large + large[:1000], 4) == 1
    assert incoming.appetite == 4 * len(large) - 1000
    assert not incoming.feed()  # the beginning goes to OpenSSL
    assert incoming.appetite == 4 * len(large) - 1000
    incoming.take(large[1000:], 4)
    assert incoming.appetite == 4 * len(large) <= RECEIVE
    incoming.take(record(b"small"), 4)
    assert incoming.appetite == RECEIVE
    incoming.take(large, 4)  # its header is known from the others
    assert incoming.appetite == 4 * len(large)


@pytest.mark.parametrize(
    "header", [b"GET / HTTP", b"\x63\x03\x03\x00\x40", b"\x17\x09\x03\x00\x40", b"\x17\x03\x03\xff\xff"]
)
def test_bad_headers_are_fed_at_once(header: bytes) -> None:
    """What is no TLS is OpenSSL's to refuse, without waiting for as many bytes as it seems to announce."""
    incoming = Incoming()
    incoming.settle()
    assert incoming.take(header)


def test_rest_is_what_openssl_has_not_read() -> None:
    """What was not fed, or fed and not read, can be taken back in order."""
    incoming = Incoming(b"early ")
    assert incoming.feed()
    incoming.take(b"and late")
    assert incoming.rest() == b"early and late"
    assert not incoming.feed()


# Floods ---------------------------------------------------------------------------------------------------------------


class KeyUpdates:
    """Makes records that change the key of a TLS 1.3 client (RFC 8446, 7.2): as short as can be, and without data."""

    def __init__(self, peer: Peer, keylog: str) -> None:
        with open(keylog) as lines:
            secrets = [line.split()[2] for line in lines if line.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
        self.secret = bytes.fromhex(secrets[-1])
        self.hash, self.length = {
            "TLS_AES_256_GCM_SHA384": ("sha384", 32),
            "TLS_AES_128_GCM_SHA256": ("sha256", 16),
        }[peer.tls.cipher()[0]]

    def expand(self, label: bytes, length: int) -> bytes:
        info = length.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0\1"
        return hmac.digest(self.secret, info, self.hash)[:length]

    def seal(self, inner: bytes) -> bytes:
        """A record; the first under its key, so its sequence number is 0."""
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        return header + AESGCM(self.expand(b"key", self.length)).encrypt(self.expand(b"iv", 12), inner, header)

    def make(self, count: int, text: bytes, padding: int = 0) -> bytes:
        """``count`` key updates, the first records that the client sends, and then ``text``.

        :param padding: so many bytes make each of them longer.
        """
        parts = []
        for _ in range(count):
            parts.append(self.seal(b"\x18\0\0\1\0\x16" + bytes(padding)))
            self.secret = self.expand(b"traffic upd", len(self.secret))
        parts.append(self.seal(text + b"\x17"))
        return b"".join(parts)


def flooded(certificates: Any, tmp_path: Any, count: int, padding: int = 0) -> tuple[Any, Peer, bytes]:
    """A server's socket, its peer, and so many key updates to send, with a word behind them."""
    certificates.client.keylog_filename = str(tmp_path / "keys")
    server, peer = server_and_peer(certificates, stdlib.TLSVersion.TLSv1_3)
    return server, peer, KeyUpdates(peer, str(tmp_path / "keys")).make(count, b"word", padding)


def test_a_flood_of_key_updates_lets_others_run(hub: Hub, certificates: Any, tmp_path: Any, ticks: list[int]) -> None:
    """Ten thousand records that bring no data and come at once do not keep the thread."""
    server, peer, flood = flooded(certificates, tmp_path, 10_000)
    with server, peer.sock:
        hubbub.spawn(peer.sock.sendall, flood)
        before = ticks[0]
        assert server.recv(100) == b"word"
        assert ticks[0] - before > 10


def test_a_flood_of_long_key_updates_lets_others_run(
    hub: Hub, certificates: Any, tmp_path: Any, ticks: list[int]
) -> None:
    """Records without data that are as long as records of data do not keep the thread, however much room a read has."""
    server, peer, flood = flooded(certificates, tmp_path, 2_000, 5_000)
    with server, peer.sock:
        hubbub.spawn(peer.sock.sendall, flood)
        before = ticks[0]
        assert server.recv(1 << 20) == b"word"
        assert ticks[0] - before > 10


def test_a_flood_does_not_outlast_the_time_limit(hub: Hub, certificates: Any, tmp_path: Any) -> None:
    """A read that finds nothing but key updates ends with its time limit, although more of them are there."""
    server, peer, flood = flooded(certificates, tmp_path, 10_000)
    with server, peer.sock:
        sending = hubbub.spawn(peer.sock.sendall, flood)
        server.settimeout(0.01)
        with pytest.raises(TimeoutError, match="read"):
            server.recv(1)
        assert server._tls_reader.wire.incoming.chunk
        sending.kill()


def test_a_flood_does_not_keep_who_does_not_wait(hub: Hub, certificates: Any, tmp_path: Any) -> None:
    """A socket that does not wait returns to its caller between the parts of a flood."""
    server, peer, flood = flooded(certificates, tmp_path, 10_000)
    with server, peer.sock:
        hubbub.spawn(peer.sock.sendall, flood)
        server.settimeout(0.0)
        calls = 0
        while True:
            try:
                word = server.recv(100)
                break
            except stdlib.SSLWantReadError:
                calls += 1
                assert select.select([server], [], [], 5)[0]
        assert word == b"word"
        assert calls > 1


# What was read ahead --------------------------------------------------------------------------------------------------


def select_says(sock: Any) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def waiting_select_says(sock: Any) -> bool:
    return bool(select.select([sock.fileno()], [], [], 0.05)[0])


def poll_says(sock: Any) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def epoll_says(sock: Any) -> bool:
    with select.epoll() as epoll:
        epoll.register(sock, select.EPOLLIN)
        return bool(epoll.poll(0.01))


def selector_says(sock: Any) -> bool:
    with selectors.DefaultSelector() as selector:
        key = selector.register(sock, selectors.EVENT_READ)
        return selector.select(0.01) == [(key, selectors.EVENT_READ)]


def poll_selector_says(sock: Any) -> bool:
    with selectors.PollSelector() as selector:
        selector.register(sock, selectors.EVENT_READ, data=[])
        return bool(selector.select(0.01))


def wait_says(sock: Any) -> bool:
    try:
        socket.wait_read(sock, timeout=0.01)
        sock.wait_readable(0.01)
    except TimeoutError:
        return False
    return socket.wait(sock, 1 | 2, 0.01) == 1 | 2


ASKING = [
    select_says,
    waiting_select_says,
    poll_says,
    epoll_says,
    selector_says,
    poll_selector_says,
    wait_says,
]


@pytest.mark.parametrize("says", ASKING)
def test_what_was_read_ahead_is_readable(hub: Hub, certificates: Any, says: Callable[[Any], bool]) -> None:
    """A socket of which more came than was asked for is readable until that was read, and not longer."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        peer.sock.sendall(peer.records(b"one", b"two", b"three"))
        server.settimeout(5)
        assert server.recv(3) == b"one"
        assert says(server)
        assert server.recv(2) == b"tw"
        assert says(server)
        assert server.pending() == 1
        assert server.recv(100) == b"othree"
        assert not says(server)
        assert server.pending() == 0


def test_epoll_reports_what_was_read_ahead_once_if_asked_to(hub: Hub, certificates: Any) -> None:
    """EPOLLONESHOT and ``maxevents`` hold for what was read ahead too."""
    server, peer = server_and_peer(certificates)
    other, other_peer = server_and_peer(certificates)
    with server, peer.sock, other, other_peer.sock, select.epoll() as epoll:
        epoll.register(server, select.EPOLLIN | select.EPOLLONESHOT)
        epoll.register(other, select.EPOLLIN)
        for sock, end in ((server, peer), (other, other_peer)):
            end.sock.sendall(end.records(b"one", b"two"))
            assert sock.recv(3) == b"one"
        assert len(epoll.poll(1, 1)) == 1
        assert dict(epoll.poll(1)).keys() <= {server.fileno(), other.fileno()}
        assert epoll.poll(0.01) == [(other.fileno(), select.EPOLLIN)]
        epoll.unregister(other)
        assert epoll.poll(0.01) == []
        epoll.modify(server, select.EPOLLIN | select.EPOLLONESHOT)
        assert epoll.poll(0.01) == [(server.fileno(), select.EPOLLIN)]


def test_select_and_read_as_programs_do(hub: Hub, certificates: Any) -> None:
    """A program that selects and then reads a little gets everything, and is not left waiting."""
    server, peer = server_and_peer(certificates)
    data = os.urandom(50_000)
    with server, peer.sock:
        peer.sock.sendall(peer.records(*(data[at : at + 100] for at in range(0, len(data), 100))))
        received = bytearray()
        while len(received) < len(data):
            assert select.select([server], [], [], 5)[0]
            received += server.recv(64)
        assert received == data


def test_a_read_with_room_leaves_nothing(hub: Hub, certificates: Any) -> None:
    """A read with room for what came leaves nothing behind that a poller of somebody else's could not see."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        peer.sock.sendall(peer.records(*(b"x" * 100 for _ in range(100))))
        hubbub.sleep(0.01)
        assert server.recv(65536) == b"x" * 10_000
        peer.sock.sendall(peer.records(*(b"y" * 100 for _ in range(100))))
        hubbub.sleep(0.01)
        buffer = bytearray(65536)
        assert server.recv_into(buffer) == 10_000
        assert bytes(buffer[:10_000]) == b"y" * 10_000


def test_closed_and_detached_sockets_are_forgotten(hub: Hub, certificates: Any) -> None:
    """A descriptor's next owner is not readable because of what came for the one before."""
    server, peer = server_and_peer(certificates)
    peer.sock.sendall(peer.records(b"one", b"two"))
    assert server.recv(3) == b"one"
    number = server.detach()
    with socket.socket(fileno=number) as sock, peer.sock:
        assert not select.select([sock], [], [], 0)[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_behind_data_comes_after_it(hub: Hub, certificates: Any, version: Any) -> None:
    """What came before a damaged record is read, and the error is the next read's; so is a close_notify."""
    server, peer = server_and_peer(certificates, version)
    with server, peer.sock:
        good, bad = peer.records(b"good"), peer.records(b"bad")
        peer.sock.sendall(good + bad[:-1] + bytes([bad[-1] ^ 1]))
        hubbub.sleep(0.01)
        assert server.recv(100) == b"good"
        with pytest.raises(stdlib.SSLError):
            server.recv(100)
    server, peer = server_and_peer(certificates, version)
    with server, peer.sock:
        peer.sock.sendall(peer.records(b"last") + peer.close_notify())
        hubbub.sleep(0.01)
        assert server.recv(100) == b"last"
        for _ in range(3):  # although the connection is open
            assert server.recv(100) == b""
            assert server.recv_into(bytearray(5)) == 0


@pytest.mark.parametrize("suppress", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_connection_stays_cut(hub: Hub, certificates: Any, suppress: bool, reset: bool) -> None:
    """An end without close_notify, or a reset, is what the standard library makes of it, however often one reads."""
    server, peer = server_and_peer(certificates)
    server.suppress_ragged_eofs = suppress
    with server:
        peer.sock.sendall(peer.records(b"data"))
        hubbub.sleep(0.01)
        assert server.recv(100) == b"data"
        if reset:
            peer.sock.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sock.close()
        for _ in range(3):
            if suppress:
                assert server.recv(100) == b""
            else:
                with pytest.raises(stdlib.SSLEOFError):
                    server.recv(100)
        with pytest.raises(stdlib.SSLEOFError):
            for _ in range(100):
                server.sendall(b"x" * 65536)


# Several readers ------------------------------------------------------------------------------------------------------


def test_readers_take_turns(hub: Hub, certificates: Any) -> None:
    """Greenlets that read one connection are served in the order in which they came, if records come together too."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        order: list[int] = []

        def read(number: int) -> bytes:
            data: bytes = server.recv(3)
            order.append(number)
            return data

        readers = [hubbub.spawn(read, number) for number in range(6)]
        hubbub.sleep(0)
        peer.sock.sendall(peer.records(b"one", b"two", b"six"))
        hubbub.joinall(readers[:3], timeout=5, raise_error=True)
        peer.sock.sendall(peer.records(b"ten"))
        readers[3].join(timeout=5)
        readers[4].kill()
        peer.sock.sendall(peer.records(b"end"))
        readers[5].join(timeout=5)
        assert order == [0, 1, 2, 3, 5]
        assert [reader.get() for reader in readers if reader is not readers[4]] == [
            b"one",
            b"two",
            b"six",
            b"ten",
            b"end",
        ]


@pytest.mark.parametrize("victim", range(3))
def test_a_killed_reader_holds_up_nobody(hub: Hub, certificates: Any, victim: int) -> None:
    """Whichever of the greenlets that read one connection is killed, in whatever moment, the others get the data."""
    for moment in ("waiting", "woken"):
        server, peer = server_and_peer(certificates)
        with server, peer.sock:
            readers = [hubbub.spawn(server.recv, 1) for _ in range(3)]
            hubbub.sleep(0)
            if moment == "waiting":
                readers[victim].kill()
            peer.sock.sendall(peer.records(b"a", b"b", b"c"))
            hubbub.sleep(0)
            readers[victim].kill()
            late = hubbub.spawn(server.recv, 1)
            others = [reader for reader in readers if reader is not readers[victim]]
            hubbub.joinall([*others, late], timeout=5, raise_error=True)
            got = [reader.value for reader in [*readers, late] if isinstance(reader.value, bytes)]
            assert len(got) >= 3
            assert got == sorted(got)


def test_a_reader_that_does_not_wait_beside_one_that_does(hub: Hub, certificates: Any) -> None:
    """While a greenlet waits to read, an attempt without waiting is SSLWantReadError."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        reader = hubbub.spawn(server.recv, 1)
        hubbub.sleep(0)
        server.settimeout(0.0)
        with pytest.raises(stdlib.SSLWantReadError):
            server.recv(1)
        peer.sock.sendall(peer.records(b"x"))
        assert reader.get(timeout=5) == b"x"


# Writers that give up -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["kill", "limit"])
def test_a_writer_that_gives_up_spoils_nothing(hub: Hub, certificates: Any, version: Any, how: str) -> None:
    """After a write was cut short by a kill or its time limit, what others write arrives in whole records."""
    server, peer = server_and_peer(certificates, version)
    with server, peer.sock:
        if how == "limit":
            server.settimeout(0.02)
            with pytest.raises(TimeoutError, match="write"):
                server.sendall(b"x" * (1 << 24))
            server.settimeout(None)
        else:
            writing = hubbub.spawn(server.sendall, b"x" * (1 << 24))
            hubbub.sleep(0.02)
            writing.kill()
        sending = hubbub.spawn(server.sendall, b"the end")
        text = b""
        while not text.endswith(b"the end"):
            text = text[-10:] + peer.do(lambda: peer.tls.read(65536))
        assert text.strip(b"x") == b"the end"
        sending.get(timeout=5)


def test_a_write_that_would_block_is_tried_again(hub: Hub, certificates: Any) -> None:
    """After SSLWantWriteError the same write goes on where it was, and every byte arrives once."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        data = os.urandom(8 << 20)
        received = bytearray()
        attempts = 0

        def drain() -> None:
            while len(received) < len(data):
                received.extend(peer.do(lambda: peer.tls.read(1 << 20)))

        draining = hubbub.spawn(drain)
        server.settimeout(0.0)
        sent = 0
        while sent < len(data):
            block = data[sent : sent + 3_000_000]
            try:
                sent += server.send(block)
            except stdlib.SSLWantWriteError:
                attempts += 1
                with pytest.raises(stdlib.SSLError):  # bad write retry, or it still would block
                    server.send(b"something shorter")
                assert select.select([], [server], [], 5)[1]
        draining.get(timeout=10)
        assert attempts
        assert received == data


def test_what_does_not_fit_is_sent_before_a_handshake_is_done(hub: Hub, certificates: Any) -> None:
    """``do_handshake`` without waiting says so for as long as the kernel has not taken all."""
    one, other = socket.socketpair()
    with other:
        one.setsockopt(plain.SOL_SOCKET, plain.SO_SNDBUF, 1)  # the least there is
        one.setblocking(False)
        while True:
            try:
                one.send(b"x")
            except BlockingIOError:
                break
        with certificates.client.wrap_socket(one, server_hostname="localhost", do_handshake_on_connect=False) as client:
            with pytest.raises(stdlib.SSLWantWriteError):
                client.do_handshake()
            while other.recv(65536).strip(b"x") == b"":
                try:
                    client.do_handshake()
                except stdlib.SSLWantWriteError:
                    continue
                except stdlib.SSLWantReadError:
                    pass


# The end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_text_behind_the_end_of_tls(hub: Hub, certificates: Any, version: Any) -> None:
    """What the peer sends in plain text right behind its close_notify is what is read after ``unwrap``."""
    server, peer = server_and_peer(certificates, version)
    with server, peer.sock:
        peer.sock.sendall(peer.records(b"in TLS") + peer.close_notify() + b"in plain text")
        hubbub.sleep(0.01)
        assert server.recv(100) == b"in TLS"
        assert server.recv(100) == b""
        bare = server.unwrap()
        assert bare is server
        assert select.select([bare], [], [], 0)[0]
        assert bare.recv(3, plain.MSG_PEEK) == b"in "
        assert bare.recv(3) == b"in "
        buffer = bytearray(5)
        assert bare.recv_into(buffer) == 5
        assert buffer == b"plain"
        with bare.makefile("rb") as file:
            peer.sock.sendall(b" and more\n")
            assert file.readline() == b" text and more\n"


def test_unwrap_reads_no_further_than_tls_goes(hub: Hub, certificates: Any) -> None:
    """What comes behind the close_notify while ``unwrap`` waits for it stays where any reader finds it."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        unwrapping = hubbub.spawn(server.unwrap)
        hubbub.sleep(0)
        peer.sock.sendall(peer.close_notify() + b"in plain text")
        bare = unwrapping.get(timeout=5)
        assert os.read(bare.fileno(), 100) == b"in plain text"


def test_tls_again_behind_the_end_of_tls(hub: Hub, certificates: Any) -> None:
    """A client that ends TLS and begins again in one go is understood."""
    server, peer = server_and_peer(certificates, stdlib.TLSVersion.TLSv1_2)
    with server, peer.sock:
        end = peer.close_notify()
        again = Peer(certificates, peer.sock)
        with pytest.raises(stdlib.SSLWantReadError):
            again.tls.do_handshake()
        peer.sock.sendall(peer.records() + end + again.outgoing.read())
        hubbub.sleep(0.01)
        assert server.recv(100) == b""
        wrapping = hubbub.spawn(certificates.server.wrap_socket, server.unwrap(), server_side=True)
        assert b"" not in [peer.sock.recv(len(end))]  # the server's close_notify
        again.do(again.tls.do_handshake)
        with wrapping.get(timeout=5) as second:
            again.sock.sendall(again.records(b"second"))
            assert second.recv(100) == b"second"


@pytest.mark.parametrize("version", VERSIONS)
def test_shutdown_of_writing(hub: Hub, certificates: Any, version: Any) -> None:
    """``shutdown(SHUT_WR)`` sends close_notify and ends writing; what came, and what comes, can be read to the end."""
    server, peer = server_and_peer(certificates, version)
    server.suppress_ragged_eofs = False
    with server, peer.sock:
        peer.sock.sendall(peer.records(b"early", b"and more"))
        hubbub.sleep(0.01)
        assert server.recv(2) == b"ea"
        server.shutdown(plain.SHUT_WR)
        assert peer.do(lambda: peer.tls.read(100)) == b""  # with a ragged end that were an error
        with pytest.raises(BrokenPipeError):
            server.send(b"x")
        peer.sock.sendall(peer.records(b"late"))
        server.settimeout(5)
        text = b"ea"
        while len(text) < len(b"earlyand morelate"):
            text += server.recv(100)
        assert text == b"earlyand morelate"
        peer.sock.sendall(peer.close_notify())
        assert server.recv(100) == b""


def test_shutdown_of_reading(hub: Hub, certificates: Any) -> None:
    """After ``shutdown(SHUT_RD)`` what is written is encrypted, and there is nothing to read."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        server.shutdown(plain.SHUT_RD)
        assert server.recv(10) == b""
        server.sendall(b"still encrypted")
        assert peer.do(lambda: peer.tls.read(100)) == b"still encrypted"


def test_shutdown_of_both(hub: Hub, certificates: Any) -> None:
    """``shutdown(SHUT_RDWR)`` sends close_notify and ends TLS: nothing is read or written after it."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        peer.sock.sendall(peer.records(b"never read"))
        server.shutdown(plain.SHUT_RDWR)
        assert peer.do(lambda: peer.tls.read(100)) == b""
        assert server.version() is None
        with pytest.raises(BrokenPipeError):
            server.send(b"x")


def test_shutdown_beside_a_writer_ends_it(hub: Hub, certificates: Any) -> None:
    """``shutdown(SHUT_RDWR)`` does not wait for a greenlet that writes to a peer that does not read: it ends it."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        writing = hubbub.spawn(server.sendall, b"x" * (1 << 24))
        hubbub.sleep(0.01)
        server.shutdown(plain.SHUT_RDWR)
        writing.join(timeout=5)
        assert isinstance(writing.exception, (OSError, ValueError))


def test_a_client_that_is_gone_is_no_failed_handshake(hub: Hub, certificates: Any) -> None:
    """A client of TLS 1.3 that has finished and closed before the session tickets came has shaken hands."""
    one, other = socket.socketpair()
    peer = Peer(certificates, other)

    def leave() -> None:
        while not peer.outgoing.pending or peer.tls.version() is None or peer.tls.cipher() is None:
            try:
                peer.tls.do_handshake()
            except stdlib.SSLWantReadError:
                peer.flush()
                peer.incoming.write(other.recv(65536))
        last = peer.outgoing.read()
        other.sendall(last)
        other.close()

    leaving = hubbub.spawn(leave)
    with certificates.server.wrap_socket(one, server_side=True) as server:
        leaving.get(timeout=5)
        assert server.version() == "TLSv1.3"
        assert server.recv(10) == b""


# Handshakes later -----------------------------------------------------------------------------------------------------


def test_the_first_read_or_write_shakes_hands(hub: Hub, certificates: Any) -> None:
    """Without ``do_handshake`` the first read and the first write do it, as in the standard library."""
    one, other = socket.socketpair()
    server = certificates.server.wrap_socket(one, server_side=True, do_handshake_on_connect=False)
    client = certificates.client.wrap_socket(other, server_hostname="localhost", do_handshake_on_connect=False)
    with server, client:
        reading = hubbub.spawn(server.recv, 100)
        client.sendall(b"hello")
        assert reading.get(timeout=5) == b"hello"
        server.sendall(b"x" * 100_000)
        received = 0
        while received < 100_000:
            received += len(client.recv(65536))
        assert received == 100_000


def test_client_certificates_after_the_handshake(hub: Hub, certificates: Any, leaf: Any) -> None:
    """A server of TLS 1.3 may ask for the client's certificate later, and gets it while both go on."""
    certificates.server.post_handshake_auth = certificates.client.post_handshake_auth = True
    certificates.server.verify_mode = stdlib.CERT_OPTIONAL
    certificates.authority.configure_trust(certificates.server)
    leaf.configure_cert(certificates.client)
    one, other = socket.socketpair()
    wrapping = hubbub.spawn(certificates.server.wrap_socket, one, server_side=True)
    with certificates.client.wrap_socket(other, server_hostname="localhost") as client, wrapping.get() as server:
        assert not server.getpeercert()
        server.verify_client_post_handshake()
        server.sendall(b"who are you?")
        assert client.recv(100) == b"who are you?"
        client.sendall(b"I am")
        assert server.recv(100) == b"I am"
        assert ("DNS", "localhost") in server.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("version", VERSIONS)
def test_channel_binding(hub: Hub, certificates: Any, version: Any) -> None:
    """Both ends have the same ``tls-unique`` data."""
    server, peer = server_and_peer(certificates, version)
    with server, peer.sock:
        assert server.get_channel_binding() == peer.tls.get_channel_binding()
        assert server.get_channel_binding()


def test_time_limit_of_a_read_in_pieces(hub: Hub, certificates: Any) -> None:
    """The time limit is for the whole of a read, however many pieces of a record come meanwhile."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        data = peer.records(b"x" * 10_000)

        def drip() -> None:
            for octet in data[:-1]:
                peer.sock.sendall(bytes([octet]))
                hubbub.sleep(0.005)

        dripping = hubbub.spawn(drip)
        server.settimeout(0.1)
        started = monotonic()
        with pytest.raises(TimeoutError, match="read"):
            server.recv(10)
        assert monotonic() - started < 40  # all of it takes 50
        dripping.kill()


def test_misuse_is_told(hub: Hub, certificates: Any) -> None:
    """A read-only buffer, and a handshake on a closed or an unwrapped socket, are errors that say what is wrong."""
    server, peer = server_and_peer(certificates)
    with peer.sock:
        with pytest.raises(TypeError, match="read-write bytes-like object, not bytes"):
            server.recv_into(b"constant")
        peer.sock.sendall(peer.close_notify())
        server.unwrap()
        with pytest.raises(ValueError, match="No SSL wrapper"):
            server.do_handshake()
        server.close()
        with pytest.raises(OSError):
            server.do_handshake()


def test_a_read_that_fails_leaves_no_cycle(hub: Hub, certificates: Any) -> None:
    """An error that a read has raised is gone with its last reference, without the collector's help."""
    server, peer = server_and_peer(certificates)
    with server, peer.sock:
        server.settimeout(0.0)
        before = sys.getrefcount(server._tls_reader)
        for _ in range(3):
            with pytest.raises(stdlib.SSLWantReadError) as caught:
                server.recv(10)
            del caught
        server.suppress_ragged_eofs = False
        peer.sock.close()
        server.settimeout(5)
        with pytest.raises(stdlib.SSLEOFError) as caught:
            server.recv(10)
        del caught
        after = sys.getrefcount(server._tls_reader)
        assert after == before
