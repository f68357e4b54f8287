"""The corpus of hostile requests against a live server."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from hubbub_server import Limits
from hubbub_server.http import request


@pytest.fixture
def hub(any_hub: Any) -> Any:
    """What a protocol says is the same on all loops."""
    return any_hub


pytestmark = pytest.mark.usefixtures("both_paths")

STATUS = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)
LIMITS = Limits(body_bytes=1000000)
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def read_all(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [b"ok\r\n"]


def read_nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok\r\n"]


def converse(client: Any, data: bytes) -> bytes:
    """Send all, end, and take all that comes."""
    try:
        client.send(data)
        client.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # refused before the end of it: the answer is there all the same
    answer: bytes = client.rest()
    return answer


def statuses(answer: bytes) -> tuple[int, ...]:
    return tuple(int(status) for status in STATUS.findall(answer) if status != b"100")


def test_corpus_is_large(attacks: Any) -> None:
    """There are more than 300 attacks, each with a name of its own."""
    assert len({attack.name for attack in attacks}) == len(attacks) > 300


@pytest.mark.parametrize("readers", [1, 2])
def test_attacks(attacks: Any, serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, readers: int) -> None:
    """Every attack gets its one right answer, whatever llhttp makes of it, and the server serves on."""
    if readers == 1:
        monkeypatch.setattr(request, "_read_again", lambda head: None)
    server = serve(read_all, limits=LIMITS)
    wrong = {}
    for attack in attacks:
        with connect(server) as client:
            found = statuses(converse(client, attack.data))
        if found != attack.statuses:
            wrong[attack.name] = f"wanted {attack.statuses}, found {found}"
        with connect(server) as client:
            assert statuses(converse(client, GET)) == (200,), f"not served after {attack.name}"
    assert wrong == {}


def test_attacks_on_an_application_that_does_not_read(attacks: Any, serve: Any, connect: Any) -> None:
    """No request in a body is ever run, also when the application leaves the body alone."""
    server = serve(read_nothing, limits=LIMITS)
    wrong = {}
    for attack in attacks:
        with connect(server) as client:
            found = statuses(converse(client, attack.data))
        # A body that ends early or gets too long may have been answered before that was seen.
        early = not attack.statuses or attack.statuses == (413,)
        if found.count(200) > max(attack.statuses.count(200), early):
            wrong[attack.name] = f"wanted {attack.statuses}, found {found}"
    assert wrong == {}


def test_attacks_in_pieces(attacks: Any, serve: Any, connect: Any) -> None:
    """The answer is the same when an attack arrives in two pieces, cut anywhere near its head's end."""
    server = serve(read_all, limits=LIMITS)
    wrong = {}
    for attack in attacks:
        if len(attack.data) > 2000:
            continue
        for cut in {1, len(attack.data) // 3, len(attack.data) // 2, len(attack.data) - 2, len(attack.data) - 1}:
            with connect(server) as client:
                client.send(attack.data[:cut])
                client.sock.settimeout(0.0)
                early = b""
                try:
                    early = client.sock.recv(65536)
                except BlockingIOError:
                    early = b""
                client.sock.settimeout(10.0)
                found = statuses(early + converse(client, attack.data[cut:]))
            if found != attack.statuses:
                wrong[attack.name, cut] = f"wanted {attack.statuses}, found {found}"
    assert wrong == {}


@pytest.mark.parametrize("limit", [1, 3])
def test_requests_per_connection(serve: Any, connect: Any, limit: int) -> None:
    """A connection ends, and says so, after as many requests as it may have."""
    server = serve(read_nothing, limits=Limits(requests_per_connection=limit))
    with connect(server) as client:
        answer = converse(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    assert statuses(answer) == (200,) * limit
    assert answer.count(b"Connection: close") == 1
