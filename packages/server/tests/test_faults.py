"""What an application does wrong, and when, against what its client sees.

The client must be able to tell a whole response from a cut one, and no byte of one response may stand where another is
expected. This table is the promise; the README has it in words.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hubbub
import pytest
from hubbub_server.http.filewrapper import plain_file

pytestmark = pytest.mark.usefixtures("both_paths")

BODY = b"hello world"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


class Case(NamedTuple):
    """How a request is made and its response framed."""

    request: bytes
    status: str = "200 OK"
    length: bool = False
    bodiless: bool = False
    persists: bool = True


CASES = {
    "1.0": Case(b"GET / HTTP/1.0\r\n\r\n", persists=False),
    "1.0 length": Case(b"GET / HTTP/1.0\r\n\r\n", length=True, persists=False),
    "1.0 kept": Case(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", length=True),
    "1.1 length": Case(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", length=True),
    "1.1 chunked": Case(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "HEAD": Case(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", bodiless=True),
    "HEAD length": Case(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", length=True, bodiless=True),
    "204": Case(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "204 No Content", bodiless=True),
    "304": Case(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "304 Not Modified", bodiless=True),
}


class Failure(Exception):
    """What applications raise here."""


class Strange(BaseException):
    """Nor is everything an Exception."""


class Body:
    """An iterable with a close() of its own."""

    def __init__(self, pieces: Iterator[Any], close: Callable[[], object]) -> None:
        self._pieces = pieces
        self.close = close

    def __iter__(self) -> Iterator[Any]:
        return self._pieces


def fail(error: Any = Failure) -> Any:
    raise error


def begun(case: Case, start_response: Any) -> Any:
    headers = [("Content-Length", str(len(BODY)))] if case.length else []
    return start_response(case.status, headers)


def pieces(*given: Any, then: Callable[[], object] = lambda: None) -> Iterator[Any]:
    yield from given
    then()


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 1000


Application = Callable[[Case, Any], Any]
FAULTS: dict[str, Application] = {
    "nothing": lambda case, start: (begun(case, start), pieces(b"hello ", b"world"))[1],
    "raises before start_response": lambda case, start: fail(),
    "never calls start_response": lambda case, start: [b"x"],
    "raises after start_response": lambda case, start: (begun(case, start), fail())[1],
    "raises at the first piece": lambda case, start: (begun(case, start), pieces(then=fail))[1],
    "raises after a piece": lambda case, start: (begun(case, start), pieces(b"hello ", then=fail))[1],
    "raises after the last piece": lambda case, start: (begun(case, start), pieces(BODY, then=fail))[1],
    "raises after write()": lambda case, start: (begun(case, start)(b"hello "), fail())[1],
    "close() raises": lambda case, start: (begun(case, start), Body(pieces(BODY), fail))[1],
    "close() exits": lambda case, start: (begun(case, start), Body(pieces(BODY), sys.exit))[1],
    "close() of nothing raises": lambda case, start: (begun(case, start), Body(pieces(), fail))[1],
    "close() raises after a failure": lambda case, start: (
        begun(case, start),
        Body(pieces(b"hello ", then=fail), fail),
    )[1],
    "close() writes": lambda case, start: (lambda write: Body(pieces(BODY), lambda: write(b"evil")))(
        begun(case, start)
    ),
    "close() starts a response": lambda case, start: (
        begun(case, start),
        Body(pieces(BODY), lambda: start("200 OK", [])),
    )[1],
    "too few bytes": lambda case, start: (begun(case, start), pieces(b"hello "))[1],
    "too few bytes at once": lambda case, start: (begun(case, start), [b"hello "])[1],
    "too many bytes": lambda case, start: (begun(case, start), pieces(BODY, b"evil"))[1],
    "too many bytes at once": lambda case, start: (begun(case, start), [BODY + b"evil"])[1],
    "start_response twice": lambda case, start: (begun(case, start), begun(case, start), [BODY])[2],
    "start_response in the middle": lambda case, start: (
        begun(case, start),
        pieces(b"hello ", then=lambda: begun(case, start)),
    )[1],
    "exc_info after the head": lambda case, start: (
        begun(case, start),
        pieces(b"hello ", then=lambda: start("500 No", [], (Failure, Failure("too late"), None))),
    )[1],
    "text instead of bytes": lambda case, start: (begun(case, start), ["hello world"])[1],
    "text after bytes": lambda case, start: (begun(case, start), pieces(b"hello ", "world"))[1],
    "a number after bytes": lambda case, start: (begun(case, start), pieces(b"hello ", 5))[1],
    "no iterable": lambda case, start: (begun(case, start), None)[1],
    "a bad header": lambda case, start: start("200 OK", [("X", "a\r\nY: b")]),
    "a bad status": lambda case, start: start("OK", []),
    "exits before start_response": lambda case, start: sys.exit(3),
    "exits after a piece": lambda case, start: (begun(case, start), pieces(b"hello ", then=sys.exit))[1],
    "a BaseException before": lambda case, start: fail(Strange),
    "a BaseException after a piece": lambda case, start: (
        begun(case, start),
        pieces(b"hello ", then=lambda: fail(Strange)),
    )[1],
    "a Timeout of its own": lambda case, start: fail(hubbub.Timeout(1)),
    "GreenletExit before": lambda case, start: fail(hubbub.GreenletExit),
    "GreenletExit after a piece": lambda case, start: (
        begun(case, start),
        pieces(b"hello ", then=lambda: fail(hubbub.GreenletExit)),
    )[1],
}

REFUSED = "an error, then the end"
WHOLE = "the whole"
CLOSED = "the whole, then the end"
CUT = "less than was declared"
RESET = "a reset"


def expected(fault: str, case: Case) -> str:
    """What the client sees."""
    whole = WHOLE if case.persists else CLOSED
    if fault == "nothing" or fault in (
        "close() raises", "close() exits", "close() writes", "close() starts a response",
    ):  # fmt: skip
        return whole
    if fault == "close() of nothing raises":
        return whole if case.bodiless or not case.length else RESET
    if fault.startswith("too few"):
        return whole if case.bodiless or not case.length else CUT
    if fault.startswith("too many"):
        return whole if not case.length or case.bodiless else CLOSED
    if fault == "raises after the last piece":
        return whole if case.length or case.bodiless else RESET
    if fault == "GreenletExit after a piece" and case.bodiless:
        return CLOSED  # the connection's greenlet is what was ended
    if "after a piece" in fault or "after bytes" in fault or "in the middle" in fault or fault in (
        "raises after write()", "exc_info after the head", "close() raises after a failure",
    ):  # fmt: skip
        return whole if case.bodiless else RESET
    return REFUSED


def seen(client: Any, case: Case, fault: str) -> str:
    """The response to ``case``, and whether the connection goes on after it."""
    client.send(case.request)
    try:
        answer = client.until(b"\r\n\r\n")
        head = answer.lower()
        assert head.startswith((b"http/1.1 " + case.status[:3].encode(), b"http/1.1 50")), head
        if head.startswith(b"http/1.1 50"):
            assert b"connection: close" in head
            client.rest()
            return REFUSED
        body = b""
        wanted = {"too many bytes": BODY + b"evil", "too many bytes at once": BODY + b"evil"}.get(fault, BODY)
        wanted = {"close() of nothing raises": b""}.get(fault, wanted)
        if fault.startswith("too few"):
            wanted = b"hello " if not case.length else BODY
        if case.bodiless:
            assert case.status[0:3] != "204" or b"content-length" not in head
        elif b"transfer-encoding: chunked" in head:
            coded = client.until(b"0\r\n\r\n")
            while coded != b"0\r\n\r\n":
                size, _, coded = coded.partition(b"\r\n")
                body += coded[: int(size, 16)]
                coded = coded[int(size, 16) + 2 :]
        elif b"content-length: " in head:
            length = int(head.partition(b"content-length: ")[2].split()[0])
            body, client.received = client.received, b""
            while len(body) < length and (piece := client.sock.recv(1000)):
                body += piece
            if len(body) < length:
                return CUT
            client.received, body = body[length:], body[:length]
            wanted = wanted[:length]
        else:
            body = client.received + client.rest()
            client.received = b""
        assert case.bodiless or body == wanted, body
    except ConnectionResetError:
        return RESET
    try:
        client.send(NEXT)
        answer = client.received + client.sock.recv(1000)
    except OSError:
        answer = b""
    if not answer or b"connection: close" in head or not case.persists:
        assert answer == b"", answer
        return CLOSED
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    assert answer.endswith(b"\r\n\r\nnext"), answer
    return WHOLE


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(serve: Any, connect: Any, errors: io.StringIO, fault: str, name: str) -> None:
    """The client sees what the table says, whatever comes next is not mixed with it, and the fault is in the log."""
    case = CASES[name]

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/next":
            start_response("200 OK", [])
            return [b"next"]
        return FAULTS[fault](case, start_response)

    assert seen(connect(serve(application)), case, fault) == expected(fault, case)
    if fault != "nothing" and not fault.startswith(("too", "GreenletExit")):
        assert errors.getvalue().count("the application failed") == 1
    if expected(fault, case) == CUT or (fault.startswith("too") and case.length and not case.bodiless):
        assert "Content-Length" in errors.getvalue()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.bodiless or case.length])
def test_endless_body(serve: Any, connect: Any, name: str) -> None:
    """A body without end that nobody is to get holds up neither its connection nor others, and is closed."""
    case = CASES[name]
    closed = []

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/next":
            start_response("200 OK", [])
            return [b"next"]
        begun(case, start_response)
        return Body(endless(), lambda: closed.append(True))

    server = serve(application)
    client, other = connect(server), connect(server)
    client.send(case.request)
    client.until(b"\r\n\r\n")
    other.send(NEXT)
    assert other.response().body == b"next"
    while not closed:
        hubbub.sleep(0.01)


@pytest.mark.parametrize("piece", [b"", b"x"])
def test_client_leaves_an_endless_body(serve: Any, connect: Any, piece: bytes) -> None:
    """A body without end ends with its client, and lets others have their turn before."""
    closed = []

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/next":
            start_response("200 OK", [])
            return [b"next"]

        def body() -> Iterator[bytes]:
            try:
                yield b"begun"
                while True:
                    yield piece
            finally:
                closed.append(True)

        start_response("200 OK", [])
        return body()

    server = serve(application)
    client, other = connect(server), connect(server)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.until(b"begun")
    other.send(NEXT)
    assert other.response().body == b"next"
    client.sock.close()
    if piece:
        while not closed:
            hubbub.sleep(0.01)


@pytest.mark.parametrize("what", ["write", "upgrade", "socket"])
def test_kept_for_later(serve: Any, connect: Any, what: str) -> None:
    """What an application keeps of a request does nothing to the connection once the response has ended."""
    kept: list[Any] = []
    seen: list[type[BaseException]] = []

    def application(environ: Any, start_response: Any) -> Any:
        if kept:
            try:
                kept[0]()
            except AssertionError as error:
                seen.append(type(error))
            start_response("200 OK", [])
            return [b"second"]
        write = start_response("200 OK", [])
        if what == "write":
            kept.append(lambda: write(b"evil"))
        elif what == "upgrade":
            kept.append(environ["hubbub.upgrade"])
        else:
            kept.append(lambda: environ["werkzeug.socket"].sendall(b"evil"))
        return [b"first"]

    client = connect(serve(application))
    for body in (b"first", b"second", b"second"):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n")
        assert client.response().body == body
    assert seen == [AssertionError] * 2


def test_upgrade_in_the_middle(serve: Any, connect: Any, errors: io.StringIO) -> None:
    """A connection is not handed over once the response has begun; the response is broken off."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])(b"hello ")
        environ["hubbub.upgrade"]()
        return []

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: y\r\n\r\n")
    client.until(b"hello ")
    with pytest.raises(ConnectionResetError):
        client.rest()
    assert "in the middle" in errors.getvalue()


@pytest.mark.parametrize("when", ["before", "between"])
def test_keyboard_interrupt(serve: Any, connect: Any, hub: Any, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt goes to the main greenlet, and a client does not take a part for the whole."""
    seen: list[BaseException] = []
    monkeypatch.setattr(hub, "handle_system_error", lambda kind, error, traceback=None: seen.append(error))
    monkeypatch.setattr(hub, "exception_stream", io.StringIO())

    def application(environ: Any, start_response: Any) -> Any:
        if when == "before":
            raise KeyboardInterrupt
        start_response("200 OK", [])
        return pieces(b"hello ", then=lambda: fail(KeyboardInterrupt))

    client = connect(serve(application))
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    if when == "before":
        assert client.rest() == b""
    else:
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert [type(error) for error in seen] == [KeyboardInterrupt]


def test_killed_by_stop(serve: Any, connect: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that stop() cuts off is reset, one that had not begun is a 503."""
    monkeypatch.setattr(hub, "exception_stream", io.StringIO())

    def application(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/begun":
            start_response("200 OK", [])
            yield b"hello "
        hubbub.sleep(100)
        raise AssertionError("not killed")

    server = serve(application)
    begun, waiting = connect(server), connect(server)
    begun.send(b"GET /begun HTTP/1.0\r\n\r\n")
    waiting.send(b"GET /waiting HTTP/1.0\r\n\r\n")
    begun.until(b"hello ")
    hubbub.sleep(0.01)
    server.stop(0.05)
    with pytest.raises(ConnectionResetError):
        begun.rest()
    assert waiting.response().status == 503


def test_tls_client_can_tell(serve: Any, connect: Any, certificate: Any) -> None:
    """Over TLS a response that was cut off does not end with a close_notify, as a whole one does."""
    net = pytest.importorskip("hubbub_net.ssl")
    authority, leaf = certificate
    context, trusting = net.SSLContext(net.PROTOCOL_TLS_SERVER), net.SSLContext(net.PROTOCOL_TLS_CLIENT)
    leaf.configure_cert(context)
    authority.configure_trust(trusting)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return pieces(b"hello ", then=(fail if environ["PATH_INFO"] == "/bad" else lambda: None))

    server = serve(application, ssl_context=context)
    for path, whole in ((b"/good", True), (b"/bad", False)):
        client = connect(server)
        client.sock = trusting.wrap_socket(client.sock, server_hostname="localhost", suppress_ragged_eofs=False)
        client.send(b"GET %b HTTP/1.0\r\n\r\n" % path)
        client.until(b"hello ")
        if whole:
            assert client.rest() == b""
        else:
            with pytest.raises(OSError):
                client.rest()


# Files ---------------------------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 400


class Odd(io.FileIO):
    """A file that reads otherwise than it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).swapcase()


def binary(path: Path, mode: str = "rb", buffering: int = -1) -> Any:
    return open(path, mode, buffering)  # the server closes it


def opened(kind: str, folder: Path) -> tuple[Any, bytes]:
    """A file of a kind, and what it reads."""
    plain = folder / "plain"
    plain.write_bytes(CONTENT)
    if kind == "plain":
        return binary(plain), CONTENT
    if kind == "unbuffered":
        return binary(plain, buffering=0), CONTENT
    if kind == "offset":
        file = binary(plain)
        file.seek(1000)
        return file, CONTENT[1000:]
    if kind == "read ahead":
        file = binary(plain)
        file.read(7)
        return file, CONTENT[7:]
    if kind == "beyond its end":
        file = binary(plain)
        file.seek(10 * len(CONTENT))
        return file, b""
    if kind == "read and written":
        both = binary(plain, "r+b")
        both.write(b"fresh")
        both.seek(2)
        return both, b"esh" + CONTENT[5:]
    if kind == "temporary":
        temporary = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115  # the server closes it
        temporary.write(CONTENT)
        temporary.seek(3)
        return temporary, CONTENT[3:]
    if kind == "subclass":
        return Odd(plain), CONTENT.swapcase()
    if kind == "subclass, buffered":
        return io.BufferedReader(Odd(plain)), CONTENT
    if kind == "empty":
        plain.write_bytes(b"")
        return binary(plain), b""
    if kind == "proc":
        return binary(Path("/proc/version")), Path("/proc/version").read_bytes()
    if kind == "memory":
        return io.BytesIO(CONTENT), CONTENT
    if kind == "pipe":
        reader, writer = os.pipe()
        threading.Thread(target=lambda: (os.write(writer, CONTENT[:50000]), os.close(writer)), daemon=True).start()
        return open(reader, "rb"), CONTENT[:50000]
    if kind == "zip":
        with zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("member", CONTENT)
        with zipfile.ZipFile(folder / "zip") as archive:
            return archive.open("member"), CONTENT  # the archive's file is closed with its last member
    module: Any = {"gzip": gzip, "bz2": bz2, "lzma": lzma}[kind.partition(",")[0]]
    with module.open(folder / "packed", "wb") as packed:
        packed.write(CONTENT)
    file = module.open(folder / "packed", "rb")
    return (io.BufferedReader(file) if kind.endswith("buffered") else file), CONTENT


KINDS = [
    "plain", "unbuffered", "offset", "read ahead", "beyond its end", "read and written", "temporary", "subclass",
    "empty", "proc", "memory", "pipe", "zip", "gzip", "bz2", "lzma", "gzip, buffered", "lzma, buffered",
]  # fmt: skip


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", KINDS)
def test_files(serve: Any, connect: Any, tmp_path: Path, kind: str, version: str) -> None:
    """wsgi.file_wrapper sends what the file reads, from where it stands, and closes it."""
    if kind == "proc" and not Path("/proc/version").exists():
        pytest.skip("no /proc")
    file, content = opened(kind, tmp_path)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file, 10000)

    client = connect(serve(application))
    client.send(f"GET / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
    assert client.response().body == content
    hubbub.sleep(0)
    assert file.closed


def test_only_plain_files_are_plain(tmp_path: Path) -> None:
    """sendfile(2) is for files whose descriptor holds what they read, and for nothing else that has a fileno()."""
    plain = {"plain", "unbuffered", "offset", "read ahead", "beyond its end", "read and written", "temporary"}
    for kind in set(KINDS) - {"pipe"}:
        file, _ = opened(kind, tmp_path)
        with file:
            assert (plain_file(file) is not None) == (kind in plain), kind


def test_text_file(serve: Any, talk: Any, tmp_path: Path) -> None:
    """A text file is an error of the application: a body is bytes."""
    (tmp_path / "text").write_text("text")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](binary(tmp_path / "text", "r"))

    assert talk(serve(application), b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("change", ["shrinks", "is emptied", "grows", "stays"])
def test_file_that_changes(
    serve: Any, connect: Any, errors: io.StringIO, tmp_path: Path, certificate: Any, change: str, tls: bool
) -> None:
    """A file that changes while it is sent is in the log; one that shrank is no whole response to the client."""
    path = tmp_path / "file"
    size = 20_000_000
    with open(path, "wb") as file:
        for _ in range(size // 1_000_000):
            file.write(os.urandom(1000) * 1000)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](binary(path))

    options, client_context = {}, None
    if tls:
        net = pytest.importorskip("hubbub_net.ssl")
        authority, leaf = certificate
        options["ssl_context"] = net.SSLContext(net.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(options["ssl_context"])
        client_context = net.SSLContext(net.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(client_context)
    client = connect(serve(application, **options))
    if client_context is not None:
        client.sock = client_context.wrap_socket(client.sock, server_hostname="localhost", suppress_ragged_eofs=False)
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    head = client.until(b"\r\n\r\n")
    assert f"Content-Length: {size}".encode() in head
    with open(path, "r+b") as file:
        if change == "grows":
            file.seek(0, 2)
            file.write(b"more")
        elif change != "stays":
            file.truncate(size - 1 if change == "shrinks" else 0)
    received = len(client.received)
    try:
        while piece := client.sock.recv(1 << 20):
            received += len(piece)
    except OSError:
        assert change not in ("grows", "stays")
    hubbub.sleep(0.05)
    if change in ("shrinks", "is emptied"):
        assert received < size
        assert "shorter" in errors.getvalue() or "bytes less" in errors.getvalue()
    else:
        assert received == size
        assert ("longer" in errors.getvalue()) == (change == "grows" and not tls)


def test_declared_part_of_a_file(serve: Any, connect: Any, errors: io.StringIO, tmp_path: Path) -> None:
    """With a Content-Length of the application's so many bytes are sent from where the file stands, and no more."""
    (tmp_path / "file").write_bytes(CONTENT)

    def application(environ: Any, start_response: Any) -> Any:
        file = binary(tmp_path / "file")
        file.seek(100)
        start_response("206 Partial Content", [("Content-Length", "50")])
        return environ["wsgi.file_wrapper"](file)

    client = connect(serve(application))
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response().body == CONTENT[100:150]
    assert errors.getvalue() == ""
