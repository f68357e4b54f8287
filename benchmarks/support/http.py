"""An HTTP server in this process, asked by a client in another that keeps a request under way on each connection."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.tls import contexts

if TYPE_CHECKING:
    from shim import Api

__all__ = ["BODY", "ask", "hello"]

CLIENTS = Path(__file__).parent.parent / "servers" / "clients.py"
BODY = b"Hello World!"


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """A WSGI application that says hello."""
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def ask(
    api: Api, operations: int, application: Any = hello, request: str = "realistic", count: int = 64, tls: bool = False
) -> float:
    """Have the application answer so many requests. Making the connections, with a request on each, does not count.

    :param request: a function of ``servers/clients.py`` that makes them.
    :param count: connections.
    :returns: the CPU seconds of what counts.
    """
    options: dict[str, Any] = {"log": None}
    if tls:
        options["ssl_context"] = contexts(api.module("ssl"))[0]
    server = importlib.import_module(api.wsgi).WSGIServer(("127.0.0.1", 0), application, backlog=1024, **options)
    server.start()
    arguments = [str(server.server_port), str(count), str(max(operations, count)), request, "tls" if tls else "plain"]
    command = [sys.executable, str(CLIENTS), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as client:
        assert client.stdin  # it was asked for, as the output was
        assert client.stdout
        os.set_blocking(client.stdout.fileno(), False)
        while client.stdout.read(1) is None:  # until it says that all connections are there, or has failed
            api.sleep(0.01)
        began = time.process_time()
        client.stdin.close()
        while client.poll() is None:
            api.sleep(0.01)
        took = time.process_time() - began
    server.stop()
    if client.returncode:
        raise RuntimeError("the client failed")
    return took
