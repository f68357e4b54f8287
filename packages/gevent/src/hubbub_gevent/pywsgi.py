"""gevent.pywsgi on hubbub: a WSGI server whose handler reads line by line and can be subclassed at every step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hubbub_gevent._http_headers import OldMessage as OldMessage
from hubbub_gevent._http_headers import format_date_time as format_date_time
from hubbub_gevent._http_headers import headers_factory as headers_factory
from hubbub_gevent._http_input import MAX_REQUEST_LINE as MAX_REQUEST_LINE
from hubbub_gevent._http_input import Input as Input
from hubbub_gevent._http_input import InvalidInput as _InvalidClientInput  # noqa: F401  # gevent's name
from hubbub_gevent._wsgi_environ import Environ, SecureEnviron, WSGISecureEnviron
from hubbub_gevent._wsgi_handler import WSGIHandler, _InvalidClientRequest  # noqa: F401  # gevent's name
from hubbub_gevent._wsgi_logs import LoggingLogAdapter, log_for
from hubbub_gevent._wsgi_logs import _NoopLog as _NoopLog
from hubbub_gevent.server import StreamServer
from hubbub_gevent.socket import getfqdn

__all__ = [
    "Environ",
    "LoggingLogAdapter",
    "SecureEnviron",
    "WSGIHandler",
    "WSGISecureEnviron",
    "WSGIServer",
]


class WSGIServer(StreamServer):
    """Serves a WSGI application."""

    environ: Any
    handler_class: Any = WSGIHandler
    environ_class: Any = dict
    secure_environ_class: Any = WSGISecureEnviron
    base_env: Any = {  # noqa: RUF012 - assigned by users, as gevent's
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": f"gevent/20.0 Python/{sys.version_info[0]}.{sys.version_info[1]}",
        "SCRIPT_NAME": "",
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }

    def __init__(
        self,
        listener: Any,
        application: Any = None,
        backlog: int | None = None,
        spawn: Any = "default",
        log: Any = "default",
        error_log: Any = "default",
        handler_class: Any = None,
        environ: Any = None,
        **ssl_args: Any,
    ) -> None:
        if application is not None:
            self.application = application
        if handler_class is not None:
            self.handler_class = handler_class
        self.log = log_for(log)
        self.error_log = log_for(error_log, 40)
        self._connections: set[Any] = set()
        super().__init__(listener, backlog=backlog, spawn=spawn, **ssl_args)
        self.set_environ(environ)
        self.set_max_accept()

    application: Any = None
    log: Any = None
    error_log: Any = None
    stopping: bool = False
    """Whether :meth:`stop` was called: each connection then ends after its current response."""

    def stop(self, timeout: float | None = None) -> None:
        """Close, wait for the requests that run, and kill and report those that do not end in time.

        Connections without a request are closed: at once if they have had one, else half a second later.

        :param timeout: seconds; None for ``stop_timeout``.
        """
        self.stopping = True
        self._end_idle(self._has_served)
        limit = self.stop_timeout if timeout is None else timeout
        with self.loop.timer(0.5 if limit is None else min(0.5, limit / 2), ref=False) as patience:
            patience.start(self._end_idle)
            super().stop(timeout)

    @staticmethod
    def _has_served(handler: Any) -> bool:
        return bool(handler._served)

    def _end_idle(self, chosen: Callable[[Any], bool] | None = None) -> None:
        for handler in list(self._connections):
            if handler._waits and (chosen is None or chosen(handler)):
                handler._hang_up()

    def start(self) -> None:
        """Bind, if there is only an address yet, and accept."""
        self.stopping = False
        super().start()

    def set_environ(self, environ: Any = None) -> None:
        """Set variables that every request's environment has besides the usual ones."""
        if environ is not None:
            self.environ = environ
        elif not hasattr(self, "environ"):
            self.environ = None
        given = self.environ or {}
        self.environ = self.environ_class(self.base_env)
        self.environ["wsgi.url_scheme"] = "https" if self.ssl_enabled else "http"
        self.environ.update(given)
        self.environ.setdefault("wsgi.errors", self.error_log)

    def set_max_accept(self) -> None:
        """With several processes, accept one connection at a time, so that every process gets some."""
        if self.environ.get("wsgi.multiprocess"):
            self.max_accept = 1

    def get_environ(self) -> Any:
        """A new environment."""
        return self.environ_class(self.environ)

    def init_socket(self) -> None:
        """Bind."""
        super().init_socket()
        self.update_environ()

    def start_accepting(self) -> None:
        """Accept from now on."""
        if "SERVER_NAME" not in self.environ:
            self.update_environ()
        super().start_accepting()

    def update_environ(self) -> None:
        """Set SERVER_NAME and SERVER_PORT from the address."""
        if isinstance(self.address, tuple):
            if "SERVER_NAME" not in self.environ:
                self.environ["SERVER_NAME"] = _name_of(self.address[0])
            self.environ.setdefault("SERVER_PORT", str(self.address[1]))
        else:
            self.environ.setdefault("SERVER_NAME", "")
            self.environ.setdefault("SERVER_PORT", "")

    def handle(self, sock: Any, address: Any) -> None:
        """Serve one connection."""
        self.handler_class(sock, address, self).handle()


def _name_of(host: Any) -> str:
    try:
        return str(getfqdn(str(host)))
    except OSError:
        return str(host)


def main() -> None:
    """``python -m gevent.pywsgi module:app [-b address]``."""
    import argparse
    import importlib

    parser = argparse.ArgumentParser(prog="python -m gevent.pywsgi")
    parser.add_argument("-b", "--bind", default="127.0.0.1:8080")
    parser.add_argument("app", help="module:application")
    options = parser.parse_args()
    module, _, name = options.app.partition(":")
    sys.path.insert(0, "")
    WSGIServer(options.bind, getattr(importlib.import_module(module), name or "application")).serve_forever()


if __name__ == "__main__":
    main()
