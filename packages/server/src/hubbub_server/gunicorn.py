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

from hubbub_server._application import end, start
from hubbub_server._gunicorn import UNSUPPORTED, Hooks, Proxies, Request, for_log, mount
from hubbub_server._tls import cooperative
from hubbub_server.http.accesslog import Entry, escape, escape_breaks
from hubbub_server.http.filewrapper import FileWrapper
from hubbub_server.http.limits import Limits
from hubbub_server.http.request import HeadParser
from hubbub_server.wsgi import WSGIServer

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Worker"]


if TYPE_CHECKING:

    class _Base:
        """What is used of gunicorn's class. Whether gunicorn is installed must not matter to type checkers."""

        alive: bool
        cfg: Any
        log: Any
        max_requests: int
        nr: int
        ppid: int
        sockets: list[Any]
        timeout: float
        wsgi: Any

        def notify(self) -> None: ...

        def handle_usr1(self, sig: int, frame: object) -> None: ...

else:
    _Base = importlib.import_module("gunicorn.workers.base").Worker


class Worker(_Base):
    """Serves gunicorn's listeners, each connection in a greenlet, until gunicorn says stop.

    What gunicorn's own workers do by its settings is done here too, except that what makes them less strict with
    clients, and the protocols besides HTTP/1, are not there; see :data:`UNSUPPORTED`.
    """

    def run(self) -> None:
        """Serve. The main greenlet tells gunicorn every second that all is well."""
        self._quick = False
        self._woken = Event()
        self._pulse = min(1.0, self.timeout / 2) if self.timeout else 1.0
        self._warn()
        self._loop_signals()
        servers = list(self._servers())
        start(self.wsgi)
        for server in servers:
            server.start()
        while self.alive:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("Parent changed, shutting down: %s", self)
                break
            self._woken.wait(self._pulse)
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
        self.alive: bool = False
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
            hubbub.joinall(stoppers, timeout=self._pulse)
        end(self.wsgi, limit)

    def _warn(self) -> None:
        """Say which settings do nothing."""
        for name, harmless in UNSUPPORTED.items():
            value = getattr(self.cfg, name, harmless)
            if value and value != harmless:
                self.log.warning("The setting %s=%r does nothing with %s", name, value, type(self).__qualname__)

    # Servers --------------------------------------------------------------------------------------------------------

    def _servers(self) -> Iterable[WSGIServer]:
        context: Any = None
        if self.cfg.is_ssl:
            context = importlib.import_module("gunicorn.sock").ssl_context(self.cfg)
            context.sslsocket_class = cooperative()
            context.set_alpn_protocols(["http/1.1"])
        pool = Pool(self.cfg.worker_connections)
        self._hooks = Hooks(self)
        self._proxies = Proxies(self.cfg)
        self._script_name = os.environ.get("SCRIPT_NAME", "")
        for listener in self.sockets:
            server = _Server(
                listener.sock,
                self._application,
                spawn=pool,
                log=None,
                error_log=_ErrorLog(self.log),
                environ=self._environ(),
                ssl_context=context,
                limits=self._limits(),
                proxies=self._proxies,
                underscores="keep" if self.cfg.header_map == "dangerous" else self.cfg.header_map,
            )
            if self.log.access_log_enabled or self._hooks.after is not None:
                server.access_log = _AccessLog(self.log, self._hooks)
            server.lends_request = getattr(self.wsgi, "wants_request", False)
            if self.cfg.workers > 1:
                server.max_accept = 1
            yield server

    def _environ(self) -> dict[str, Any]:
        environ = {"wsgi.multiprocess": self.cfg.workers > 1, "wsgi.multithread": True}
        if self.cfg.sendfile is False:
            environ["wsgi.file_wrapper"] = _ReadFile
        return environ

    def _limits(self) -> Limits:
        cfg = self.cfg
        count = cfg.limit_request_fields or 32768  # to gunicorn, 0 means: as much as there may ever be
        field = cfg.limit_request_field_size or None
        return Limits(
            request_line=cfg.limit_request_line or 1 << 20,
            header_count=count,
            header_bytes=max(min(count * (field or 1 << 20), 1 << 21), Limits().header_bytes),
            field_bytes=field,
            idle_seconds=float(cfg.keepalive) if cfg.keepalive else 0.1,
            requests_per_connection=None if cfg.keepalive else 1,
        )

    def _application(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.nr: int = self.nr + 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
            self._woken.set()
        environ["RAW_URI"] = environ["REQUEST_URI"]
        if "werkzeug.socket" in environ:
            environ["gunicorn.socket"] = environ["werkzeug.socket"]
        script_name = self._proxies.apply(environ) or self._script_name
        if script_name:
            mount(environ, script_name)
        if self._hooks.before is not None:
            self._hooks.before(self, Request(environ))
        return self.wsgi(environ, start_response)


class _Server(WSGIServer):
    """Reads the fields of proxies that are trusted in another way than those of others."""

    def __init__(self, *args: Any, proxies: Proxies, underscores: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self._proxies = proxies
        self.parser = HeadParser(self.limits, underscores)
        kept = {name for name in proxies.names if "_" in name}
        self._trusted = HeadParser(self.limits, "keep" if "*" in proxies.names else underscores, kept)

    def parser_for(self, address: Any) -> HeadParser:
        return self._trusted if self._proxies.trust(address[0] if isinstance(address, tuple) else "") else self.parser


class _ReadFile(FileWrapper):
    """A file that is read, not sent by the kernel."""


class _AccessLog:
    """Entries to gunicorn's access log, in whatever format that has; and to the hook that follows a request."""

    def __init__(self, log: Any, hooks: Hooks) -> None:
        self._log = log
        self._hooks = hooks

    def write(self, entry: Entry) -> None:
        environ = entry.environ or _environ_of_refused(entry)
        head = entry.response
        status = head.status if head is not None and entry.status else str(entry.status)
        fields = head.fields if head is not None else []
        try:
            safe = for_log({**_environ_of_refused(entry), **environ})
            said = SimpleNamespace(
                status=escape_breaks(status),
                sent=entry.sent,
                headers=[(name, escape_breaks(value)) for name, value in fields],
            )
            self._log.access(said, Request(safe), safe, timedelta(seconds=entry.seconds))
        except Exception:  # a format of the user's, or whatever the environ has become: it costs the line
            self._log.exception("Error in the access log")
        if head is not None and self._hooks.after is not None:
            response = SimpleNamespace(status=status, sent=entry.sent, headers=fields)
            self._hooks.after(Request(environ), environ, response)


def _environ_of_refused(entry: Entry) -> dict[str, Any]:
    method, _, rest = escape(entry.request).partition(" ")
    target, _, protocol = rest.rpartition(" ")
    return {
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "SERVER_PROTOCOL": protocol,
        "REMOTE_ADDR": entry.address,
    }


class _ErrorLog:
    """``wsgi.errors`` and failures to gunicorn's error log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, text: str) -> None:
        if text.strip():
            self._log.error("%s", text.rstrip("\n"))

    def flush(self) -> None:
        """gunicorn's log flushes by itself."""
