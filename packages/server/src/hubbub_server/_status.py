"""The listener of the status: a server in a native thread of the supervisor's, which has nothing else to do.

It answers whatever the workers compute, from the pages of memory in which they leave their figures.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
import signal
import socket
from collections.abc import Callable, Iterable
from importlib import resources
from threading import Thread
from typing import Any

from hubbub_server._metrics import expose, is_installed
from hubbub_server._report import Reported, is_healthy, report
from hubbub_server.http.limits import Limits
from hubbub_server.wsgi import WSGIServer

__all__ = ["StatusApplication", "serve_status"]

_LIMITS = Limits(body_bytes=1024, request_seconds=10.0, idle_seconds=75.0)
_CLIENTS = 64
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::[0-9]*)?", re.ASCII)
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)

Answer = tuple[str, str, bytes]
"""Status, type and body."""


def _page() -> tuple[bytes, str]:
    """The page for people, and the policy that lets it run its own script and nothing else."""
    page = resources.files("hubbub_server").joinpath("status.html").read_bytes()
    script, style = (
        base64.b64encode(hashlib.sha256(pattern.findall(page)[0]).digest()).decode() for pattern in (_SCRIPT, _STYLE)
    )
    return page, (
        f"default-src 'none'; connect-src 'self'; script-src 'sha256-{script}'; style-src 'sha256-{style}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class StatusApplication:
    """The WSGI application that shows how a supervisor's service stands.

    :param supervisor: asked for each request; only its attributes are read.
    :param local: whether it listens on a loopback address. Then a request whose ``Host`` is another name is refused:
        a page of somebody else's, whose name was made to lead here, could otherwise read all (DNS rebinding).
    """

    def __init__(self, supervisor: Reported, local: bool) -> None:
        self._supervisor = supervisor
        self._local = local
        self._has_metrics = is_installed()
        self._page, self._policy = _page()
        self._pages: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "/-/": self._show,
            "/-/health": self._health,
            "/-/status": self._status,
            "/-/metrics": self._metrics,
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, body = self._answer(environ)
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", self._policy),
        ]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        start_response(status, headers)
        return [body]  # of which HEAD gets nothing: the server sees to that

    def _answer(self, environ: dict[str, Any]) -> Answer:
        if self._local and not _is_local(environ.get("HTTP_HOST", "")):
            return _text("421 Misdirected Request", "This is the status of a service, by its address only.")
        answer = self._pages.get(environ["PATH_INFO"])
        if answer is None:
            return _text("404 Not Found", f"There are {', '.join(self._pages)}.")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text("405 Method Not Allowed", "The status is only shown.")
        return answer(environ)

    def _show(self, environ: dict[str, Any]) -> Answer:
        return "200 OK", "text/html; charset=utf-8", self._page

    def _health(self, environ: dict[str, Any]) -> Answer:
        if is_healthy(self._supervisor):
            return _text("200 OK", "ok")
        return _text("503 Service Unavailable", "stopping" if self._supervisor.stopping else "starting")

    def _status(self, environ: dict[str, Any]) -> Answer:
        return "200 OK", "application/json", json.dumps(report(self._supervisor)).encode()

    def _metrics(self, environ: dict[str, Any]) -> Answer:
        if not self._has_metrics:
            return _text("501 Not Implemented", "Metrics need prometheus-client: pip install 'hubbub-server[metrics]'")
        kind, body = expose(report(self._supervisor), environ.get("HTTP_ACCEPT", ""))
        return "200 OK", kind, body


def _text(status: str, text: str) -> Answer:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()


def _is_local(host: str) -> bool:
    """Whether a ``Host`` field is an address or ``localhost``, which no name server can make lead elsewhere."""
    match = _HOST.fullmatch(host)
    name = "" if match is None else match["name"].strip("[]").lower()
    if name in ("", "localhost"):
        return match is not None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _on_loopback(sock: socket.socket) -> bool:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    address = ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])
    return address.is_loopback


def serve_status(listener: socket.socket, supervisor: Reported) -> None:
    """Serve the status from now on, as long as the process lives, in a thread of its own that gets no signals."""
    application = StatusApplication(supervisor, _on_loopback(listener))
    listener = listener.dup()

    def serve() -> None:
        WSGIServer(listener, application, spawn=_CLIENTS, log=None, limits=_LIMITS).serve_forever()

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        Thread(target=serve, name="hubbub-status", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
