"""One process that serves: its listeners, its servers, its signals."""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import hubbub
from hubbub.event import Event
from hubbub.io import Socket
from hubbub.lowlevel import wait_readable

from hubbub_server._application import find_application
from hubbub_server._listener import parse_address
from hubbub_server._options import limits_of
from hubbub_server._reload import CHANGED, watch_modules
from hubbub_server._systemd import listen_fds, notify
from hubbub_server._tls import cooperative
from hubbub_server.wsgi import WSGIServer

__all__ = ["Serving", "log_file", "tls_context"]

READY = b"R"
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""For TLS 1.2: forward secrecy, and no CBC."""


def tls_context(certfile: str, keyfile: str | None) -> ssl.SSLContext:
    """A server's context whose sockets cooperate.

    :raises hubbub.exceptions.PluginError: no package provides such sockets.
    :raises OSError: the files cannot be read, or do not fit together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.sslsocket_class = cooperative()
    context.set_alpn_protocols(["http/1.1"])
    context.set_ciphers(_CIPHERS)
    try:
        context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        # OpenSSL's own words name no file, and often nothing else.
        files = repr(certfile) if keyfile is None else f"{certfile!r} with the key {keyfile!r}"
        raise OSError(f"cannot use the certificate {files}: {error}") from error
    return context


def log_file(name: str) -> Any:
    """What a log option means: "-" stderr, "none" nothing, else a file that is appended to."""
    if name == "-":
        return "default"
    if name == "none":
        return None
    return open(name, "a", encoding="utf-8", errors="backslashreplace")


class Serving:
    """Serves as the options say until it is told to stop.

    :raises OSError: an address cannot be bound, or a file cannot be read.
    :raises ApplicationError: there is no such application.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._stop = Event()
        self._status = 0
        self.context = tls_context(options.certfile, options.keyfile) if options.certfile else None
        listeners = self._listeners()
        application = find_application(options.application, options.factory)
        access, errors = log_file(options.access_log), log_file(options.error_log)
        several = options.control is not None and (options.workers or 1) > 1
        self.servers = [
            WSGIServer(
                listener,
                application,
                options.backlog,
                log=access,
                log_format=options.log_format,
                error_log=errors,
                environ={"wsgi.multiprocess": True} if several else None,
                ssl_context=self.context,
                limits=limits_of(options),
                reuse_port=options.reuse_port,
            )
            for listener in listeners
        ]
        if several:
            for server in self.servers:
                server.max_accept = 1  # so that the others get their share of a burst

    def _listeners(self) -> list[Any]:
        options = self.options
        if options.inherited:
            return [Socket(fileno=fd) for fd in options.inherited]
        activated = listen_fds()
        if activated:
            return list(activated)
        addresses = options.bind or ["127.0.0.1:8000"]
        for address in addresses:
            parse_address(address)
        return list(addresses)

    def run(self) -> int:
        """Serve; the exit status."""
        started: list[WSGIServer] = []
        try:
            for server in self.servers:
                server.start()
                started.append(server)
            self._watch()
            self._announce()
            self._stop.wait()
            notify("STOPPING=1")
        finally:
            stoppers = [hubbub.spawn(server.stop, self.options.stop_seconds) for server in started]
            hubbub.joinall(stoppers)
        return self._status

    def stop(self, status: int = 0) -> None:
        """Have :meth:`run` return soon."""
        self._status = status
        self._stop.set()

    def _watch(self) -> None:
        loop = hubbub.get_hub().loop
        for name in ("SIGTERM", "SIGINT"):
            loop.signal(getattr(signal, name), ref=False).start(self.stop)
        if hasattr(signal, "SIGHUP"):
            loop.signal(signal.SIGHUP, ref=False).start(self._reload_certificate)
        if self.options.control is not None:
            hubbub.spawn(self._follow_supervisor)
        if self.options.reload:
            hubbub.spawn(watch_modules, lambda: self.stop(CHANGED))

    def _reload_certificate(self) -> None:
        """New connections get the certificate that is in the files now; a bad one is complained of and not taken."""
        if self.context is None:
            return
        try:
            # A new context: one that has taken a certificate whose key does not fit is of no use any more.
            self.context = tls_context(self.options.certfile, self.options.keyfile)
        except OSError as error:
            sys.stderr.write(f"hubbub-serve: keeping the old certificate: {error}\n")
            return
        for server in self.servers:
            server.ssl_context = self.context

    def _announce(self) -> None:
        if self.options.control is not None:
            os.write(self.options.control, READY)
            return
        for server in self.servers:
            scheme = "https" if self.context is not None else "http"
            sys.stderr.write(f"hubbub-serve: {shown(scheme, server.address)} (pid {os.getpid()})\n")
        notify("READY=1")

    def _follow_supervisor(self) -> None:
        """Stop when the supervisor is gone: its end of the control socket is closed."""
        try:
            while True:
                wait_readable(self.options.control)
                if not os.read(self.options.control, 100):
                    break
        except ConnectionResetError:
            pass  # it went before it had read what was written to it
        self.stop()


def shown(scheme: str, address: Any) -> str:
    """An address as people write it."""
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{scheme}://{host}:{address[1]}"
    return f"{scheme} on unix:{Path(address)}"
