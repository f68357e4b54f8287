"""A worker for gunicorn: ``gunicorn -k hubbub_server.gunicorn.Worker module:app``.

The standard library is not patched. To have that, give gunicorn a configuration file with a hook that does it in each
worker before the application is loaded::

    def post_fork(server, worker):
        import hubbub_monkey
        hubbub_monkey.patch_all()
"""

from __future__ import annotations

import importlib
import os
import signal
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import hubbub
from hubbub.event import Event
from hubbub.pool import Pool

from hubbub_server._tls import cooperative
from hubbub_server.http.accesslog import Entry
from hubbub_server.http.limits import Limits
from hubbub_server.wsgi import WSGIServer

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Worker"]


# Imported by name: whether gunicorn is installed, and has annotations, must not matter to type checkers.
_Base: Any = importlib.import_module("gunicorn.workers.base").Worker


class Worker(_Base):  # type: ignore[misc]  # its base is Any
    """Serves gunicorn's listeners, each connection in a greenlet, until gunicorn says stop.

    Of gunicorn's settings these matter here: ``worker_connections``, ``graceful_timeout``, ``keepalive``,
    ``max_requests``, ``limit_request_line``, ``limit_request_fields``, ``limit_request_field_size``, the TLS files, and
    the logs.
    """

    def run(self) -> None:
        """Serve. The main greenlet tells gunicorn every second that all is well."""
        self._quick = False
        self._woken = Event()
        self._loop_signals()
        servers = list(self._servers())
        for server in servers:
            server.start()
        while self.alive:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("Parent changed, shutting down: %s", self)
                break
            self._woken.wait(1.0)
        self._stop(servers)

    def _loop_signals(self) -> None:
        """Take gunicorn's signals on the loop, so that they end a wait at once."""
        loop = hubbub.get_hub().loop
        for number, handler in (
            (signal.SIGTERM, self.handle_exit),
            (signal.SIGINT, self.handle_quit),
            (signal.SIGQUIT, self.handle_quit),
            (signal.SIGUSR1, self.handle_usr1),
        ):
            loop.signal(number, ref=False).start(handler, number, None)

    def handle_exit(self, sig: int, frame: object) -> None:
        """Stop when the requests that run are answered."""
        self.alive = False
        self._woken.set()

    def handle_quit(self, sig: int, frame: object) -> None:
        """Stop without waiting for requests."""
        self.alive = False
        self._quick = True
        self._woken.set()
        self.cfg.worker_int(self)

    def _stop(self, servers: list[WSGIServer]) -> None:
        limit = 0.0 if self._quick else float(self.cfg.graceful_timeout)
        stoppers = [hubbub.spawn(server.stop, limit) for server in servers]
        while not all(stopper.ready() for stopper in stoppers):
            self.notify()
            hubbub.joinall(stoppers, timeout=1.0)

    # Servers --------------------------------------------------------------------------------------------------------

    def _servers(self) -> Iterable[WSGIServer]:
        context: Any = None
        if self.cfg.is_ssl:
            context = importlib.import_module("gunicorn.sock").ssl_context(self.cfg)
            context.sslsocket_class = cooperative()
            context.set_alpn_protocols(["http/1.1"])
        pool = Pool(self.cfg.worker_connections)
        for listener in self.sockets:
            server = WSGIServer(
                listener.sock,
                self._application,
                spawn=pool,
                log=None,
                error_log=_ErrorLog(self.log),
                environ={"wsgi.multiprocess": self.cfg.workers > 1},
                ssl_context=context,
                limits=self._limits(),
            )
            if self.log.access_log_enabled:
                server.access_log = _AccessLog(self.log)  # type: ignore[assignment]  # it has write(), which is all
            if self.cfg.workers > 1:
                server.max_accept = 1
            yield server

    def _limits(self) -> Limits:
        cfg = self.cfg
        return Limits(  # to gunicorn, 0 means: as much as there may ever be
            request_line=cfg.limit_request_line or 1 << 20,
            header_count=cfg.limit_request_fields or 32768,
            header_bytes=max((cfg.limit_request_field_size or 1 << 20) * 2, Limits().header_bytes),
            idle_seconds=float(cfg.keepalive) if cfg.keepalive else 0.1,
            requests_per_connection=None if cfg.keepalive else 1,
        )

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            self._woken.set()
        environ["RAW_URI"] = environ["REQUEST_URI"]
        return self.wsgi(environ, start_response)


class _AccessLog:
    """Entries to gunicorn's access log, in whatever format that has."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, entry: Entry) -> None:
        environ = entry.environ
        if not environ:
            method, _, rest = entry.request.partition(" ")
            target, _, protocol = rest.rpartition(" ")
            environ = {
                "REQUEST_METHOD": method,
                "RAW_URI": target,
                "SERVER_PROTOCOL": protocol,
                "REMOTE_ADDR": entry.address,
            }
        fields = [
            (name.removeprefix("HTTP_").replace("_", "-"), value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        ]
        response = SimpleNamespace(status=str(entry.status), sent=entry.sent, headers=[])
        self._log.access(response, fields, environ, timedelta(seconds=entry.seconds))


class _ErrorLog:
    """``wsgi.errors`` and failures to gunicorn's error log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, text: str) -> None:
        if text.strip():
            self._log.error("%s", text.rstrip("\n"))

    def flush(self) -> None:
        """gunicorn's log flushes by itself."""
