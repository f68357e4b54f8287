"""The stream of events, and the ids of requests."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits
from hubbub_server.events import EventLog, new_request_id, request_id, valid_request_id

GET = b"GET /there?x HTTP/1.1\r\nHost: x\r\nUser-Agent: me\r\n\r\n"
ID = re.compile("[0-9a-f]{32}")


class Seen(list[dict[str, Any]]):
    """Events, as a function that is called with each."""

    def __call__(self, event: str, **fields: Any) -> None:
        self.append({"event": event, **fields})

    def named(self, event: str) -> list[dict[str, Any]]:
        return [found for found in self if found["event"] == event]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def name(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says what the request is called, in each way."""
    elsewhere = hubbub.spawn(request_id.get).get()
    start_response("200 OK", [])
    names = environ["hubbub.request_id"], environ["HTTP_X_REQUEST_ID"], request_id.get(), elsewhere
    return [" ".join(map(str, names)).encode()]


# Formats --------------------------------------------------------------------------------------------------------------


def test_json() -> None:
    """An event is one line of JSON with its time, in UTC, and the process; whatever the values are."""
    stream = io.StringIO()
    EventLog(stream).write("x", number=1, text='a"b\n\x7f\u2028é', nothing=None, strange=object(), many=["a", "b"])
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])
    assert (found["event"], found["pid"], found["number"], found["nothing"]) == ("x", os.getpid(), 1, None)
    assert (found["text"], found["many"]) == ('a"b\n\x7f\u2028é', ["a", "b"])


def test_text() -> None:
    """As text it is the event and its fields, and no value looks like two, or like another field."""
    stream = io.StringIO()
    EventLog(stream, "text").write("x", plain="a/b", blank="a b=c", line='a\n"\x7f', empty="", number=1.5)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("x time=20")
    assert line.endswith(r' plain=a/b blank="a b=c" line="a\n\"\u007f" empty="" number=1.5')


def test_function(seen: Seen) -> None:
    """A function is called with the event and the fields, as loggers of structlog are."""
    EventLog(seen).write("x", number=1)
    (found,) = seen
    assert (found["event"], found["number"]) == ("x", 1)


@pytest.mark.parametrize(("target", "form", "error"), [(3, "json", TypeError), (io.StringIO(), "xml", ValueError)])
def test_refused(target: Any, form: str, error: type[Exception]) -> None:
    """What cannot be written to, and formats that there are not, are refused."""
    with pytest.raises(error):
        EventLog(target, form)


def test_target_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A target that raises costs the event, is complained of once, and harms nobody."""

    def fail(event: str, **fields: Any) -> None:
        raise RuntimeError("full")

    log = EventLog(fail)
    for _ in range(3):
        log.write("x")
    assert log.stream.dropped == 3
    assert capsys.readouterr().err.count("full") == 1


# Servers --------------------------------------------------------------------------------------------------------------


def test_requests(serve: Any, connect: Any, seen: Seen) -> None:
    """Each response is an event, with an access log or without one; one that was refused too."""
    lines = io.StringIO()
    for log in (None, lines):
        client = connect(serve(events=EventLog(seen), log=log))
        client.send(GET)
        client.response()
        client.send(b"nonsense\r\n\r\n")
        client.rest()
    assert lines.getvalue().count("\n") == 2
    good, bad = seen.named("request")[:2]
    assert (good["request"], good["status"], good["bytes"], good["agent"]) == ("GET /there?x HTTP/1.1", 200, 5, "me")
    assert (good["address"], good["request_id"]) == ("127.0.0.1", None)
    assert (bad["request"], bad["status"]) == ("nonsense", 400)
    assert len(seen.named("request")) == 4


def test_errors(serve: Any, connect: Any, seen: Seen, errors: io.StringIO) -> None:
    """What the application does wrong is an event that says of which request; its traceback is a list of lines."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.errors"].write("a word\x1b\n")
        if environ["PATH_INFO"] == "/short":
            start_response("200 OK", [("Content-Length", "5")])
            return [b"abc"]
        raise LookupError("not\x1bhere\nat all")

    server = serve(application, events=EventLog(seen), request_ids=True)
    client = connect(server)
    client.send(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
    client.rest()
    client = connect(server)
    client.send(GET)
    name = client.response().headers["x-request-id"]
    (short,), (failed,) = seen.named("error"), seen.named("exception")
    assert "2 bytes less" in short["message"]
    assert (failed["request_id"], failed["method"], failed["target"]) == (name, "GET", "/there?x")
    assert (failed["error"], failed["message"]) == ("builtins.LookupError", "not?here\nat all")
    assert failed["traceback"][0].startswith("Traceback")
    assert any("test_events.py" in line for line in failed["traceback"])
    assert [word["message"] for word in seen.named("log")] == ["a word\\x1b"] * 2
    assert seen.named("log")[1]["request_id"] == name
    assert f"GET '/there?x' ({name}): the application failed\n" in errors.getvalue()


def test_deadline(serve: Any, connect: Any, seen: Seen) -> None:
    """A request that was interrupted is an event with the place where it stood."""

    def sleeper(environ: dict[str, Any], start_response: Any) -> Any:
        hubbub.sleep(30)

    client = connect(serve(sleeper, events=EventLog(seen), limits=Limits(request_seconds=0.1), request_ids=True))
    client.send(GET)
    name = client.response().headers["x-request-id"]
    (found,) = seen.named("error")
    assert found["request_id"] == name
    assert "sleeper" in found["message"]


def test_life(serve: Any, seen: Seen) -> None:
    """A server's beginning and end are events, each once, with its address."""
    server = serve(events=EventLog(seen))
    address = server.address
    server.stop()
    server.stop()
    assert [found["event"] for found in seen] == ["listening", "stopping", "stopped"]
    assert {found["address"] for found in seen} == {address}


# Ids ------------------------------------------------------------------------------------------------------------------


def test_ids(serve: Any, connect: Any, seen: Seen) -> None:
    """Each request has its own id in the environ, the context, the response and the log; never what a client says."""
    client = connect(serve(name, events=EventLog(seen), request_ids=True))
    names = []
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n")
        response = client.response()
        (said,) = set(response.body.decode().split())
        assert response.headers["x-request-id"] == said
        names.append(said)
    assert len(set(names)) == 2
    assert all(ID.fullmatch(said) for said in names)
    assert [found["request_id"] for found in seen.named("request")] == names


@pytest.mark.parametrize(
    ("given", "kept"), [("from-the.proxy_1", True), ("a b", False), ("x" * 128, True), ("x" * 129, False), ('"', False)]
)
def test_id_of_a_proxy(serve: Any, connect: Any, given: str, kept: bool) -> None:
    """That of a proxy that is believed is taken over if it is one."""
    client = connect(serve(name, request_ids=True, forwarded_from=["127.0.0.1"]))
    client.send(f"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: {given}\r\n\r\n".encode())
    said = client.response().headers["x-request-id"]
    assert (said == given) == kept
    assert kept or ID.fullmatch(said)


def test_id_of_the_application(serve: Any, connect: Any) -> None:
    """An application that says what the request is called in its response is not contradicted."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("x-request-id", "own")])
        return [b""]

    client = connect(serve(application, request_ids=True))
    client.send(GET)
    assert client.until(b"\r\n\r\n").lower().count(b"x-request-id: own") == 1


@pytest.mark.parametrize("way", ["whole", "pieces", "file", "head", "error", "204"])
def test_id_in_every_response(serve: Any, connect: Any, way: str, tmp_path: Path) -> None:
    """The id is in the response once, however that is sent, and the response is as valid as without."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if way == "error":
            raise LookupError
        start_response("204 No Content" if way == "204" else "200 OK", [])
        if way == "file":
            return environ["wsgi.file_wrapper"](path.open("rb"))
        if way == "204":
            return []
        return iter([b"12", b"345"]) if way == "pieces" else [b"12345"]

    method = "HEAD" if way == "head" else "GET"
    client = connect(serve(application, request_ids=True))
    client.send(GET.replace(b"GET", method.encode()))
    response = client.response(method)
    assert ID.fullmatch(response.headers["x-request-id"])
    assert (response.status, response.body) == {
        "error": (500, b"500 Internal Server Error\nThe server failed.\n"),
        "204": (204, b""),
        "head": (200, b""),
    }.get(way, (200, b"12345"))


def test_no_ids_unasked(serve: Any, connect: Any) -> None:
    """Without being asked for there are none."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr((environ.get("hubbub.request_id"), environ.get("HTTP_X_REQUEST_ID"))).encode()]

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: theirs\r\n\r\n")
    response = client.response()
    assert "x-request-id" not in response.headers
    assert response.body == b"(None, 'theirs')"


def test_made_ids() -> None:
    """An id that is made is one that may be taken over."""
    made = {new_request_id() for _ in range(100)}
    assert len(made) == 100
    assert all(map(valid_request_id, made))


# The command ----------------------------------------------------------------------------------------------------------

SITE = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="signals and fork")
@pytest.mark.parametrize("workers", [[], ["-w", "1"]])
def test_command(tmp_path: Path, workers: list[str]) -> None:
    """--events has everything in one file, the supervisor's words too, which is opened anew; other logs are off."""
    (tmp_path / "site_app.py").write_text(SITE)
    file, moved, sock = tmp_path / "events", tmp_path / "moved", tmp_path / "sock"
    command = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"unix:{sock}", "--no-monkey"]
    options = ["--events", str(file), "--request-ids", *workers]
    with subprocess.Popen([*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            ask(sock)
            file.rename(moved)
            process.send_signal(signal.SIGUSR1)
            wait_for(file.exists)
            ask(sock)
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stderr is not None
        assert "GET" not in process.stderr.read()
    first, last = events_of(moved.read_text()), events_of(file.read_text())
    assert [found["event"] for found in first if found["event"] != "supervisor"] == ["listening", "request"]
    assert [found["event"] for found in last if found["event"] != "supervisor"] == ["request", "stopping", "stopped"]
    assert any(found["event"] == "supervisor" for found in first) == bool(workers)
    assert all(ID.fullmatch(found["request_id"]) for found in (*first, *last) if found["event"] == "request")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tmp_path: Path) -> None:
    """Events that cannot be written stop nothing; the command serves and ends as it would."""
    (tmp_path / "site_app.py").write_text(SITE)
    sock = tmp_path / "sock"
    command = [sys.executable, "-m", "hubbub_server", "site_app:app", "-b", f"unix:{sock}", "--no-monkey"]
    with subprocess.Popen(
        [*command, "-w", "1", "--events", "/dev/full"], cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(3):
                ask(sock)
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_lost_events() -> None:
    """That events were lost is an event itself, so that the stream stays what it is."""
    stream = io.StringIO()
    for form in ("json", "text"):
        line = EventLog(stream, form).lost_line(7)
        assert line.endswith("\n")
        assert line.startswith("lost " if form == "text" else "{")
    assert json.loads(EventLog(stream).lost_line(7))["lines"] == 7


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(path: Path) -> None:
    """One request, once the server is there."""
    deadline = time.monotonic() + 30
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(30)
        while True:
            try:
                sock.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        sock.sendall(GET)
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
