"""The facade's modules, in processes where ``import gevent`` means hubbub, on every loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., list[str]]


@pytest.fixture
def run(tmp_path: Path, loop_name: str) -> Run:
    """Runs a script with the facade in place; its lines."""

    def run(source: str, *arguments: str) -> list[str]:
        script = tmp_path / "script.py"
        script.write_text(source)
        done = subprocess.run(
            [sys.executable, *(arguments or ("-m", "hubbub_gevent", str(script)))],
            capture_output=True,
            text=True,
            timeout=50,
            cwd=tmp_path,
            env={**os.environ, "HUBBUB_LOOP": loop_name},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_context(run: Run) -> None:
    """A greenlet starts with an empty context, and may be given attributes."""
    source = """
import contextvars, gevent
variable = contextvars.ContextVar("variable", default="empty")
variable.set("outer")
greenlet = gevent.spawn(variable.get)
greenlet.anything = 1
print(greenlet.get(), gevent.spawn_later(0.001, variable.get).get())
"""
    assert run(source) == ["empty empty"]


def test_spawn_tree(run: Run) -> None:
    """A greenlet knows who spawned it, where, and shares a dictionary with its descendants."""
    source = """
import gevent
def child():
    me = gevent.getcurrent()
    me.spawn_tree_locals["seen"] = True
    return me.spawning_greenlet() is parent, me.spawning_stack.f_code.co_name
def body():
    return gevent.spawn(child).get()
parent = gevent.spawn(body)
print(parent.get(), parent.spawn_tree_locals, parent.minimal_ident >= 0, parent.name.startswith("Greenlet-"))
"""
    assert run(source) == ["(True, 'body') {'seen': True} True True"]


def test_invalid_switch(run: Run) -> None:
    """Switching into a greenlet that sleeps is an error there, as with gevent."""
    source = """
import gevent, gevent.exceptions
def sleeper():
    try:
        gevent.sleep(10)
    except gevent.exceptions.InvalidSwitchError as error:
        return "Invalid switch" in str(error)
greenlet = gevent.spawn(sleeper)
gevent.sleep(0)
gevent.spawn(greenlet.switch, None)
print(greenlet.get(timeout=10))
"""
    assert run(source) == ["True"]


def test_waiter(run: Run) -> None:
    """A Waiter hands one value or error from the hub to the greenlet that waits."""
    source = """
import gevent
from gevent.hub import Waiter, get_hub
waiter = Waiter()
get_hub().loop.run_callback(waiter.switch, "value")
print(waiter.get())
waiter.clear()
waiter.throw(KeyError("early"))
try: waiter.get()
except KeyError as error: print(error)
"""
    assert run(source) == ["value", "'early'"]


def test_timeouts_as_limits(run: Run) -> None:
    """Queues, events, results and greenlets take a Timeout object as their limit."""
    source = """
import gevent, gevent.event, gevent.queue
for wait in (gevent.queue.Queue().get, gevent.event.AsyncResult().get, gevent.event.Event().wait):
    limit = gevent.Timeout(0.01)
    try: wait(timeout=limit)
    except gevent.Timeout as error: print(error is limit)
"""
    assert run(source) == ["True"] * 3


def test_monkey(run: Run) -> None:
    """patch_all patches, tells so under gevent's names, sends events, and returns what gevent's does."""
    source = """
import gevent.monkey, gevent.events
names = []
gevent.events.subscribers.append(lambda event: names.append(type(event).__name__))
print(gevent.monkey.patch_all(), gevent.monkey.patch_all())
import os, queue, socket, threading, time, gevent.os, gevent.queue, gevent.socket
print(socket.socket is gevent.socket.socket, time.sleep is gevent.sleep, os.fork is gevent.os.fork)
print(queue.SimpleQueue is gevent.queue.SimpleQueue, "Lock" in gevent.monkey.saved["threading"])
print([gevent.monkey.is_module_patched(name) for name in ("socket", "select", "threading", "json")])
print(gevent.monkey.get_original("time", "sleep"), gevent.monkey.is_object_patched("threading", "local"))
print(names[0], names[-1])
"""
    assert run(source) == [
        "True None",
        "True True True",
        "True True",
        "[True, True, True, False]",
        "<built-in function sleep> True",
        "GeventWillPatchAllEvent GeventDidPatchAllEvent",
    ]


def test_monkey_veto(run: Run) -> None:
    """A subscriber that raises DoNotPatch prevents a module, or everything."""
    source = """
import gevent.monkey, gevent.events
def veto(event):
    if getattr(event, "module_name", "") == "ssl":
        raise gevent.events.DoNotPatch
gevent.events.subscribers.append(veto)
gevent.monkey.patch_all()
print(gevent.monkey.is_module_patched("ssl"), gevent.monkey.is_module_patched("socket"))
"""
    assert run(source) == ["False True"]


def test_monkey_command(run: Run, tmp_path: Path) -> None:
    """``python -m gevent.monkey`` runs a patched script."""
    (tmp_path / "tool.py").write_text("import sys, time, gevent; print(sys.argv, time.sleep is gevent.sleep)")
    command = "import hubbub_gevent, runpy, sys; hubbub_gevent.install(); sys.argv[1:] = ['--no-ssl', 'tool.py', 'x']; "
    assert run("", "-c", f"{command}runpy.run_module('gevent.monkey', run_name='__main__', alter_sys=True)") == [
        "['tool.py', 'x'] True"
    ]


WSGI = """
import gevent.monkey
gevent.monkey.patch_all()
import http.client, io
from gevent.pywsgi import WSGIHandler, WSGIServer
def application(environ, start_response):
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (piece for piece in (b"a", b"b"))
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Server", environ["SERVER_SOFTWARE"][:7])])
    return [environ["REQUEST_METHOD"].encode(), b" ", body]
log = io.StringIO()
class Handler(WSGIHandler):
    def finalize_headers(self):
        self.response_headers.append(("X-Hook", "yes"))
        super().finalize_headers()
server = WSGIServer(("127.0.0.1", 0), application, log=log, handler_class=Handler)
server.start()
client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
"""


def test_pywsgi(run: Run) -> None:
    """pywsgi serves with keep-alive, bodies with length or in chunks, and a handler whose hooks are overridden."""
    source = f"""{WSGI}
client.request("POST", "/", b"body")
response = client.getresponse()
print(response.read(), response.headers["X-Hook"], response.headers["X-Server"], response.headers["Content-Length"])
client.request("PUT", "/", iter([b"in ", b"chunks"]), encode_chunked=True, headers={{"Transfer-Encoding": "chunked"}})
print(client.getresponse().read())
client.request("GET", "/stream")
response = client.getresponse()
print(response.read(), response.headers["Transfer-Encoding"])
client.request("HEAD", "/")
response = client.getresponse()
print(response.status, response.read())
client.close()
server.stop()
print('"POST / HTTP/1.1" 200 ' in log.getvalue())
"""
    assert run(source) == [
        "b'POST body' yes gevent/ 9",
        "b'PUT in chunks'",
        "b'ab' chunked",
        "200 b''",
        "True",
    ]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\\r\\nContent-Length: +3\\r\\n\\r\\n", "400"),
        (b"GET / HTTP/1.1\\r\\nContent-Length: 1_0\\r\\n\\r\\n", "400"),
        (b"POST / HTTP/1.1\\r\\nContent-Length: 1\\r\\nContent-Length: 2\\r\\n\\r\\nab", "400"),
        (b"POST / HTTP/1.1\\r\\nTransfer-Encoding: gzip, chunked\\r\\n\\r\\n", "400"),
        (b"GET / HTTP/1.1\\r\\nBad Name: 1\\r\\n\\r\\n", "400"),
        (b"\\x16\\x03\\x01 / HTTP/1.1\\r\\n\\r\\n", "400"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\\r\\n\\r\\n", "414"),
        (b"POST / HTTP/1.1\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\nzz", "400"),
    ],
)
def test_pywsgi_refuses(run: Run, request_bytes: bytes, status: str) -> None:
    """Requests that could be read in two ways, and what is no HTTP, are refused, and the connection is closed."""
    raw = request_bytes.decode("latin-1")
    source = f"""{WSGI}
import socket, sys
server.error_log = io.StringIO()
raw = socket.create_connection(("127.0.0.1", server.server_port), timeout=20)
raw.sendall({raw!r}.encode("latin-1").decode("unicode_escape").encode("latin-1"))
answer = b""
while data := raw.recv(65536):
    answer += data
print(answer.split()[1].decode())
raw.close()
server.stop()
"""
    assert run(source) == [status]


def test_stream_server(run: Run) -> None:
    """A StreamServer takes a handler, or a subclass's method, and runs it in gevent's greenlets or a pool."""
    source = """
import gevent
from gevent import socket
from gevent.pool import Pool
from gevent.server import StreamServer
class Echo(StreamServer):
    def handle(self, sock, address):
        sock.sendall(sock.recv(100) + type(gevent.getcurrent()).__module__.encode())
for spawn in ("default", Pool(2), 1):
    server = Echo(("127.0.0.1", 0), spawn=spawn)
    server.start()
    with socket.create_connection(server.address) as client:
        client.sendall(b"hello ")
        print(client.recv(100))
    server.stop()
"""
    assert run(source) == ["b'hello gevent.greenlet'"] * 3


def test_environment(tmp_path: Path) -> None:
    """HUBBUB_GEVENT=1 puts the facade in place in every interpreter, children included."""
    inner = "import gevent; print(gevent.__implementation__)"
    source = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        env={**os.environ, "HUBBUB_GEVENT": "1"},
    )
    assert done.stdout == "hubbub\n"


def test_configuration(tmp_path: Path) -> None:
    """gevent's environment variables choose hubbub's loop."""
    source = "import gevent; print(type(gevent.get_hub().loop).name, gevent.config.max_blocking_time)"
    for value, name in (("libuv-cffi", "libuv"), ("libev-cext", "libev"), ("stdlib", "stdlib")):
        done = subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
            env={**os.environ, "HUBBUB_GEVENT": "1", "GEVENT_LOOP": value, "GEVENT_MAX_BLOCKING_TIME": "0.5"},
        )
        assert done.stdout == f"{name} 0.5\n"


def test_backdoor(run: Run) -> None:
    """The backdoor gives a prompt with the names it was given."""
    source = """
import gevent
from gevent import socket
from gevent.backdoor import BackdoorServer
server = BackdoorServer(("127.0.0.1", 0), locals={"answer": 42}, banner="hello")
server.start()
with socket.create_connection(server.address) as client:
    stream = client.makefile("r")
    print(stream.readline().strip())
    client.sendall(b"answer + 1\\n")
    print(stream.readline().strip())
server.stop()
"""
    assert run(source) == ["hello", ">>> 43"]
