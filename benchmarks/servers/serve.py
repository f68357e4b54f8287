"""A server to be measured: ``python serve.py LIBRARY PROGRAM``. It serves until its standard input ends.

Programs are ``hello`` (WSGI), ``asgi``, ``echo``, ``pieces``, ``slow`` (one request in a hundred waits for 50 ms, as
requests do that ask a database) and ``waits`` (each waits for 10 ms): WSGI, for libraries that have only that ASGI.
With ``--busy`` a greenlet, or a task, computes all the time and lets others run each millisecond.

It says its port on standard output, and for each line of standard input its CPU seconds, those of them that the kernel
worked for it, and the bytes of memory it has.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

BODY = b"Hello World!"
PAGE = os.sysconf("SC_PAGE_SIZE")
SLOW = 0.05
"""Seconds that a slow request waits."""
WAIT = 0.01
"""Seconds that each request of ``waits`` does."""
CERTIFICATE = ("certificate.pem", "key.pem")
"""Files in the folder of ``--tls``."""


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The WSGI application."""
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def slow(sleep: Callable[[float], object]) -> Any:
    """The same, which waits in one request of a hundred."""
    count = 0

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal count
        count += 1
        if count % 100 == 0:
            sleep(SLOW)
        return hello(environ, start_response)

    return application


def slow_asgi() -> Any:
    """The same for ASGI."""
    count = 0

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal count
        count += 1
        if count % 100 == 0:
            await asyncio.sleep(SLOW)
        await hello_asgi(scope, receive, send)

    return application


def waits(sleep: Callable[[float], object]) -> Any:
    """The same, which waits for 10 ms in each request."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        sleep(WAIT)
        return hello(environ, start_response)

    return application


async def waits_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same for ASGI."""
    await asyncio.sleep(WAIT)
    await hello_asgi(scope, receive, send)


async def pieces_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """As :func:`pieces` for ASGI."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for _ in range(9):
        await send({"type": "http.response.body", "body": b"a piece of text", "more_body": True})
    await send({"type": "http.response.body", "body": BODY})


def asgi_application(program: str) -> Any:
    """The one of a program."""
    return {"slow": slow_asgi(), "waits": waits_asgi, "pieces": pieces_asgi}.get(program, hello_asgi)


def pieces(environ: dict[str, Any], start_response: Any) -> Any:
    """A body in ten small pieces, of unknown length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(9):
        yield b"a piece of text"
    yield BODY


def wsgi_application(program: str, sleep: Callable[[float], object]) -> Any:
    """The one of a program."""
    return {"slow": slow(sleep), "waits": waits(sleep), "pieces": pieces}.get(program, hello)


def compute(sleep: Callable[[float], object]) -> None:
    """Computes for ever, and lets others run each millisecond."""
    while True:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            sum(range(100))
        sleep(0)


async def compute_asgi() -> None:
    """The same as a task."""
    while True:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            sum(range(100))
        await asyncio.sleep(0)


async def hello_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same for ASGI."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


watchers: set[Any] = set()


def tell_one(socket: Any, message: str) -> None:
    """Send a message back."""
    socket.send(message)


def tell_all(socket: Any, message: str) -> None:
    """Send a message to all, one by one."""
    for each in list(watchers):
        each.send(message)


def broadcast(socket: Any, message: str) -> None:
    """The same by hubbub-server's function for that."""
    importlib.import_module("hubbub_server.websocket").broadcast(watchers, message)


def talk(tell: Callable[[Any, str], None], environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The WSGI application with a WebSocket, of hubbub-server or of gevent-websocket."""
    accept = environ.get("hubbub.websocket")
    socket = environ["wsgi.websocket"] if accept is None else accept()
    watchers.add(socket)
    try:
        while (message := next_message(socket)) is not None:
            tell(socket, message)
    finally:
        watchers.discard(socket)
    return []


def next_message(socket: Any) -> str | None:
    """What the client says; None at its end, of which the two libraries have different ideas."""
    try:
        message: str | None = socket.receive()
    except Exception:
        return None
    return message


async def talk_asgi(to_all: bool, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application with a WebSocket."""
    await receive()
    await send({"type": "websocket.accept"})
    watchers.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            for each in list(watchers) if to_all else [send]:
                await each({"type": "websocket.send", "text": message["text"]})
    finally:
        watchers.discard(send)


def echo(sock: Any, address: Any) -> None:
    """The handler of a connection that sends back what comes."""
    while data := sock.recv(65536):
        sock.sendall(data)


def say(value: Any) -> None:
    """One line for the program that measures."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def answer_questions() -> None:
    """Runs in a thread of its own, idle during the measurement."""
    for _ in sys.stdin:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
        say({"cpu": time.process_time(), "kernel": os.times().system, "memory": resident})
    os._exit(0)


def serve_greenlets(library: str, program: str, busy: bool, tls: list[str]) -> None:
    """Hubbub and gevent have servers of the same names."""
    library_itself = importlib.import_module(library)
    package = "hubbub_server" if library == "hubbub" else "gevent"
    address = ("127.0.0.1", 0)
    server: Any
    if program == "echo":
        make = importlib.import_module(package if library == "hubbub" else "gevent.server").StreamServer
        server = make(address, echo, backlog=1024)
    else:
        make = importlib.import_module(package if library == "hubbub" else "gevent.pywsgi").WSGIServer
        application: Any = wsgi_application(program, library_itself.sleep)
        if program == "asgi":
            application = importlib.import_module("hubbub_asyncio.asgi").ASGI(hello_asgi)
        options: dict[str, Any] = {}
        if program.startswith("ws_"):
            told = broadcast if library == "hubbub" else tell_all
            application = partial(talk, told if program == "ws_broadcast" else tell_one)
            if library == "gevent":
                options["handler_class"] = importlib.import_module("geventwebsocket.handler").WebSocketHandler
        if tls and library == "hubbub":
            context = importlib.import_module("hubbub_net.ssl").SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            options["ssl_context"] = context
        elif tls:
            options |= {"certfile": tls[0], "keyfile": tls[1]}
        server = make(address, application, backlog=1024, log=None, **options)
    server.start()
    if busy:
        library_itself.spawn(compute, library_itself.sleep)
    say(server.server_port)
    server.serve_forever()


def serve_uvicorn(library: str, program: str, busy: bool, tls: list[str]) -> None:
    """Uvicorn as it is quickest: its loop and its parser in C, no log, no protocols that are not measured."""
    uvicorn = importlib.import_module("uvicorn")
    socket = importlib.import_module("socket")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    say(listener.getsockname()[1])
    application = asgi_application(program)
    sockets: Any = "none"
    if program.startswith("ws_"):
        application, sockets = partial(talk_asgi, program == "ws_broadcast"), "websockets-sansio"

    async def with_task(scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Starts the task that computes at the first request."""
        if not tasks:
            tasks.append(asyncio.ensure_future(compute_asgi()))
        await application(scope, receive, send)

    tasks: list[Any] = []
    config = uvicorn.Config(
        with_task if busy else application,
        interface="asgi3", loop="uvloop", http="httptools", ws=sockets, ws_per_message_deflate=False,
        ssl_certfile=tls[0] if tls else None, ssl_keyfile=tls[1] if tls else None,
        ws_ping_interval=None, lifespan="off", access_log=False, log_level="error", timeout_keep_alive=600,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def free_port() -> int:
    """A port for servers that must be told one."""
    with importlib.import_module("socket").create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def serve_in_c(library: str, program: str, busy: bool, tls: list[str]) -> None:
    """Servers written in C, which call one application after the other."""
    server = importlib.import_module(library)
    port = free_port()
    application = pieces if program == "pieces" else hello
    say(port)
    if library == "bjoern":
        server.run(application, "127.0.0.1", port)
    else:
        server.run(wsgi_app=application, host="127.0.0.1", port=port, loglevel=0)


def serve_granian(library: str, program: str, busy: bool, tls: list[str]) -> None:
    """Granian's server inside this process, for ASGI."""
    make = importlib.import_module("granian.server.embed").Server
    asgi = importlib.import_module("granian.constants").Interfaces.ASGINL  # without lifespan, as uvicorn here
    port = free_port()
    say(port)
    server = make(
        asgi_application(program),
        address="127.0.0.1", port=port, interface=asgi, websockets=False, log_enabled=False,
        backlog=1024, backpressure=20_000,
    )  # fmt: skip
    asyncio.run(server.serve())


def serve_gunicorn(library: str, program: str, busy: bool, tls: list[str]) -> None:
    """Gunicorn with one worker: of greenlets, or of 64 threads."""
    base: Any = importlib.import_module("gunicorn.app.base").BaseApplication
    port = free_port()
    kind = library.removeprefix("gunicorn_")
    settings = {
        "bind": f"127.0.0.1:{port}", "worker_class": kind, "threads": 64 if kind == "gthread" else 1, "workers": 1,
        "worker_connections": 20_000, "keepalive": 600, "loglevel": "critical", "backlog": 1024,
    }  # fmt: skip

    class Application(base):  # type: ignore[misc]  # gunicorn is not there where this is checked
        """What gunicorn is given, instead of a command line."""

        def load_config(self) -> None:
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            return wsgi_application(program, time.sleep)

    say(port)
    Application().run()


def main() -> None:
    """Serve what the arguments name."""
    libraries: dict[str, Callable[[str, str, bool, list[str]], None]] = {
        "hubbub": serve_greenlets,
        "gevent": serve_greenlets,
        "uvicorn": serve_uvicorn,
        "bjoern": serve_in_c,
        "fastwsgi": serve_in_c,
        "granian": serve_granian,
        "gunicorn_gevent": serve_gunicorn,
        "gunicorn_gthread": serve_gunicorn,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=list(libraries))
    programs = ["hello", "asgi", "echo", "slow", "waits", "pieces", "ws_echo", "ws_broadcast"]
    parser.add_argument("program", choices=programs)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--tls", type=Path, help="the folder with certificate.pem and key.pem")
    arguments = parser.parse_args()
    threading.Thread(target=answer_questions, daemon=True).start()
    tls = [str(arguments.tls / name) for name in CERTIFICATE] if arguments.tls else []
    libraries[arguments.server](arguments.server, arguments.program, arguments.busy, tls)


if __name__ == "__main__":
    main()
