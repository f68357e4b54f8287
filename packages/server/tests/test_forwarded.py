"""What proxies that are believed say of their clients."""

from __future__ import annotations

from typing import Any

import pytest
from hubbub_server._networks import Networks
from hubbub_server.http.errors import RequestError
from hubbub_server.http.forwarded import FIELDS, Forwarding

PROXY = ("10.0.0.1", 1234)
FOR, PROTO, HOST, PORT, FORWARDED = ("HTTP_" + name.upper().replace("-", "_") for name in FIELDS)


def applied(
    fields: dict[str, str], believed: str, address: Any = PROXY, networks: str = "10.0.0.0/8"
) -> dict[str, Any]:
    """The environ of a request."""
    environ: dict[str, Any] = {
        "REMOTE_ADDR": address[0] if address else "",
        "REMOTE_PORT": "1234",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "inner",
        **fields,
    }
    Forwarding(Networks([networks]), believed.split(",")).apply(environ, address)
    return environ


USUAL = "x-forwarded-for,x-forwarded-proto"
ALL = f"{USUAL},x-forwarded-host,x-forwarded-port"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7, 10.0.0.3,10.0.0.2", "192.0.2.7"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:80", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("unknown", "10.0.0.1"),
        ("192.0.2.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.7, 10.0.0.999", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_client(value: str, client: str) -> None:
    """The client is the last in the list who is no proxy; nobody before them is believed."""
    environ = applied({FOR: value}, USUAL)
    assert environ["REMOTE_ADDR"] == client
    assert environ["hubbub.peer"] == PROXY
    if client != "10.0.0.1":
        assert environ.get("REMOTE_PORT") == ("80" if "]:80" in value else "4711" if ":4711" in value else None)


@pytest.mark.parametrize(
    ("hosts", "schemes", "scheme"),
    [
        ("192.0.2.7", "https", "https"),
        ("192.0.2.7", "HTTPS", "https"),
        ("192.0.2.7", "http", "http"),
        ("", "https", "https"),
        ("192.0.2.7, 10.0.0.2", "https, http", "https"),
        ("192.0.2.7, 10.0.0.2", "https", "https"),
        ("203.0.113.9, 192.0.2.7", "https, http", "http"),
        ("192.0.2.7", "", "http"),
    ],
)
def test_scheme(hosts: str, schemes: str, scheme: str) -> None:
    """The scheme is that of the client's hop if each hop says one, else that which the nearest proxy says."""
    environ = applied({key: text for key, text in ((FOR, hosts), (PROTO, schemes)) if text}, USUAL)
    assert environ["wsgi.url_scheme"] == scheme
    assert environ.get("HTTPS") == ("on" if scheme == "https" else None)


def test_host_and_port() -> None:
    """They are believed only when that was said."""
    fields = {FOR: "192.0.2.7", HOST: "outer.example", PORT: "8443"}
    environ = applied(fields, ALL)
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("outer.example", "8443")
    environ = applied(fields, USUAL)
    assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("inner", "80")


@pytest.mark.parametrize(
    ("value", "client", "scheme", "host"),
    [
        ("for=192.0.2.7", "192.0.2.7", "http", "inner"),
        ('for="[2001:db8::7]:4711";proto=https', "2001:db8::7", "https", "inner"),
        ("For=192.0.2.7;Proto=HTTPS;Host=outer;by=10.0.0.1", "192.0.2.7", "https", "outer"),
        ("for=203.0.113.9;proto=https;host=evil, for=192.0.2.7", "192.0.2.7", "http", "inner"),
        ("for=192.0.2.7;proto=https;host=outer, for=10.0.0.2;proto=http;host=middle", "192.0.2.7", "https", "outer"),
        ("for=192.0.2.7 , for=10.0.0.2", "192.0.2.7", "http", "inner"),
        ("for=unknown;proto=https", "10.0.0.1", "https", "inner"),
        ("for=_hidden, for=10.0.0.2", "10.0.0.2", "http", "inner"),
        ('for="\\1\\9\\2.0.2.7"', "192.0.2.7", "http", "inner"),
        ('for=192.0.2.7;x="a, b; c=\\"d"', "192.0.2.7", "http", "inner"),
    ],
)
def test_forwarded(value: str, client: str, scheme: str, host: str) -> None:
    """RFC 7239 says the same in one field, hop by hop."""
    environ = applied({FORWARDED: value}, "forwarded")
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == (client, scheme, host)


@pytest.mark.parametrize(
    ("fields", "believed"),
    [
        ({PROTO: "gopher"}, USUAL),
        ({PROTO: "https;x"}, USUAL),
        ({FOR: "192.0.2.7", HOST: "a b"}, ALL),
        ({FOR: "192.0.2.7", PORT: "x"}, ALL),
        ({FORWARDED: "for"}, "forwarded"),
        ({FORWARDED: "for=a;for=b"}, "forwarded"),
        ({FORWARDED: "for=192.0.2.7;"}, "forwarded"),
        ({FORWARDED: "for=192.0.2.7,"}, "forwarded"),
        ({FORWARDED: ", for=192.0.2.7"}, "forwarded"),
        ({FORWARDED: 'for="192.0.2.7'}, "forwarded"),
        ({FORWARDED: "for=[::1]"}, "forwarded"),
        ({FORWARDED: "for = 192.0.2.7"}, "forwarded"),
        ({FORWARDED: "proto=gopher"}, "forwarded"),
        ({FORWARDED: 'host=""'}, "forwarded"),
    ],
)
def test_not_valid(fields: dict[str, str], believed: str) -> None:
    """What a proxy that is believed says, and what has no meaning, is a 400: to guess would be to believe too much."""
    with pytest.raises(RequestError, match="400"):
        applied(fields, believed)


@pytest.mark.parametrize("believed", [USUAL, ALL, "forwarded"])
@pytest.mark.parametrize("address", [("192.0.2.66", 1), ""])
def test_others_are_not_believed(believed: str, address: Any) -> None:
    """Of what others say nothing is believed, and nothing is left that an application could believe."""
    fields = {FOR: "1.1.1.1", PROTO: "https", HOST: "evil", PORT: "1", FORWARDED: "for=1.1.1.1;proto=https;host=evil"}
    environ = applied(fields, believed, address)
    assert environ == applied({}, believed, address)
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("http", "inner", "80")


def test_other_fields_are_removed() -> None:
    """Of a proxy too, the fields that it does not set itself are removed: a client may have sent them."""
    environ = applied({FOR: "192.0.2.7", PROTO: "https", HOST: "evil", FORWARDED: "for=1.1.1.1"}, "x-forwarded-for")
    assert [key for key in (FOR, PROTO, HOST, PORT, FORWARDED) if key in environ] == [FOR]
    assert environ["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize("believed", ["x-real-ip", "X-Forwarded-For", "forwarded,x-forwarded-for", ""])
def test_bad_choices(believed: str) -> None:
    """Fields that there are not, and those that could contradict one another, are refused."""
    with pytest.raises(ValueError, match="forwarded"):
        Forwarding(Networks(()), believed.split(","))


def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']} {environ.get(FOR)}".encode()]


def test_served(serve: Any, connect: Any) -> None:
    """A server believes whom it was told to believe, request by request; the log has the client."""
    lines: list[str] = []

    class Log:
        def write(self, text: str) -> None:
            lines.append(text)

    server = serve(show, forwarded_from=["127.0.0.1"], log=Log())
    client = connect(server)
    for host in ("192.0.2.7", "192.0.2.8"):
        client.send(
            f"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {host}\r\nX-Forwarded-Proto: https\r\n\r\n".encode()
        )
        assert client.response().body == f"{host} https {host}".encode()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.response().body == b"127.0.0.1 http None"
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: gopher\r\n\r\n")
    assert client.response().status == 400
    assert [line.split()[0] for line in lines] == ["192.0.2.7", "192.0.2.8", "127.0.0.1", "127.0.0.1"]


def test_unasked(serve: Any, connect: Any) -> None:
    """A server that was told to believe nobody changes nothing, and leaves the fields to the application."""
    client = connect(serve(show))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
    assert client.response().body == b"127.0.0.1 http 192.0.2.7"


def test_after_the_proxy_protocol(serve: Any, talk: Any) -> None:
    """With both, it is the address in the PROXY header that is believed or not."""
    server = serve(show, forwarded_from=["192.0.2.0/24"], proxy_from=["127.0.0.1"])
    get = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
    header = b"PROXY TCP4 %b 198.51.100.1 4242 443\r\n"
    assert talk(server, header % b"192.0.2.7" + get).endswith(b"203.0.113.9 http 203.0.113.9")
    assert talk(server, header % b"198.51.100.7" + get).endswith(b"198.51.100.7 http None")
