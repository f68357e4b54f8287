"""No reference is lost or kept too long, also when memory is short."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
import weakref
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_server import Limits
from hubbub_server.acceleration import usual_maker
from hubbub_server.http.request import HeadParser
from hubbub_server.http.tally import Tally

HEAD = b"POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nX-New: 1\r\nContent-Length: 3\r\n\r\n"
REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\n\r\n",
    b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /closing HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /write HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /unhashable HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /keep HTTP/1.1\r\nHost: x\r\n\r\n",
]


def application(environ: dict[str, Any], start_response: Any) -> Any:
    """Answers in different ways."""
    word = environ["PATH_INFO"][1:]
    if word == "read":
        environ["wsgi.input"].read()
    if word == "keep":
        environ["kept"] = start_response  # a cycle through the exchange
    headers: list[Any] = [["X", "y"]] if word == "unhashable" else [("X", "y")]
    write = start_response("200 OK", headers)
    if word == "again":
        write = start_response("201 Created", [], (ValueError, ValueError("x"), None))
    if word == "write":
        write(b"written")
    if word == "closing":
        return Closing()
    return iter([b"a", b"b"]) if word == "pieces" else [b"body"]


class Closing:
    """A body in pieces that is to be let go."""

    def __iter__(self) -> Any:
        yield b"a"
        yield b""
        yield b"b"

    def close(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.split(b" ")[1].decode())
def test_nothing_is_left(serve: Any, request_: bytes) -> None:
    """Thousands of requests leave no object and no memory behind, also when they are counted."""
    server = serve(application)
    if request_ in REQUESTS[:2]:
        server.access_log = Tally(None)

    def ask(count: int) -> None:
        with Socket() as client:
            client.settimeout(10.0)
            client.connect(server.address)
            for _ in range(count):
                client.sendall(request_)
                received = b""
                while not received.endswith((b"body", b"0\r\n\r\n")):
                    received += client.recv(65536)
        hubbub.sleep(0)

    ask(100)
    gc.collect()
    objects = len(gc.get_objects())
    tracemalloc.start()
    try:
        ask(10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        ask(1500)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(gc.get_objects()) - objects < 100
    assert grown < 20_000  # one lost object a request would be at least 24,000


def test_a_parser_and_its_accelerator_go() -> None:
    """A parser that nobody uses any more is freed although its accelerator knows it."""
    make = usual_maker()
    assert make is not None
    parser = HeadParser(Limits())
    parser.usual = make(parser)
    assert parser.usual.parse(HEAD)
    seen = weakref.ref(parser)
    del parser
    gc.collect()
    assert seen() is None


def test_an_exception_of_the_parser() -> None:
    """What a parser of another kind raises, other than a refusal, reaches the caller, and no reference is lost."""
    make = usual_maker()
    assert make is not None

    class Odd(HeadParser):
        def variable(self, name: bytes) -> str:
            if name == b"X-New":
                raise RuntimeError("odd")
            return super().variable(name)

    parser = Odd(Limits())
    made = make(parser)
    for _ in range(100):
        with pytest.raises(RuntimeError, match="odd"):
            made.parse(HEAD)
    assert made.parse(HEAD.replace(b"X-New", b"Y")) is not None


SHORT = """
import _testcapi, gc, sys
from hubbub_server import Limits
from hubbub_server.acceleration import usual_maker
from hubbub_server.http.request import HeadParser
HEAD = {head!r}
parser = HeadParser(Limits())
usual = usual_maker()(parser)
expected = usual.parse(HEAD), usual.raw_fields(HEAD)
failed = 0
for number in range(200):
    for method, wanted in zip((usual.parse, usual.raw_fields), expected):
        fresh = usual_maker()(parser) if number % 2 else usual
        method = getattr(fresh, method.__name__)
        _testcapi.set_nomemory(number, number + 1)
        try:
            found = method(HEAD)
        except MemoryError:
            found = wanted
            failed += 1
        finally:
            _testcapi.remove_mem_hooks()
        assert found == wanted
        assert method(HEAD) == wanted
assert failed > 20, failed
print("sound")
"""

SERVING = """
import _testcapi, gc, io, sys
import hubbub
from hubbub.io import Socket
from hubbub_server import WSGIServer
from hubbub_server.http.connection import Connection
import socket
sys.path.insert(0, {folder!r})
from test_memory import application, REQUESTS
server = WSGIServer(("127.0.0.1", 0), application, log=None, error_log=io.StringIO())
server.start()
usual = server._make_usual(server.parser)
def ask(request, number):
    "What a client gets whose request meets the failure of one allocation."
    ours, theirs = socket.socketpair()
    with Socket(fileno=ours.detach()) as sock, theirs:
        theirs.shutdown(socket.SHUT_WR)  # so that nobody waits for more: a switch of greenlets must find memory
        connection = Connection(server, sock, ("127.0.0.1", 1), server.parser)
        head, end, body = request.partition(b"\\r\\n\\r\\n")
        connection.give_back(body)
        _testcapi.set_nomemory(number, number + 1)
        try:
            outcome = usual.serve(connection, head + end)
        except MemoryError:
            outcome = MemoryError
        finally:
            _testcapi.remove_mem_hooks()
        if sock.fileno() >= 0:
            sock.shutdown(socket.SHUT_WR)
        theirs.settimeout(5)
        received = b""
        try:
            while data := theirs.recv(65536):
                received += data
        except ConnectionResetError:
            received += b"(reset)"
        assert connection.request is None
        return outcome, received
seen = set()
for request in REQUESTS:
    for number in (10**6, *range({most}), 10**6):
        outcome, received = ask(request, number)
        assert received.count(b"HTTP/1.1 ") <= 1, received
        seen.add(outcome if type(outcome) is not bytes else bytes)
        if number == 10**6:
            assert outcome is False and received.count(b"HTTP/1.1 20") == 1, (outcome, received)
assert seen >= {{False, MemoryError}}, seen
hubbub.sleep(0)  # callbacks that were to have held pieces sent
gc.collect()
left = [o for o in gc.get_objects() if type(o).__name__ in ("Exchange", "start_response", "Connection")]
assert not left, left
server.stop()
print("sound")
"""


def run(program: str) -> str:
    """What a program prints."""
    pytest.importorskip("_testcapi")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.unsanitized
def test_short_of_memory_while_parsing() -> None:
    """Whichever allocation fails while a head is read: MemoryError or the result, and the next head is read rightly."""
    assert run(SHORT.format(head=HEAD)) == "sound"


PROBE = """
import _testcapi, sys
def make():
    captured = 1
    return lambda: captured
code = next(each for each in make.__code__.co_consts if hasattr(each, "co_code"))
before = sys.getrefcount(code)
for failing in range(30):
    _testcapi.set_nomemory(failing, failing + 1)
    try:
        make()
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
print(sys.getrefcount(code) - before)
"""


@pytest.mark.unsanitized
@pytest.mark.timeout(120)
def test_short_of_memory_while_serving() -> None:
    """Whichever allocation fails while a request is served: the process lives, keeps nothing, and serves the next."""
    pytest.importorskip("_testcapi")
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=50, check=False)
    if probe.stdout.strip() != "0":
        pytest.skip("this CPython (3.12.1, 3.13.0) gives up its code when there is no memory for a function of it")
    folder = __file__.rpartition("/")[0]
    assert run(SERVING.format(folder=folder, most=80)) == "sound"
