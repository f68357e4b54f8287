"""One process that serves: its listeners, its servers, its signals."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import ssl
from pathlib import Path
from typing import Any

import hubbub
from hubbub.event import Event
from hubbub.io import Socket
from hubbub.lowlevel import wait_readable
from hubbub.monitor import BlockingDetector, BlockingReport

from hubbub_server._application import ApplicationError, adapt, end, find_application, start
from hubbub_server._counters import Page
from hubbub_server._listener import parse_address
from hubbub_server._logs import Logs
from hubbub_server._meter import Meter
from hubbub_server._options import limits_of
from hubbub_server._orphan import end_without_supervisor
from hubbub_server._outlet import complain, standard_outlets
from hubbub_server._reload import CHANGED, watch_modules
from hubbub_server._supervisor import REOPEN
from hubbub_server._systemd import Notifier, listen_fds
from hubbub_server._tls import cooperative
from hubbub_server.wsgi import WSGIServer

__all__ = ["Serving", "application_of", "check", "tls_context"]

READY = b"R"
BEAT = b"."
_ROUND = 0.5
"""Seconds between two looks at what is left to be written or said."""
_GRACE = 5.0
"""Seconds beyond its own time limit after which a worker ends that has no supervisor any more, whatever it does."""
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
"""For TLS 1.2: forward secrecy, and no CBC."""


def tls_context(certfile: str, keyfile: str | None, http2: bool = False) -> ssl.SSLContext:
    """A server's context whose sockets cooperate.

    :param http2: offer HTTP/2 too.
    :raises hubbub.exceptions.PluginError: no package provides such sockets.
    :raises OSError: the files cannot be read, or do not fit together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.sslsocket_class = cooperative()
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9113, 9.2.1
    context.set_ciphers(_CIPHERS)
    try:
        context.load_cert_chain(certfile, keyfile)
    except OSError as error:
        # OpenSSL's own words name no file, and often nothing else.
        files = repr(certfile) if keyfile is None else f"{certfile!r} with the key {keyfile!r}"
        raise OSError(f"cannot use the certificate {files}: {error}") from error
    return context


def _context(options: argparse.Namespace) -> ssl.SSLContext:
    return tls_context(options.certfile, options.keyfile, options.http2)


def application_of(options: argparse.Namespace) -> Any:
    """The application that the options name.

    :raises ApplicationError: there is no such application, or it is of another kind.
    """
    return adapt(find_application(options.application, options.factory), "asgi" if options.asgi else None)


def check(options: argparse.Namespace) -> None:
    """Load what serving would load, and do no more. Raises as :class:`Serving` does, but binds nothing."""
    for address in options.bind or ():
        parse_address(address)
    if options.certfile:
        _context(options)
    application_of(options)
    complain(f"hubbub-serve: {options.application} can be served")


class Serving:
    """Serves as the options say until it is told to stop.

    :raises OSError: an address cannot be bound, or a file cannot be read.
    :raises ApplicationError: there is no such application.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._stop = Event()
        self._status = 0
        self.logs = Logs()
        self._notifier = Notifier() if options.control is None else None
        self.context = _context(options) if options.certfile else None
        listeners = self._listeners()
        self.application = application_of(options)
        usual = "-" if options.events in (None, "none") else "none"
        access, errors = self.logs.open(options.access_log or usual), self.logs.open(options.error_log or usual)
        self.events = self.logs.events(options)
        several = options.control is not None and (options.workers or 1) > 1
        self.servers = [
            WSGIServer(
                listener,
                self.application,
                options.backlog,
                "default" if options.max_connections is None else options.max_connections,
                log=access,
                log_format=options.log_format,
                error_log=errors,
                environ={"wsgi.multiprocess": True} if several else None,
                ssl_context=self.context,
                limits=limits_of(options),
                reuse_port=options.reuse_port,
                max_memory=options.max_memory,
                proxy_from=options.proxy_from or (),
                forwarded_from=options.forwarded_from or (),
                forwarded_fields=options.forwarded_fields.split(","),
                events=self.events,
                request_ids=options.request_ids,
                http2=options.http2,
            )
            for listener in listeners
        ]
        if several:
            for server in self.servers:
                server.max_accept = 1  # so that the other workers get their share of a burst
        if options.telemetry:
            _watch_by_telemetry(self.servers)
        self._meter = None if options.counters is None else Meter(_page(options.counters), self.servers)

    def _listeners(self) -> list[Any]:
        options = self.options
        if options.control is not None:
            for descriptor in (*options.inherited, options.control):
                os.set_inheritable(descriptor, False)  # they are ours now, and no child of the application's
            os.set_blocking(options.control, False)
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
        start(self.application)
        if self.options.blocking_seconds is not None:
            BlockingDetector(self.options.blocking_seconds, self._report_blocking).start()
        try:
            for server in self.servers:
                server.start()
                started.append(server)
            self._watch()
            if self._meter is not None:
                self._meter.start()
            self._announce()
            self._stop.wait()
            if self._notifier is not None:
                self._notifier.stopping()
        finally:
            stoppers = [hubbub.spawn(server.stop, self.options.stop_seconds) for server in started]
            hubbub.joinall(stoppers)
            end(self.application, self.options.stop_seconds)
            if self._meter is not None:
                self._meter.stop()
            self.logs.finish()
        return self._status

    def stop(self, status: int = 0) -> None:
        """Have :meth:`run` return soon."""
        self._status = status
        self._stop.set()

    def _watch(self) -> None:
        loop = hubbub.get_hub().loop
        for name, action in (
            ("SIGTERM", self._end),
            ("SIGINT", self._end),
            ("SIGQUIT", self._quit),
            ("SIGHUP", self._reload_certificate),
            ("SIGUSR1", self.logs.reopen),
            ("SIGUSR2", self._refuse_upgrade),
        ):
            if hasattr(signal, name):
                loop.signal(getattr(signal, name), ref=False).start(action)
        # The attribute keeps it: a watcher without a reference stops.
        self._rounds = loop.timer(_ROUND, _ROUND, ref=False)
        self._rounds.start(self._round)
        if self.options.control is not None:
            self._beats = loop.timer(*self._beat_times(), ref=False)
            self._beats.start(self._beat)
            hubbub.spawn(self._follow_supervisor)
        if self.options.reload:
            hubbub.spawn(watch_modules, lambda: self.stop(CHANGED))

    def _end(self) -> None:
        """Stop; asked twice, at once."""
        if self._stop.is_set():
            self._quit()
        else:
            self.stop()

    def _quit(self) -> None:
        """Stop without waiting for requests."""
        self.options.stop_seconds = 0.0
        self.stop()
        for server in self.servers:
            hubbub.spawn(server.stop, 0.0)

    def _refuse_upgrade(self) -> None:
        complain("hubbub-serve: SIGUSR2 asks the supervisor for an upgrade, and this process is none; see --workers")

    def _round(self) -> None:
        """Now and then: what is left to be written or said."""
        self.logs.pump()
        if self._notifier is not None:
            self._notifier.again()

    def _report_blocking(self, found: BlockingReport) -> None:
        """Called in the detector's thread."""
        if self.events is not None:
            self.events.write("blocked", seconds=found.seconds, stack=found.stack)
        stack = "".join(f"  {line}\n" for line in found.stack)
        log = self.servers[0].error_log
        if log is not None:
            log.write(f"nothing else could run for {found.seconds:g} s, because of:\n{stack}")

    def _beat_times(self) -> tuple[float, float]:
        stuck = self.options.stuck_seconds
        seconds = 60.0 if stuck is None else max(stuck / 4, 0.05)
        return seconds, seconds

    def _beat(self) -> None:
        """Tell the supervisor that the loop turns."""
        try:
            os.write(self.options.control, BEAT)
        except OSError:
            return  # it is busy, or gone, which is seen where it is listened to

    def _reload_certificate(self) -> None:
        """New connections get the certificate that is in the files now; a bad one is complained of and not taken."""
        if self._notifier is not None:
            self._notifier.reloading()
        if self.context is not None:
            self._take_certificate()
        if self._notifier is not None:
            self._notifier.ready()

    def _take_certificate(self) -> None:
        try:
            # A new context: one that has taken a certificate whose key does not fit is of no use any more.
            self.context = _context(self.options)
        except OSError as error:
            complain(f"hubbub-serve: keeping the old certificate: {error}")
            return
        for server in self.servers:
            server.ssl_context = self.context

    def _announce(self) -> None:
        if self._notifier is None:
            # On SIGABRT, which the supervisor sends to a process that stands still. The descriptor does not block.
            errors = max([2, *(outlet.descriptor for outlet in standard_outlets()[1:])])
            faulthandler.enable(errors)
            end_without_supervisor(self.options.control, self.options.stop_seconds + _GRACE, errors)
            try:
                os.write(self.options.control, READY)
            except OSError:
                self.stop()  # it is gone
            return
        for server in self.servers:
            scheme = "https" if self.context is not None else "http"
            complain(f"hubbub-serve: {shown(scheme, server.address)} (pid {os.getpid()})")
        self._notifier.ready()

    def _follow_supervisor(self) -> None:
        """Do what it says, and stop when it is gone: its end of the control socket is closed."""
        try:
            while True:
                wait_readable(self.options.control)
                said = os.read(self.options.control, 100)
                if not said:
                    break
                if REOPEN in said:
                    self.logs.reopen()
        except ConnectionResetError:
            pass  # it went before it had read what was written to it
        self.stop()


def _watch_by_telemetry(servers: list[WSGIServer]) -> None:
    """Tell OpenTelemetry of the requests.

    :raises ApplicationError: it is not installed.
    """
    from hubbub_server.telemetry import Telemetry

    try:
        telemetry = Telemetry()
    except ImportError as error:
        raise ApplicationError(f"--telemetry: {error}") from error
    for server in servers:
        telemetry.watch(server)


def _page(descriptor: int) -> Page:
    """The page at a descriptor, which is not needed any more then."""
    try:
        return Page(descriptor)
    finally:
        os.close(descriptor)


def shown(scheme: str, address: Any) -> str:
    """An address as people write it."""
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{scheme}://{host}:{address[1]}"
    return f"{scheme} on unix:{Path(address)}"
