"""Heads that come again: what is made of them is what would be made of them alone."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_server import WSGIServer

PLAIN = b"GET /a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: z\r\n\r\n"


@pytest.fixture
def ask(converse: Any) -> Callable[[WSGIServer, bytes, int], list[bytes]]:
    """The bodies of the answers to requests that are the same, on one connection."""

    def asked(server: WSGIServer, head: bytes, times: int) -> list[bytes]:
        answers = converse(server, [head] * times).split(b"HTTP/1.1 200 OK\r\n")
        assert len(answers) == times + 1
        return [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:]]

    return asked


def kept(server: WSGIServer) -> list[dict[str, Any]]:
    """The environs that the server's accelerator keeps."""
    usual = server.parser.usual
    assert usual is not None
    return [each for each in gc.get_referents(usual) if type(each) is dict and "SERVER_PROTOCOL" in each
            and each["SERVER_PROTOCOL"]]  # fmt: skip


@pytest.fixture
def shows(serve: Any) -> WSGIServer:
    """A server whose answers show the environ."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        said = {name: value if isinstance(value, str) else type(value).__name__ for name, value in environ.items()}
        body = json.dumps(said, sort_keys=True).encode()
        environ.clear()  # it is the application's own
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    server: WSGIServer = serve(application)
    return server


def test_the_same_environ(shows: WSGIServer, ask: Any) -> None:
    """Each of many equal requests finds the same environ, whatever the application did with that of the one before."""
    answers = ask(shows, PLAIN, 5)
    assert len(set(answers)) == 1
    assert len(kept(shows)) == 1
    said = json.loads(answers[0])
    assert (said["PATH_INFO"], said["QUERY_STRING"], said["HTTP_HOST"]) == ("/a", "b", "x")


def test_the_address_is_the_connections_own(serve: Any) -> None:
    """A head that another client has sent before says nothing of that client."""
    ports: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        ports.append(environ["REMOTE_PORT"])
        start_response("200 OK", [])
        return [b""]

    server = serve(application)
    own = []
    for _ in range(4):
        with Socket() as client:
            client.settimeout(10.0)
            client.connect(server.address)
            own.append(str(client.getsockname()[1]))
            client.sendall(PLAIN)
            assert client.recv(1000)
    assert ports == own
    assert all("REMOTE_PORT" not in environ for environ in kept(server))


def test_a_head_that_begins_another(shows: WSGIServer, ask: Any, converse: Any) -> None:
    """A request whose head begins like one that is known, or ends in its midst, is read by itself."""
    longer = PLAIN[:-2] + b"DNT: 1\r\n\r\n"
    expected = {head: ask(shows, head, 1)[0] for head in (longer, PLAIN)}
    assert expected[longer] != expected[PLAIN]
    for _ in range(3):
        for head, body in expected.items():
            assert set(ask(shows, head, 3)) == {body}
    for place in (1, len(PLAIN) // 2, len(PLAIN) - 1):
        assert b" 200 OK" in converse(shows, [PLAIN[:place], PLAIN[place:]])
        assert converse(shows, [PLAIN[:place]]) == b""


def test_what_every_environ_starts_with(shows: WSGIServer, ask: Any) -> None:
    """A change of the server's entries is seen by the next request, in whatever way it is made."""
    base = shows.base_env

    def entry() -> str | None:
        answers = set(ask(shows, PLAIN, 3))
        assert len(answers) == 1
        value: str | None = json.loads(answers.pop()).get("more")
        return value

    assert entry() is None
    base["more"] = "a"
    assert entry() == "a"
    base["more"] = "b"
    assert entry() == "b"
    base["other"] = base.pop("more")
    assert entry() is None
    base["more"] = base.pop("other")
    assert entry() == "b"
    shows.set_environ({"more": "c"})
    assert entry() == "c"
    shows.set_environ()
    assert entry() is None


@pytest.mark.parametrize(
    "field",
    [b"Cookie: a=b", b"Authorization: Basic abc=", b"X-Token: secret", b"Referer: /x", b"Pragma: " + b"v" * 500],
    ids=lambda field: field.partition(b":")[0].decode(),
)
def test_secrets(shows: WSGIServer, field: bytes, ask: Any) -> None:
    """A head with what could be a secret is not kept, nor one that is long."""
    assert len(set(ask(shows, PLAIN[:-2] + field + b"\r\n\r\n", 4))) == 1
    assert kept(shows) == []
    assert len(set(ask(shows, b"GET /" + b"a" * 200 + PLAIN[5:], 4))) == 1
    assert kept(shows) == []


def test_only_what_comes_again(shows: WSGIServer, ask: Any) -> None:
    """Requests that differ are not kept, and few of those that come again."""
    for number in range(20):
        ask(shows, b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number, 1)
    assert kept(shows) == []
    for number in range(20):
        ask(shows, b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number, 2)
    assert len(kept(shows)) == 4


def test_kept_heads_go(serve: Any, ask: Any) -> None:
    """A kept environ keeps no server alive."""
    server = serve(lambda environ, start_response: start_response("200 OK", []) and [b""])
    ask(server, PLAIN, 3)
    (environ,) = kept(server)
    owner = server.parser.usual
    assert sys.getrefcount(environ) <= 4
    assert any(each is environ for each in gc.get_referents(owner))
    server.parser.usual = None
    hubbub.sleep(0)


def test_a_changed_parser(serve: Any, ask: Any) -> None:
    """An accelerator that is made anew for its parser knows no head of the one before."""
    server = serve(lambda environ, start_response: start_response("200 OK", []) and [b""])
    ask(server, PLAIN, 3)
    usual: Any = server.parser.usual
    assert kept(server)
    usual.__init__(server.parser)
    assert kept(server) == []
    assert len(ask(server, PLAIN, 3)) == 3
