"""Sockets with names, TLS, select and look-ups."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import hubbub
from hubbub import plugins
from hubbub.lowlevel import get_hub
from hubbub_net import select, selectors, socket, ssl
from support.meter import Soak

COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"

soak = Soak(greenlets=12)
soak.expect(hubbub.Timeout, OSError)


def contexts() -> tuple[Any, Any]:
    """A server's and a client's TLS context, with a certificate of this run."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        command = [*COMMAND.split(), "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client


server_context, client_context = contexts()


def echo(connection: Any) -> None:
    """Send back what comes, until the other side has said all."""
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass  # the client was killed


def wrapped_echo(connection: Any) -> None:
    """The same, over TLS."""
    try:
        echo(server_context.wrap_socket(connection, server_side=True))
    except OSError:
        connection.close()


def serve(handler: Any) -> tuple[Any, hubbub.Greenlet]:
    """A listener, and the greenlet that accepts from it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            hubbub.spawn(handler, listener.accept()[0])

    return listener, hubbub.spawn(accept)


def talk(chance: Random, connection: Any) -> None:
    """Send octets and read them back, unless something comes in between."""
    data = bytes(chance.randrange(1, 60000))
    with connection, hubbub.Timeout(chance.choice((20, 20, 0.001)), False):
        sending = hubbub.spawn(connection.sendall, data)
        try:
            got = 0
            while got < len(data):
                part = connection.recv(65536)
                if not part:
                    raise AssertionError("the connection ended early")
                got += len(part)
        finally:
            sending.kill()


listener, accepting = serve(echo)
tls_listener, tls_accepting = serve(wrapped_echo)


@soak.deed(20)
def tcp(chance: Random) -> None:
    """A conversation over TCP."""
    talk(chance, socket.create_connection(listener.getsockname(), timeout=20))


@soak.deed(10)
def tls(chance: Random) -> None:
    """A conversation over TLS."""
    connection = socket.create_connection(tls_listener.getsockname(), timeout=20)
    try:
        connection = client_context.wrap_socket(connection)
        talk(chance, connection)
    finally:
        connection.close()


@soak.deed(10)
def refused(chance: Random) -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        pass


@soak.deed(10)
def datagrams(chance: Random) -> None:
    """Datagrams to and fro."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        one.bind(("127.0.0.1", 0))
        two.settimeout(20)
        for number in range(5):
            two.sendto(bytes([number]), one.getsockname())
        for number in range(5):
            if one.recvfrom(10)[0] != bytes([number]):
                raise AssertionError("another datagram came")
        one.settimeout(0.001)
        try:
            one.recv(1)
        except TimeoutError:
            pass


@soak.deed(10)
def selecting(chance: Random) -> None:
    """select, poll, epoll and selectors."""
    one, two = socket.socketpair()
    with one, two:
        hubbub.spawn_later(chance.choice((0, 0.002)), two.send, b"x")
        if select.select([one], [], [], 20)[0] != [one]:
            raise AssertionError("select saw nothing")
        with selectors.DefaultSelector() as selector:
            selector.register(one, selectors.EVENT_READ)
            if len(selector.select(20)) != 1:
                raise AssertionError("the selector saw nothing")
        poll = select.poll()
        poll.register(one, select.POLLIN)
        poll.poll(20000)
        one.recv(1)
        select.select([one], [], [], 0.001)
        hubbub.sleep(0.002)


@soak.deed(10)
def names(chance: Random) -> None:
    """Look-ups that need no network, some of them given up."""
    resolver = get_hub().resolver
    with hubbub.Timeout(chance.choice((20, 20, 0.0002)), False):
        resolver.getaddrinfo(chance.choice(("localhost", "127.0.0.1", "::1")), 80)
        resolver.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)


@soak.deed(1)
def resolvers(chance: Random) -> None:
    """A resolver that lives for one look-up."""
    name = chance.choice(plugins.names(plugins.RESOLVERS) or ("",))
    if name and name != "block":
        resolver = plugins.load(plugins.RESOLVERS, name)()
        try:
            resolver.getaddrinfo("localhost", 80)
        finally:
            resolver.close()


if __name__ == "__main__":
    soak.main()
