"""DNS over TLS and over HTTPS."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
import trustme
from hubbub_dns import ares, dnspython
from hubbub_dns._servers import Server

REAL = "192.0.2.1"


def answer(query: bytes) -> bytes:
    """A reply with one address."""
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(REAL)
    end = query.index(b"\0", 12) + 5
    return query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + query[12:end] + record


def framed(message: bytes) -> bytes:
    """A message as it goes over a stream."""
    return len(message).to_bytes(2) + message


def read_framed(file: Any) -> bytes:
    """A message from a stream; empty at its end."""
    length = file.read(2)
    message: bytes = file.read(int.from_bytes(length)) if length else b""
    return message


def read_request(file: Any) -> tuple[bytes, bytes]:
    """The head and the body of an HTTP request."""
    head = b""
    while (line := file.readline()) not in (b"\r\n", b""):
        head += line
    lengths = [int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")]
    return head, file.read(lengths[0]) if lengths else b""


class SecureServer:
    """A TLS server in native threads: ``serve`` is called with the file of each connection."""

    def __init__(self, authority: trustme.CA, serve: Callable[[Any], None]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("dns.test").configure_cert(self._context)
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(20)
            try:
                with self._context.wrap_socket(sock, server_side=True) as secure, secure.makefile("rwb") as file:
                    self._serve(file)
            except OSError:
                return  # the client has gone

    def close(self) -> None:
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the resolvers trust."""
    return trustme.CA()


@pytest.fixture
def start(authority: trustme.CA) -> Iterator[Callable[[Callable[[Any], None]], SecureServer]]:
    """Starts servers."""
    started: list[SecureServer] = []

    def start(serve: Callable[[Any], None]) -> SecureServer:
        started.append(SecureServer(authority, serve))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def make_secure(authority: trustme.CA, hub: hubbub.Hub) -> Iterator[Callable[..., dnspython.Resolver]]:
    """Makes resolvers that trust the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    made: list[dnspython.Resolver] = []

    def make(*servers: str, **options: Any) -> dnspython.Resolver:
        options.setdefault("timeout", 10.0)
        options = {"ssl_context": context, "cache": None, "attempts": 1, **options}
        made.append(dnspython.Resolver(servers, resolv_conf=os.devnull, hosts=os.devnull, **options))
        return made[-1]

    yield make
    for resolver in made:
        resolver.close()


def over_tls(file: Any) -> None:
    """A well-behaved DNS-over-TLS server."""
    while query := read_framed(file):
        file.write(framed(answer(query)))
        file.flush()


def over_https(file: Any) -> None:
    """A well-behaved DNS-over-HTTPS server."""
    while (request := read_request(file))[0]:
        head, query = request
        assert head.startswith(b"POST /dns-query HTTP/1.1\r\nHost: dns.test:")
        body = answer(query)
        file.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n")
        file.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        file.flush()


def test_tls(start: Any, make_secure: Any) -> None:
    """Questions go over TLS, one after the other over one connection."""
    server = start(over_tls)
    resolver = make_secure(f"tls://127.0.0.1:{server.port}#dns.test")
    assert [resolver.gethostbyname(f"n{number}.test") for number in range(5)] == [REAL] * 5
    assert server.connections == 1


def test_https(start: Any, make_secure: Any) -> None:
    """Questions go over HTTPS, one after the other over one connection."""
    server = start(over_https)
    resolver = make_secure(f"https://127.0.0.1:{server.port}/dns-query#dns.test")
    assert [resolver.gethostbyname(f"n{number}.test") for number in range(5)] == [REAL] * 5
    assert server.connections == 1


def test_https_in_chunks(start: Any, make_secure: Any) -> None:
    """A chunked answer is put together."""

    def serve(file: Any) -> None:
        while (request := read_request(file))[0]:
            body = answer(request[1])
            file.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 7):
                file.write(b"%x;ext=1\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
                file.flush()
            file.write(b"0\r\nTrailer: x\r\n\r\n")
            file.flush()

    server = start(serve)
    resolver = make_secure(f"https://127.0.0.1:{server.port}#dns.test")
    assert resolver.gethostbyname("a.test") == resolver.gethostbyname("b.test") == REAL
    assert server.connections == 1


@pytest.mark.parametrize("scheme", ["tls", "https"])
def test_connection_closed_meanwhile(start: Any, make_secure: Any, scheme: str) -> None:
    """A connection that the server has closed is replaced."""

    def serve_one(file: Any) -> None:
        if scheme == "tls":
            file.write(framed(answer(read_framed(file))))
        else:
            body = answer(read_request(file)[1])
            file.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server = start(serve_one)
    resolver = make_secure(f"{scheme}://127.0.0.1:{server.port}#dns.test")
    for number in range(3):
        assert resolver.gethostbyname(f"n{number}.test") == REAL
    assert server.connections == 3


@pytest.mark.parametrize("name", ["other.test", ""])
def test_wrong_name(start: Any, make_secure: Any, name: str) -> None:
    """A server with a certificate for another name is not asked; the error says why."""
    asked = []

    def serve(file: Any) -> None:
        asked.append(read_framed(file))

    resolver = make_secure(f"tls://127.0.0.1:{start(serve).port}#{name}")
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname("www.test")
    assert info.value.errno == socket.EAI_AGAIN
    assert isinstance(info.value.__cause__, ssl.SSLCertVerificationError)
    assert not any(asked)


def test_unknown_authority(start: Any, make_secure: Any) -> None:
    """Without a context the system's authorities are trusted, no others."""
    resolver = make_secure(f"tls://127.0.0.1:{start(over_tls).port}#dns.test", ssl_context=None)
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname("www.test")
    assert isinstance(info.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    ("answered", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\n\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, socket.EAI_FAIL),
        (b"\0\1\2nonsense\r\n\r\n", socket.EAI_FAIL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", socket.EAI_AGAIN),
        (b"", socket.EAI_AGAIN),
    ],
)
def test_broken_https(start: Any, make_secure: Any, answered: bytes, error: int) -> None:
    """An HTTP server that answers nonsense, or too much, or nothing, ends the lookup with a gaierror."""

    def serve(file: Any) -> None:
        read_request(file)
        file.write(answered)

    resolver = make_secure(f"https://127.0.0.1:{start(serve).port}#dns.test")
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname("www.test")
    assert info.value.errno == error


def test_another_query(start: Any, make_secure: Any) -> None:
    """A reply to another query is not used."""

    def serve(file: Any) -> None:
        reply = answer(read_framed(file))
        file.write(framed(bytes([reply[0] ^ 1]) + reply[1:]))

    resolver = make_secure(f"tls://127.0.0.1:{start(serve).port}#dns.test")
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname("www.test")
    assert info.value.errno == socket.EAI_FAIL


@pytest.mark.parametrize("scheme", ["tls", "https"])
def test_silent(start: Any, make_secure: Any, scheme: str) -> None:
    """A server that never answers costs the time limit."""
    done = threading.Event()

    def serve(file: Any) -> None:
        done.wait(20)

    resolver = make_secure(f"{scheme}://127.0.0.1:{start(serve).port}#dns.test", timeout=0.3)
    with pytest.raises(socket.gaierror) as info, hubbub.Timeout(10):
        resolver.gethostbyname("www.test")
    done.set()
    assert info.value.errno == socket.EAI_AGAIN
    assert isinstance(info.value.__cause__, TimeoutError)


def test_many_at_a_time(start: Any, make_secure: Any) -> None:
    """Questions that are asked at the same time have a connection each; few are kept."""
    server = start(over_tls)
    resolver = make_secure(f"tls://127.0.0.1:{server.port}#dns.test", timeout=30.0)
    greenlets = [hubbub.spawn(resolver.gethostbyname, f"n{number}.test") for number in range(20)]
    hubbub.joinall(greenlets, timeout=40)
    assert {greenlet.value for greenlet in greenlets} == {REAL}
    assert server.connections <= 20
    assert resolver._upstream._secure is not None
    assert sum(map(len, resolver._upstream._secure._idle.values())) <= 8
    assert resolver._upstream._secure._busy == set()


@pytest.mark.hubbub_no_leaks
def test_closed(start: Any, make_secure: Any) -> None:
    """Closing the resolver closes its idle connections; it can be used again."""
    from hubbub_testkit.greenlets import open_descriptors

    server = start(over_tls)
    resolver = make_secure(f"tls://127.0.0.1:{server.port}#dns.test")
    assert resolver.gethostbyname("www.test") == REAL
    assert resolver._upstream._secure is not None
    (idle,) = (connection for kept in resolver._upstream._secure._idle.values() for connection in kept)
    number = idle._sock.fileno()
    assert number in open_descriptors()
    resolver.close()
    assert idle._sock.fileno() == -1
    assert resolver.gethostbyname("www.test") == REAL
    resolver.close()
    server.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls://192.0.2.1", Server("192.0.2.1", 853, "tls", "", "/dns-query")),
        ("tls://[2001:db8::1]:99#dns.test", Server("2001:db8::1", 99, "tls", "dns.test", "/dns-query")),
        ("https://192.0.2.1", Server("192.0.2.1", 443, "https", "", "/dns-query")),
        ("https://192.0.2.1:8443/q?a=b#dns.test", Server("192.0.2.1", 8443, "https", "dns.test", "/q?a=b")),
    ],
)
def test_servers(text: str, expected: Server) -> None:
    """Servers are written as URLs."""
    assert Server.make(text, 53) == expected


@pytest.mark.parametrize(
    "text",
    ["tls://name.test", "ftp://192.0.2.1", "https://192.0.2.1/\u00fc", "tls://", "tls://192.0.2.1:99999", "tls://["],
)
def test_no_servers(text: str) -> None:
    """What is no such URL is refused."""
    with pytest.raises(ValueError, match="a name server is"):
        Server.make(text, 53)


def test_not_over_ares(hub: hubbub.Hub) -> None:
    """c-ares does not speak TLS; the error names the resolver that does."""
    with pytest.raises(ValueError, match="dnspython"):
        ares.Resolver(["tls://192.0.2.1"])
