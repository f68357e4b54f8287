"""Time limits, slow clients, fairness."""

from __future__ import annotations

import io
import socket
import struct
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits
from hubbub_server.http.body import Body
from hubbub_server.http.request import CHUNKED

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def read_body(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [str(len(body)).encode()]


def test_slow_head(serve: Any, connect: Any) -> None:
    """A head that does not end in time is a 408, however steadily it drips."""
    client = connect(serve(limits=Limits(header_seconds=0.2)))
    dripping = True

    def drip() -> None:
        client.send(b"GET / HTTP/1.1\r\n")
        while dripping:
            client.send(b"X: y\r\n")
            hubbub.sleep(0.02)

    dripper = hubbub.spawn(drip)
    assert client.response().status == 408
    dripping = False
    dripper.kill()


def test_silence_at_the_start(serve: Any, talk: Any) -> None:
    """A connection on which nothing comes is closed without a word."""
    assert talk(serve(limits=Limits(header_seconds=0.1)), b"") == b""


def test_idle(serve: Any, connect: Any) -> None:
    """A connection with no further request is closed without a word."""
    client = connect(serve(limits=Limits(idle_seconds=0.1)))
    client.send(GET)
    client.response()
    assert client.rest() == b""


def test_field_bytes(serve: Any, connect: Any) -> None:
    """With a limit on fields, one that is longer is a 431, seen before or not, and a cookie too."""
    server = serve(limits=Limits(field_bytes=40))
    for field, status in ((b"X: " + b"x" * 37, 200), (b"X: " + b"x" * 38, 431), (b"Cookie: " + b"x" * 33, 431)) * 2:
        client = connect(server)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % field)
        assert client.response().status == status


def test_slow_body(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A body that stops is a 408, and no failure of the application."""
    client = connect(serve(read_body, limits=Limits(body_seconds=0.1)))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
    assert client.response().status == 408
    assert errors.getvalue() == ""


def test_dripping_body(serve: Any, connect: Any) -> None:
    """A body that drips below the least rate is a 408; one above it may take longer than the limit."""
    server = serve(read_body, limits=Limits(body_seconds=0.3, body_rate=200))

    def drip(client: Any, size: int, count: int) -> None:
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size * count))
        for _ in range(count):
            client.send(b"x" * size)
            hubbub.sleep(0.02)

    slow, fast = connect(server), connect(server)
    drippers = [hubbub.spawn(drip, slow, 1, 500), hubbub.spawn(drip, fast, 50, 30)]
    try:
        assert slow.response().status == 408
        assert fast.response().body == b"1500"
    finally:
        hubbub.killall(drippers)


def test_cut_body(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A body that ends early is an error for the application to see, not a short body."""
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> Any:
        try:
            environ["wsgi.input"].read()
        except ConnectionError as error:
            seen.append(error)
            raise
        raise AssertionError("the body was taken for whole")

    client = connect(serve(application))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    assert len(seen) == 1
    assert errors.getvalue() == ""


def test_client_that_does_not_read(serve: Any, connect: Any) -> None:
    """A client that does not read its response is dropped, and the application told."""
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        try:
            while True:
                write(b"x" * 100000)
        except ConnectionError as error:
            seen.append(error)
            raise

    client = connect(serve(application, limits=Limits(write_seconds=0.2)))
    client.send(GET)
    while not seen:
        hubbub.sleep(0.01)
    with pytest.raises(ConnectionResetError):
        client.rest()


def test_back_pressure(serve: Any, connect: Any) -> None:
    """An application is not asked for more than the client takes."""
    given = 0

    def application(environ: Any, start_response: Any) -> Any:
        nonlocal given
        start_response("200 OK", [])
        for _ in range(1000):
            given += 1
            yield b"x" * 100000

    client = connect(serve(application))
    client.send(GET)
    client.until(b"\r\n\r\n")
    before = -1
    while before != given:
        before = given
        hubbub.sleep(0.05)
    assert given < 500


def test_half_close(serve: Any, connect: Any) -> None:
    """A client that has said all it wants to say still gets its answers."""
    client = connect(serve())
    client.send(GET * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest().count(b"200 OK") == 3


def test_reset(serve: Any, connect: Any, errors: io.StringIO, failures: list[BaseException]) -> None:
    """A client that resets the connection harms nobody, and nothing is said about it."""
    server = serve(read_body)
    for data in (b"", b"GET", GET, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"):
        client = connect(server)
        client.send(data or b"\r")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        hubbub.sleep(0.01)
        client.sock.close()
    client = connect(server)
    client.send(GET)
    assert client.response().status == 200
    assert errors.getvalue() == ""
    assert failures == []


def test_busy_server_blames_nobody(serve: Any, connect: Any) -> None:
    """Time that the whole server was stopped does not count against its clients."""
    import time

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/block":
            time.sleep(0.5)
        start_response("200 OK", [])
        return [b"x"]

    server = serve(application, limits=Limits(idle_seconds=0.2))
    idle, blocking = connect(server), connect(server)
    idle.send(GET)
    idle.response()
    blocking.send(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
    blocking.response()
    idle.send(GET)
    assert idle.response().status == 200


def test_pipelining_is_fair(serve: Any, connect: Any) -> None:
    """A client that sends thousands of requests at once does not keep others waiting."""
    served: list[str] = []

    def application(environ: Any, start_response: Any) -> Any:
        served.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    server = serve(application)
    greedy = connect(server)
    sender = hubbub.spawn(greedy.send, b"GET /greedy HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    reader = hubbub.spawn(greedy.rest)
    hubbub.sleep(0)
    modest = connect(server)
    modest.send(GET)
    modest.response()
    assert served.index("/") < 1500
    hubbub.killall([sender, reader])


class Supply:
    """A source of a body that notes how much work it is told of."""

    limits = Limits()

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.work = 0

    def body_data(self, size: int) -> bytes:
        data, self.data = self.data[:size], self.data[size:]
        self.work += len(data)
        return data

    buffered = body_data

    def give_back(self, data: bytes) -> None:
        assert not data

    def send_continue(self) -> None:
        raise AssertionError("nobody waits for that")

    def note_work(self, size: int) -> None:
        self.work += size


def test_tiny_chunks_are_work() -> None:
    """Decoding many small chunks counts as work after which others get their turn, as moving many bytes does."""
    works = []
    for size in (1, 8192):
        source = Supply(b"%x\r\n%b\r\n" % (size, b"x" * size) * (819200 // (size + 5)) + b"0\r\n\r\n")
        body = Body(source, CHUNKED, expects=False)
        while body.next():
            pass
        works.append(source.work)
    assert works[0] > 50 * works[1]


def test_many_stalled_clients(serve: Any, connect: Any) -> None:
    """Clients that stall in every way there is hold nobody up."""
    server = serve(read_body)
    for data in (b"", b"G", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"):
        for _ in range(25):
            connect(server).send(data)
    client = connect(server)
    client.send(GET)
    assert client.response().status == 200
    assert len(server.connections) == 101


def test_answer_survives_what_follows_it(serve: Any, connect: Any) -> None:
    """The last answer of a connection arrives although the client has sent far more than is served."""
    client = connect(serve(limits=Limits(requests_per_connection=1)))
    sender = hubbub.spawn(client.send, GET * 20000)
    assert client.rest().count(b"200 OK") == 1
    sender.join()
