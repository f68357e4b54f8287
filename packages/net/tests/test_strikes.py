"""Sockets and TLS sockets that greenlets share: interrupted at every switch, the others' data stay whole."""

from __future__ import annotations

import contextlib
import socket as stdlib
from collections import Counter

import pytest
from hubbub import sleep, spawn
from hubbub_net import ssl
from hubbub_net.socket import create_connection, create_server, socketpair
from hubbub_testkit.strikes import CANCEL, INTERRUPT, KILL, at_every_switch

strikes = pytest.mark.parametrize("strike", [KILL, CANCEL, INTERRUPT], ids=lambda strike: strike.__name__.lower())
kinds = pytest.mark.parametrize("kind", ["plain", "tls"])
RECORD = 100
GOODBYE = b"z" * RECORD


@pytest.fixture
def pair(kind, certificates, tls_methods):
    """Makes two sockets with small buffers that are connected, over TLS if the kind says so."""

    def make():
        one, other = socketpair()
        for sock in (one, other):
            sock.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_SNDBUF, 2048)
            sock.settimeout(10)
        if kind == "plain":
            return one, other
        shaking = spawn(certificates.server.wrap_socket, one, server_side=True)
        other = certificates.client.wrap_socket(other, server_hostname="localhost")
        return shaking.get(timeout=10), other

    return make


def all_of(sock):
    """What comes until the end."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def shut(sock):
    """Say that nothing more is sent, and wait for the same."""
    if isinstance(sock, ssl.SSLSocket):
        sock = sock.unwrap()
    sock.shutdown(stdlib.SHUT_WR)


@strikes
@kinds
def test_writers(hub, pair, strike):
    """A writer that is interrupted has sent a beginning of its data; what another sends comes whole, and is read."""

    def scenario(hit):
        one, other = pair()
        with one, other:
            reader = spawn(all_of, other)
            hit.victim(one.sendall, b"v" * 6000)
            writer = spawn(one.sendall, b"w" * 6000)
            writer.get(timeout=10)
            hit.greenlet.join()
            one.sendall(GOODBYE)
            if isinstance(one, ssl.SSLSocket):
                spawn(shut, one)
            else:
                one.shutdown(stdlib.SHUT_WR)
            data = reader.get(timeout=10)
            count = Counter(data)
            assert count[ord("w")] == 6000
            assert count[ord("v")] == 6000 if hit.returned else count[ord("v")] <= 6000
            assert data.endswith(GOODBYE)

    assert at_every_switch(scenario, strike) > 10


@strikes
@kinds
def test_readers(hub, pair, strike):
    """A reader that is interrupted takes nothing with it: what one had not got the other gets."""

    def read(sock, got):
        while piece := sock.recv(RECORD):
            got.append(piece)

    def scenario(hit):
        one, other = pair()
        got = []
        with one, other:
            hit.victim(read, other, got)
            reader = spawn(read, other, got)
            for number in range(6):
                one.sendall(b"%c" % (97 + number) * RECORD)
            spawn(shut, one)
            reader.get(timeout=10)
            hit.greenlet.join()
        assert Counter(b"".join(got)) == {97 + number: RECORD for number in range(6)}

    assert at_every_switch(scenario, strike) > 10


@strikes
@kinds
def test_a_reader_beside_a_writer(hub, pair, strike):
    """Each side reads and writes at the same time; who reads is interrupted, who writes is not disturbed."""

    def scenario(hit):
        one, other = pair()
        with one, other:
            hit.victim(one.recv, RECORD)
            writer = spawn(one.sendall, b"w" * 6000)
            echo = spawn(other.sendall, b"e" * RECORD)
            got = b""
            while len(got) < 6000:
                got += other.recv(4096)
            writer.get(timeout=10)
            echo.get(timeout=10)
            hit.greenlet.join()
            rest = RECORD - sum(map(len, hit.returned))
            assert rest in (0, RECORD)
            if rest:
                assert one.recv(RECORD) == b"e" * RECORD

    assert at_every_switch(scenario, strike) > 8


@strikes
@kinds
def test_closing(hub, pair, strike):
    """Who is told that a socket was closed, or interrupted meanwhile, ends; so do all others that use it."""

    def scenario(hit):
        one, other = pair()
        with one, other:
            hit.victim(one.recv, RECORD)
            readers = [spawn(one.recv, RECORD), spawn(other.recv, RECORD)]
            writer = spawn(one.sendall, b"w" * 60000)
            closer = spawn(one.close)
            closer.get(timeout=10)
            hit.greenlet.join()
            for greenlet in (*readers, writer):
                with contextlib.suppress(OSError):
                    greenlet.get(timeout=10)
            assert one.fileno() == -1

    assert at_every_switch(scenario, strike) > 3


@strikes
@pytest.mark.parametrize("side", ["server", "client"])
def test_handshakes(hub, certificates, strike, side):
    """A handshake that is interrupted closes its socket; the other side is not left waiting."""

    def serve(sock):
        with certificates.server.wrap_socket(sock, server_side=True) as wrapped:
            wrapped.sendall(wrapped.recv(RECORD))

    def ask(sock):
        with certificates.client.wrap_socket(sock, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"a" * RECORD)
            return wrapped.recv(RECORD)

    def scenario(hit):
        one, other = socketpair()
        with one, other:
            one.settimeout(10)
            other.settimeout(10)
            if side == "server":
                hit.victim(serve, one)
                peer = spawn(ask, other)
            else:
                peer = spawn(serve, one)
                hit.victim(ask, other)
            hit.greenlet.join()
            (one if side == "server" else other).close()  # if it has not even begun
            try:
                peer.get(timeout=5)
            except TimeoutError:
                raise
            except OSError:
                assert not hit.returned

    assert at_every_switch(scenario, strike) > 5


@strikes
@pytest.mark.parametrize("kind", ["tls"])
def test_goodbyes(hub, pair, strike):
    """An unwrap that is interrupted can be made again, or the socket be closed; the peer sees an end."""

    def respond(sock):
        data = all_of(sock)
        shut(sock)
        return data

    def scenario(hit):
        one, other = pair()
        with one, other:
            peer = spawn(respond, other)
            hit.victim(shut, one)
            hit.greenlet.join()
            if not hit.returned:
                one.close()
            try:
                assert peer.get(timeout=5) == b""
            except TimeoutError:
                raise
            except OSError:
                assert not hit.returned

    assert at_every_switch(scenario, strike) > 2


@strikes
def test_accept_and_connect(hub, strike):
    """A listener's greenlet that is interrupted takes no connection with it: another accepts it."""

    def take(listener, taken):
        while len(taken) < 3:
            sock, _ = listener.accept()
            taken.append(sock)

    def scenario(hit):
        taken = []
        with create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(10)
            hit.victim(take, listener, taken)
            other = spawn(take, listener, taken)
            connections = [create_connection(listener.getsockname(), 10) for _ in range(3)]
            while len(taken) < 3:
                sleep(0)
            addresses = {sock.getpeername() for sock in taken[:3]}
            assert addresses == {sock.getsockname() for sock in connections}
            hit.greenlet.kill()
            other.kill()
            for sock in (*taken, *connections):
                sock.close()

    assert at_every_switch(scenario, strike) > 3
