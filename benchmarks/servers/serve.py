"""A server to be measured: ``python serve.py LIBRARY PROGRAM``. It serves until its standard input ends.

It says its port on standard output, and for each line of standard input its CPU seconds, those of them that the kernel
worked for it, and the bytes of memory it has.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BODY = b"Hello World!"
PAGE = os.sysconf("SC_PAGE_SIZE")


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The WSGI application."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


async def hello_asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The same for ASGI."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


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


def serve_greenlets(library: str, program: str) -> None:
    """Hubbub and gevent have servers of the same names."""
    package = "hubbub_server" if library == "hubbub" else "gevent"
    address = ("127.0.0.1", 0)
    server: Any
    if program == "echo":
        make = importlib.import_module(package if library == "hubbub" else "gevent.server").StreamServer
        server = make(address, echo, backlog=1024)
    else:
        make = importlib.import_module(package if library == "hubbub" else "gevent.pywsgi").WSGIServer
        application: Any = hello
        if program == "asgi":
            application = importlib.import_module("hubbub_asyncio.asgi").ASGI(hello_asgi)
        server = make(address, application, backlog=1024, log=None)
    server.start()
    say(server.server_port)
    server.serve_forever()


def serve_uvicorn(library: str, program: str) -> None:
    """Uvicorn as it is quickest: its loop and its parser in C, no log, no protocols besides HTTP."""
    uvicorn = importlib.import_module("uvicorn")
    socket = importlib.import_module("socket")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    say(listener.getsockname()[1])
    config = uvicorn.Config(
        hello_asgi, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="error",
        timeout_keep_alive=600,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    """Serve what the arguments name."""
    libraries: dict[str, Callable[[str, str], None]] = {
        "hubbub": serve_greenlets,
        "gevent": serve_greenlets,
        "uvicorn": serve_uvicorn,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=list(libraries))
    parser.add_argument("program", choices=["hello", "asgi", "echo"])
    arguments = parser.parse_args()
    threading.Thread(target=answer_questions, daemon=True).start()
    libraries[arguments.library](arguments.library, arguments.program)


if __name__ == "__main__":
    main()
