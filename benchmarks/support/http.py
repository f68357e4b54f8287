"""An HTTP server in this process, asked by a client in another that keeps a request under way on each connection."""

from __future__ import annotations

import importlib
import subprocess
import sys
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
) -> None:
    """Have the application answer so many requests.

    :param request: a function of ``servers/clients.py`` that makes them.
    :param count: connections.
    """
    options: dict[str, Any] = {"log": None}
    if tls:
        options["ssl_context"] = contexts(api.module("ssl"))[0]
    server = importlib.import_module(api.wsgi).WSGIServer(("127.0.0.1", 0), application, backlog=1024, **options)
    server.start()
    arguments = [str(server.server_port), str(count), str(max(operations, count)), request, "tls" if tls else "plain"]
    client = subprocess.Popen([sys.executable, str(CLIENTS), *arguments])
    while client.poll() is None:
        api.sleep(0.01)
    server.stop()
    if client.returncode:
        raise RuntimeError("the client failed")
