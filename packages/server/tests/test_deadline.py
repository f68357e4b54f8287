"""The time limit of a request as a whole."""

from __future__ import annotations

import io
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits
from hubbub_server.http.errors import RequestTimeout

pytestmark = pytest.mark.usefixtures("both_paths")

GET = b"GET /where HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = Limits(request_seconds=0.1)


def sleeper(environ: Any, start_response: Any) -> list[bytes]:
    """Never answers."""
    hubbub.sleep(30)
    raise AssertionError("it was not interrupted")


def test_nothing_sent(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A request that takes too long is a 503, and the log says of which request and where its greenlet stood, once."""
    client = connect(serve(sleeper, limits=SHORT))
    client.send(GET)
    response = client.response()
    assert response.status == 503
    assert response.headers["connection"] == "close"
    assert client.rest() == b""
    said = errors.getvalue()
    assert said.count("GET '/where': the time for the request is over") == 1
    assert "test_deadline.py" in said
    assert " sleeper\n" in said
    assert "the application failed" not in said


def test_part_sent(serve: Any, connect: Any) -> None:
    """If a part of the response was sent the client sees a reset, so that it does not take it for the whole."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"a part"
        hubbub.sleep(30)

    client = connect(serve(application, limits=SHORT))
    client.send(GET)
    client.until(b"a part")
    with pytest.raises(ConnectionResetError):
        client.rest()


def test_all_sent(serve: Any, connect: Any) -> None:
    """A response that is complete is not harmed by what the application does afterwards, nor is the next one."""

    class Lazy:
        def __iter__(self) -> Any:
            return iter([b"all"])

        def close(self) -> None:
            hubbub.sleep(30)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "3")])
        return Lazy()

    client = connect(serve(application, limits=SHORT))
    for _ in range(2):
        client.send(GET)
        assert client.response().body == b"all"


def test_class(serve: Any, connect: Any) -> None:
    """What is raised has a class of its own, is a time limit, and no Exception; the application may clean up."""
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> Any:
        try:
            hubbub.sleep(30)
        except hubbub.Timeout as error:
            seen.append(error)
            hubbub.sleep(0.01)
            raise

    client = connect(serve(application, limits=SHORT))
    client.send(GET)
    assert client.response().status == 503
    assert [type(error) for error in seen] == [RequestTimeout]
    assert not isinstance(seen[0], Exception)


def test_stubborn(serve: Any, connect: Any) -> None:
    """An application that goes on is interrupted again."""
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> Any:
        for _ in range(2):
            try:
                hubbub.sleep(30)
            except RequestTimeout as error:
                seen.append(error)
        hubbub.sleep(30)

    client = connect(serve(application, limits=SHORT))
    client.send(GET)
    assert client.response().status == 503
    assert len(seen) == 2


def test_shield(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """The deadline does not cut what an application protects by a shield: it is interrupted after that, and once; if it
    has got more time meanwhile, not at all."""
    done: list[str] = []
    go_on = hubbub.event.Event()

    def application(environ: Any, start_response: Any) -> Any:
        with hubbub.shield():
            go_on.wait()
            done.append("committed")
            if environ["PATH_INFO"] == "/more":
                environ["hubbub.set_deadline"](None)
                hubbub.sleep(0.01)
                start_response("200 OK", [])
                return [b"ok"]
        try:
            hubbub.sleep(60)
        except hubbub.Timeout:
            done.append("interrupted")
            hubbub.sleep(0.01)
            raise

    server = serve(application, limits=Limits(request_seconds=0.05))
    client = connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with hubbub.Timeout(5):
        while "the time for the request is over" not in errors.getvalue():
            hubbub.sleep(0.01)
    hubbub.sleep(0.01)
    assert done == []
    go_on.set()
    assert client.response().status == 503
    assert done == ["committed", "interrupted"]
    assert errors.getvalue().count("the time for the request is over") == 1
    go_on.clear()
    client = connect(server)
    client.send(b"GET /more HTTP/1.1\r\nHost: x\r\n\r\n")
    with hubbub.Timeout(5):
        while errors.getvalue().count("the time for the request is over") < 2:
            hubbub.sleep(0.01)
    go_on.set()
    assert client.response().body == b"ok"


def test_own_limits_stay(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A time limit of the application's own is not taken for that of the request."""

    def application(environ: Any, start_response: Any) -> Any:
        with hubbub.Timeout(0.01):
            hubbub.sleep(30)

    client = connect(serve(application, limits=Limits(request_seconds=20.0)))
    client.send(GET)
    assert client.response().status == 500
    assert "hubbub.timeout.Timeout" in errors.getvalue()


def test_each_request_has_its_own(serve: Any, connect: Any) -> None:
    """The time begins with each request of a connection anew, and what is between them does not count."""

    def application(environ: Any, start_response: Any) -> Any:
        hubbub.sleep(0.15)
        start_response("200 OK", [])
        return [b"ok"]

    client = connect(serve(application, limits=Limits(request_seconds=0.4)))
    for _ in range(4):
        client.send(GET)
        assert client.response().status == 200
        hubbub.sleep(0.05)


def test_slow_client(serve: Any, connect: Any) -> None:
    """The time that the client takes counts, however steadily its body drips."""

    def application(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read()
        raise AssertionError("it was not interrupted")

    client = connect(serve(application, limits=Limits(request_seconds=0.2, body_rate=1)))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")

    def drip() -> None:
        while True:
            client.send(b"xx")
            hubbub.sleep(0.01)

    dripper = hubbub.spawn(drip)
    try:
        assert client.response("POST").status == 503
    finally:
        dripper.kill()


@pytest.mark.parametrize("seconds", [0.3, None])
def test_hook_gives_more(serve: Any, connect: Any, seconds: float | None) -> None:
    """An application can give a request more time than others have."""

    def application(environ: Any, start_response: Any) -> Any:
        for _ in range(4):
            environ["hubbub.set_deadline"](seconds)
            hubbub.sleep(0.1)
        start_response("200 OK", [])
        return [b"ok"]

    client = connect(serve(application, limits=SHORT))
    client.send(GET)
    assert client.response().status == 200


def test_hook_gives_less(serve: Any, connect: Any) -> None:
    """It can give one less, and where there is no limit, one."""

    def application(environ: Any, start_response: Any) -> Any:
        environ["hubbub.set_deadline"](0.05)
        hubbub.sleep(30)

    client = connect(serve(application))
    client.send(GET)
    assert client.response().status == 503


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_hook_refuses(serve: Any, connect: Any, seconds: float) -> None:
    """What is no time is refused."""

    def application(environ: Any, start_response: Any) -> Any:
        with pytest.raises(ValueError, match="seconds above 0"):
            environ["hubbub.set_deadline"](seconds)
        start_response("200 OK", [])
        return [b"refused"]

    client = connect(serve(application))
    client.send(GET)
    assert client.response().body == b"refused"


def test_hook_elsewhere(serve: Any, connect: Any) -> None:
    """In another greenlet than that of the request the hook does not know which is meant, and says so."""

    def application(environ: Any, start_response: Any) -> Any:
        other = hubbub.spawn(environ["hubbub.set_deadline"], 1.0)
        other.join()
        start_response("200 OK", [])
        return [type(other.exception).__name__.encode()]

    client = connect(serve(application))
    client.send(GET)
    assert client.response().body == b"RuntimeError"
