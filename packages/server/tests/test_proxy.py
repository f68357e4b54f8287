"""The PROXY protocol."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub_server import StreamServer
from hubbub_server._networks import Networks
from hubbub_server._proxy import LONGEST, HeaderReader, ProxyError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PEER = ("127.0.0.1", 9)
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
TRUSTED = ["127.0.0.0/8", "unix"]


def v2(command: int, family: int, data: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(data) if length is None else length) + data


def inet(options: bytes = b"") -> bytes:
    packed = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4242, 443)
    return packed + options


def inet6() -> bytes:
    hosts = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    return hosts + struct.pack("!HH", 4242, 443)


def option(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


FOUR, SIX = ("192.0.2.7", 4242), ("2001:db8::7", 4242, 0, 0)
GOOD: dict[str, tuple[bytes, Any]] = {
    "v1, IPv4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n", FOUR),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 4242 443\r\n", SIX),
    "v1, IPv6, longest": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0, 0),
    ),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", PEER),
    "v1, unknown with more": (b"PROXY UNKNOWN ff:: :: 1 2\r\n", PEER),
    "v2, IPv4": (v2(0x21, 0x11, inet()), FOUR),
    "v2, IPv6": (v2(0x21, 0x21, inet6()), SIX),
    "v2, options": (v2(0x21, 0x11, inet(option(4, b"") + option(0xE0, b"x" * 200))), FOUR),
    "v2, local": (v2(0x20, 0x00, b""), PEER),
    "v2, local with more": (v2(0x20, 0x11, inet()), PEER),
    "v2, unknown": (v2(0x21, 0x00, b"whatever"), PEER),
    "v2, UNIX": (v2(0x21, 0x31, b"/run/x".ljust(108, b"\0") * 2), PEER),
}
BAD = {
    "nothing of the kind": GET,
    "v1, small letters": b"proxy TCP4 192.0.2.7 198.51.100.1 4242 443\r\n",
    "v1, another protocol": b"PROXY TCP5 192.0.2.7 198.51.100.1 4242 443\r\n",
    "v1, UDP": b"PROXY UDP4 192.0.2.7 198.51.100.1 4242 443\r\n",
    "v1, LF alone": b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\n",
    "v1, two blanks": b"PROXY TCP4  192.0.2.7 198.51.100.1 4242 443\r\n",
    "v1, a blank at the end": b"PROXY TCP4 192.0.2.7 198.51.100.1 4242 443 \r\n",
    "v1, no ports": b"PROXY TCP4 192.0.2.7 198.51.100.1\r\n",
    "v1, a port too high": b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
    "v1, the other port too high": b"PROXY TCP4 192.0.2.7 198.51.100.1 1 99999\r\n",
    "v1, no address": b"PROXY TCP4 192.0.2 198.51.100.1 4242 443\r\n",
    "v1, a name": b"PROXY TCP4 localhost 198.51.100.1 4242 443\r\n",
    "v1, the wrong family": b"PROXY TCP4 ::1 ::1 4242 443\r\n",
    "v1, the other wrong family": b"PROXY TCP6 1.2.3.4 1.2.3.4 4242 443\r\n",
    "v1, no end": b"PROXY UNKNOWN " + b"x" * 200,
    "v2, version 3": v2(0x31, 0x11, inet()),
    "v2, another command": v2(0x22, 0x11, inet()),
    "v2, too short": v2(0x21, 0x11, inet()[:-1]),
    "v2, too short for IPv6": v2(0x21, 0x21, inet()),
    "v2, too short for UNIX": v2(0x21, 0x31, b"x" * 215),
    "v2, too long": v2(0x21, 0x11, inet(b"\0" * (LONGEST + 1))),
    "v2, datagrams": v2(0x21, 0x12, inet()),
    "v2, another family": v2(0x21, 0x41, inet()),
    "v2, an option cut off": v2(0x21, 0x11, inet(b"\x04\x00\x05xx")),
    "v2, an option's head cut off": v2(0x21, 0x11, inet(b"\x04\x00")),
    "v2, TLS cut off": v2(0x21, 0x11, inet(option(0x20, b"\x01\0\0\0"))),
    "v2, a signature with a fault": SIGNATURE[:-1] + b"X" + b"\x21\x11\0\x0c" + inet(),
}


def read(data: bytes, cut: Callable[[int], int] = lambda size: size) -> tuple[Any, bytes]:
    """The address in a header, and what is left of the data; pieces are as long as ``cut`` says."""
    reader = HeaderReader(PEER)
    while reader.wanted:
        size = min(cut(reader.wanted), reader.wanted)
        if reader.line:
            end = data.find(b"\n") + 1
            size = min(size, end) if end else size
        if not data:
            raise EOFError
        reader.feed(data[:size])
        data = data[size:]
    return reader.address, data


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """A valid header gives the client's address, or the proxy's own, and takes nothing of what follows it."""
    data, address = GOOD[name]
    for seed in range(20):
        rng = random.Random(seed)
        assert read(data + GET, lambda size, rng=rng: rng.randint(1, size)) == (address, GET)
    found, rest = read(data + GET)
    assert (found, rest) == (address, GET)
    if found != PEER:
        assert (found.peer, found.destination[1]) == (PEER, found[1] if "longest" in name else 443)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    """What is no header is refused, as a whole or byte by byte, at the latest when it could have been one."""
    for cut in (lambda size: size, lambda size: 1):
        with pytest.raises(ProxyError):
            read(BAD[name] + b"\0" * 20000, cut)


def test_tls_of_the_client() -> None:
    """The proxy says whether it has taken TLS off."""
    for byte, encrypted in ((b"\x01", True), (b"\x07", True), (b"\x00", False)):
        tls = option(0x20, byte + b"\0\0\0\0" + option(0x21, b"TLSv1.3"))
        assert read(v2(0x21, 0x11, inet(tls)))[0].encrypted == encrypted


def test_random_headers() -> None:
    """Whatever the bytes, reading ends with an address or with its own error."""
    rng = random.Random(8)
    for _ in range(3000):
        data = bytearray(rng.choice([data for data, _ in GOOD.values()]))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read(bytes(data) + b"\0" * LONGEST * 20)
        except ProxyError:
            continue


# Networks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "address", "inside"),
    [
        ("10.0.0.0/8", ("10.1.2.3", 1), True),
        ("10.0.0.0/8", ("11.1.2.3", 1), False),
        ("10.0.0.0/8", ("::ffff:10.1.2.3", 1, 0, 0), True),
        ("::1", ("::1", 1, 0, 0), True),
        ("fe80::/10", ("fe80::1%eth0", 1, 0, 2), True),
        ("127.0.0.1, 192.0.2.0/24", ("192.0.2.9", 1), True),
        ("127.0.0.1", "", False),
        ("unix", "", True),
        ("unix", ("127.0.0.1", 1), False),
        ("*", ("203.0.113.1", 1), True),
        ("*", "", True),
    ],
)
def test_networks(networks: str, address: Any, inside: bool) -> None:
    """An address is in a network by its number, whatever the guise; a UNIX socket only if that was said."""
    assert Networks([networks]).has(address) == inside


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,", "all"])
def test_no_networks(text: str) -> None:
    """What is no network is refused with what one is like."""
    with pytest.raises(ValueError, match=r"a network is like 10\.0\.0\.0/8"):
        Networks([text])


# Servers --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def echo(hub: Any) -> Iterator[Callable[..., StreamServer]]:
    """A TCP server that says the address of its client, and then what it hears."""
    servers: list[StreamServer] = []

    def handle(sock: Any, address: Any) -> None:
        sock.sendall(f"{address[0]}\n".encode())
        while data := sock.recv(1000):
            sock.sendall(data)

    def make(**options: Any) -> StreamServer:
        server = StreamServer(("127.0.0.1", 0), handle, **options)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop(0.2)


@pytest.mark.parametrize("name", ["v1, IPv4", "v2, IPv4", "v1, unknown", "v2, local", "v2, options"])
@pytest.mark.parametrize("size", [1000, 5, 1])
def test_tcp(echo: Any, connect: Any, name: str, size: int) -> None:
    """A TCP server gives its handler the address, and every byte that follows, however the bytes arrive."""
    data, address = GOOD[name]
    client = connect(echo(proxy_from=TRUSTED))
    data += b"hello"
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
        if size < 1000:
            hubbub.sleep(0)
    assert client.until(b"hello") == b"%b\nhello" % address[0].encode()
    client.send(b"again")
    client.until(b"again")


@pytest.mark.parametrize("name", ["nothing of the kind", "v1, LF alone", "v2, too short", "v1, no end"])
def test_bad_header_ends_the_connection(echo: Any, connect: Any, name: str, failures: list[BaseException]) -> None:
    """A proxy that sends none is not served, and the server serves on."""
    seen: list[Any] = []
    server = echo(proxy_from=TRUSTED)
    server.handshake_failed = lambda error, address: seen.append(error)
    client = connect(server)
    client.send(BAD[name])
    try:
        assert client.rest() == b""
    except ConnectionResetError:
        pass
    assert [type(error) for error in seen] == [ProxyError]
    connect(server).send(b"x")
    assert failures == []


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192.0.2.7", SIGNATURE[:5], v2(0x21, 0x11, inet()[:5], 12)])
def test_slow_header(echo: Any, connect: Any, begun: bytes) -> None:
    """A header that does not come in time ends the connection."""
    client = connect(echo(proxy_from=TRUSTED, handshake_timeout=0.1))
    client.send(begun)
    try:
        assert client.rest() == b""
    except ConnectionResetError:
        pass


def test_only_from_proxies(echo: Any, connect: Any) -> None:
    """From others a header is not looked for: it is what the client says, and nobody believes it."""
    client = connect(echo(proxy_from=["192.0.2.0/24"]))
    client.send(GOOD["v1, IPv4"][0])
    assert client.until(b"443\r\n") == b"127.0.0.1\n" + GOOD["v1, IPv4"][0]


def ask(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    names = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTPS", "hubbub.peer")
    start_response("200 OK", [])
    return [" ".join(str(environ.get(name, "-")) for name in names[:4]).encode(), repr(environ.get(names[4])).encode()]


def test_http(serve: Any, talk: Any) -> None:
    """An HTTP server shows the client to the application and in the log, and the proxy beside it."""
    lines: list[str] = []

    class Log:
        def write(self, text: str) -> None:
            lines.append(text)

    server = serve(ask, proxy_from=TRUSTED, log=Log())
    assert b"192.0.2.7 4242 http -('127.0.0.1', " in talk(server, GOOD["v1, IPv4"][0] + GET)
    tls = v2(0x21, 0x11, inet(option(0x20, b"\x01\0\0\0\0")))
    assert b"192.0.2.7 4242 https on('127.0.0.1', " in talk(server, tls + GET)
    assert b"127.0.0.1 " in talk(server, GOOD["v2, local"][0] + GET)
    assert [line.split()[0] for line in lines] == ["192.0.2.7", "192.0.2.7", "127.0.0.1"]


def test_http_refuses_headers_of_others(serve: Any, talk: Any) -> None:
    """To an HTTP server that was told of no proxies, a header is no request."""
    for data in (GOOD["v1, IPv4"][0], GOOD["v2, IPv4"][0]):
        assert talk(serve(ask), data + GET).startswith(b"HTTP/1.1 400 ")


def test_before_tls(serve: Any, connect: Any, certificate: Any) -> None:
    """The header comes before the handshake, of which it takes no byte."""
    ssl = pytest.importorskip("hubbub_net.ssl")
    authority, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    server = serve(ask, proxy_from=TRUSTED, ssl_context=context)
    for name in ("v1, IPv4", "v2, IPv4"):
        client = connect(server)
        client.send(GOOD[name][0])
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(trusting)
        client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost")
        client.send(GET)
        assert b"192.0.2.7 4242 https on" in client.rest()
