"""Access logs."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hubbub_server.http.accesslog import AccessLog, Entry, LogStream

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nReferer: http://r/\r\nUser-Agent: ua\r\nConnection: close\r\n\r\n"
COMMON = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /a\?b HTTP/1\.1" 200 5 '


def test_common(serve: Any, talk: Any) -> None:
    """The common format has the client, the time, the request, the status, the bytes and the seconds."""
    log = io.StringIO()
    talk(serve(log=log), GET)
    assert re.fullmatch(COMMON + r"\d+\.\d{6}\n", log.getvalue())


def test_combined(serve: Any, talk: Any) -> None:
    """The combined format adds the referer and the user agent."""
    log = io.StringIO()
    talk(serve(log=log, log_format="combined"), GET)
    assert re.fullmatch(COMMON + r'"http://r/" "ua" \d+\.\d{6}\n', log.getvalue())


def test_json(serve: Any, talk: Any) -> None:
    """The JSON format is one object per line."""
    log = io.StringIO()
    talk(serve(log=log, log_format="json"), GET)
    line = json.loads(log.getvalue())
    assert (line["status"], line["bytes"], line["request"]) == (200, 5, "GET /a?b HTTP/1.1")
    assert (line["address"], line["referer"], line["agent"]) == ("127.0.0.1", "http://r/", "ua")


def test_own_format(serve: Any, talk: Any) -> None:
    """A function makes any line."""
    log = io.StringIO()
    talk(serve(log=log, log_format=lambda entry: f"{entry.status}!"), GET)
    assert log.getvalue() == "200!\n"


def test_response_in_own_format(serve: Any, talk: Any) -> None:
    """A function is told the status and the fields of the response, but for a request that was refused."""
    seen: list[Any] = []

    def note(entry: Entry) -> str:
        seen.append(None if entry.response is None else (entry.response.status, entry.response.fields))
        return ""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 As wished", [("X-Y", "a: b"), ("Content-Length", "2")])
        return [b"ok"]

    server = serve(application, log=io.StringIO(), log_format=note)
    talk(server, GET)
    talk(server, b"bad\r\n\r\n")
    assert seen == [("200 As wished", [("X-Y", "a: b"), ("Content-Length", "2")]), None]


@pytest.mark.parametrize("form", ["common", "combined", "json"])
def test_nothing_is_injected(serve: Any, talk: Any, form: str) -> None:
    """No client writes a line, a quote or a terminal's escape code into the log."""
    log = io.StringIO()
    server = serve(log=log, log_format=form)
    talk(server, b'GET /"x\x1b[2J\\%s%n{0} HTTP/1.1\r\nHost: x\r\n\r\n')
    talk(server, b'GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: "\\\xe9%s" 1 2\r\nConnection: close\r\n\r\n')
    talk(server, b'\x1b]0;x\x07"\n\r\n\r\n')
    assert log.getvalue().count("\n") == 3
    assert log.getvalue().isascii()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log.getvalue())
    for line in log.getvalue().splitlines():
        assert json.loads(line) if form == "json" else line.count('"') in (2, 6)


def test_refused_requests_are_logged(serve: Any, talk: Any) -> None:
    """A request that was refused is in the log with its status."""
    log = io.StringIO()
    talk(serve(log=log), b"GET / HTTP/1.1\r\n\r\n")
    assert '"GET / HTTP/1.1" 400 ' in log.getvalue()


def test_failed_application(serve: Any, talk: Any) -> None:
    """A request whose application failed is logged as 500."""
    log = io.StringIO()
    talk(serve(lambda environ, start_response: 1 // 0, log=log), GET)
    assert '" 500 ' in log.getvalue()


def test_logger(serve: Any, talk: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A logger of the logging module is a log."""
    with caplog.at_level(logging.INFO, logger="test.access"):
        talk(serve(log=logging.getLogger("test.access")), GET)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert '"GET /a?b HTTP/1.1" 200' in caplog.text


def test_default(serve: Any, talk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By default the log goes to stderr; None silences it."""
    talk(serve(log="default"), GET)
    assert "GET /a?b" in capsys.readouterr().err
    talk(serve(log=None), GET)
    assert capsys.readouterr().err == ""


def test_log_that_cannot_be_written(serve: Any, talk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk does not stop the server: lines are dropped, counted and complained of once."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        server = serve(log=full)
        for _ in range(3):
            assert b" 200 OK" in talk(server, GET)
        assert server.access_log.stream.dropped == 3
        with pytest.raises(OSError):
            full.close()
    assert capsys.readouterr().err.count("cannot write to the log") == 1


def test_error_log_is_wsgi_errors(serve: Any, talk: Any, errors: io.StringIO) -> None:
    """wsgi.errors is the error log."""

    def application(environ: Any, start_response: Any) -> Any:
        environ["wsgi.errors"].write("said\n")
        environ["wsgi.errors"].writelines(["more\n"])
        environ["wsgi.errors"].flush()
        start_response("200 OK", [])
        return []

    talk(serve(application), GET)
    assert errors.getvalue() == "said\nmore\n"


@pytest.mark.parametrize("target", [5, object()])
def test_bad_targets(target: object) -> None:
    """What cannot be written to is refused."""
    with pytest.raises(TypeError):
        LogStream(target)


def test_bad_format() -> None:
    """An unknown format is refused, and the known ones are named."""
    with pytest.raises(ValueError, match="common, combined, json"):
        AccessLog(LogStream(io.StringIO()), "other")


def test_user_with_spaces() -> None:
    """A user's name cannot pass for other parts of the line."""
    log = io.StringIO()
    entry = Entry("::1", "GET / HTTP/1.1", 200, 0, 0.5, {"REMOTE_USER": 'a "b'})
    AccessLog(LogStream(log)).write(entry)
    assert " a\\x20\\x22b [" in log.getvalue()


EVIL = 'x"\r\n10.0.0.1 - - [now] "GET / HTTP/1.1" 200 - 0 \x1b[2J\x07\x7f\x85\x9b31m\u2028\u2029\u202e\ud800 y'


@pytest.mark.parametrize("form", ["common", "combined", "json", lambda entry: f"{entry.address} {entry.environ}"])
@pytest.mark.parametrize("key", ["REMOTE_ADDR", "REMOTE_USER", "HTTP_REFERER", "HTTP_USER_AGENT", "SERVER_PROTOCOL"])
def test_nothing_is_forged(serve: Any, talk: Any, form: Any, key: str) -> None:
    """No value that an application or a client may set makes a line, ends a field or moves a cursor."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ[key] = EVIL
        start_response("200 OK", [])
        return [b"ok"]

    log = io.StringIO()
    talk(serve(application, log=log, log_format=form), GET)
    line = log.getvalue()
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", line)
    if form == "json":
        fields = json.loads(line)
        assert set(fields) == {
            "time", "address", "user", "request", "status", "bytes", "seconds", "referer", "agent",
        }  # fmt: skip
    elif isinstance(form, str):
        assert line.count('"') == (2 if form == "common" else 6)
        head = line.partition("[")[0]
        assert head.count(" ") == 3


class Evil:
    """What an application might leave in an environ."""

    def __str__(self) -> str:
        raise ZeroDivisionError("evil")

    __repr__ = __str__


@pytest.mark.parametrize("form", ["common", "combined", "json"])
@pytest.mark.parametrize("value", [None, 5, b"\n", Evil(), ["a\n"], {}])
def test_other_types_in_the_environ(serve: Any, connect: Any, form: str, value: Any) -> None:
    """Whatever an application leaves in its environ costs fields of its log, and neither connection nor line."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        for key in list(environ):
            environ[key] = value
        environ["REMOTE_USER"] = value
        start_response("200 OK", [])
        return [b"ok"]

    log = io.StringIO()
    client = connect(serve(application, log=log, log_format=form))
    for _ in range(2):
        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response().body == b"ok"
    assert log.getvalue().count("GET /a HTTP/1.1") == log.getvalue().count("\n") == 2


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("form", ["common", "combined", "json"])
def test_cleared_environ(serve: Any, connect: Any, errors: io.StringIO, form: str, fails: bool) -> None:
    """An application that clears its environ is served, logged, and its failure is."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ.clear()
        if fails:
            raise ZeroDivisionError
        start_response("200 OK", [])
        return [b"ok"]

    log = io.StringIO()
    client = connect(serve(application, log=log, log_format=form))
    client.send(GET)
    assert client.response().status == (500 if fails else 200)
    assert client.rest() == b""
    assert "GET /a?b HTTP/1.1" in log.getvalue()
    assert ("ZeroDivisionError" in errors.getvalue()) == fails


@pytest.mark.parametrize("result", [ZeroDivisionError, None, 5, b"line"])
def test_format_that_fails(serve: Any, connect: Any, capsys: pytest.CaptureFixture[str], result: Any) -> None:
    """A format function that raises, or makes no text, costs its line, and is complained of once."""

    def form(entry: Entry) -> Any:
        if isinstance(result, type):
            raise result("bad format")
        return result

    server = serve(log=io.StringIO(), log_format=form)
    client = connect(server)
    for _ in range(3):
        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response().status == 200
    assert server.access_log.stream.dropped == 3
    assert capsys.readouterr().err.count("cannot write to the log") == 1


def test_error_log_is_not_forged(serve: Any, talk: Any, errors: io.StringIO) -> None:
    """What an error or a request line says begins no line of the error log, and moves no cursor."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["REQUEST_METHOD"] = EVIL
        raise ValueError(EVIL)

    talk(serve(application), GET)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", errors.getvalue())
    assert not re.search("^10", errors.getvalue(), re.MULTILINE)
