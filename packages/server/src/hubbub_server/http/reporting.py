"""What a server of HTTP says to its logs: requests, errors, and events."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from hubbub_server.events import EventLog, RequestLog, stream_of
from hubbub_server.http.accesslog import AccessLog, Entry, EntryLog, LogStream, as_text, escape, escape_breaks
from hubbub_server.http.room import RoomyServer

__all__ = ["ReportingServer"]

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class ReportingServer(RoomyServer):
    """A server with an access log, an error log and a stream of events.

    :param log: the access log; it, ``error_log``, ``log_format`` and ``events`` are as
        :class:`~hubbub_server.http.server.HTTPServer` has them, the rest as
        :class:`~hubbub_server.stream.StreamServer`.
    """

    __slots__ = ("access_log",)  # beside the __dict__: what each request asks for, which accelerators read in place

    def __init__(
        self,
        listener: Any,
        handle: Callable[..., Any],
        backlog: int,
        spawn: Any,
        log: Any,
        error_log: Any,
        *,
        log_format: str | Callable[[Entry], str],
        events: EventLog | None,
        ssl_context: Any,
        handshake_timeout: float | None,
        reuse_port: bool,
        proxy_from: Iterable[str],
    ) -> None:
        access_log = None if log is None else AccessLog(_stream(log), log_format)
        self.access_log: EntryLog | None = access_log if events is None else RequestLog(events, access_log)
        self.error_log: LogStream | None = None if error_log is None else _stream(error_log)
        self.events: EventLog | None = events
        super().__init__(
            listener,
            handle,
            backlog,
            spawn,
            ssl_context=ssl_context,
            handshake_timeout=handshake_timeout,
            reuse_port=reuse_port,
            proxy_from=proxy_from,
        )

    def tell_server(self, event: str) -> None:
        """The server has begun or ended something: write an event."""
        if self.events is not None:
            self.events.write(event, scheme="https" if self.ssl_enabled else "http", address=self.address)

    def log_error(self, environ: dict[str, Any], message: str) -> None:
        """Write a line about a request to the error log, and an event ``error``."""
        self._write_error(environ, message)
        if self.events is not None:
            self.events.write("error", **_named(environ), message=escape_breaks(message))

    def _write_error(self, environ: dict[str, Any], message: str) -> None:
        if self.error_log is not None:
            name = environ.get("hubbub.request_id")
            self.error_log.write(f"{_name(environ)}{'' if name is None else f' ({as_text(name)})'}: {message}\n")

    def log_exception(self, environ: dict[str, Any], error: BaseException) -> None:
        """Write the traceback of a failed application to the error log, and an event ``exception``.

        What an error says may come from a client: no line of it begins like a line of a log, and none moves a cursor.
        """
        described = _described(error)
        self._write_error(environ, f"the application failed\n{_quoted(described)}")
        if self.events is not None:
            self.events.write(
                "exception",
                **_named(environ),
                error=f"{type(error).__module__}.{type(error).__qualname__}",
                message=_CONTROL.sub("?", as_text(error)),
                traceback=_CONTROL.sub("?", described).splitlines(),
            )

    def tell_websocket(self, event: str, environ: dict[str, Any], fields: dict[str, Any]) -> None:
        """A WebSocket was opened, or has ended: write an event."""
        if self.events is not None:
            said = {"address": as_text(environ.get("REMOTE_ADDR")), "target": as_text(environ.get("REQUEST_URI"))}
            self.events.write(event, request_id=environ.get("hubbub.request_id"), **said, **fields)

    def client_disconnected(self, environ: dict[str, Any]) -> None:
        """A client was gone before it had its response. That is its right, so nothing is said; override to count."""


def _stream(target: Any) -> LogStream:
    return target if isinstance(target, LogStream) else LogStream(target)


def _described(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _quoted(text: str) -> str:
    return "\n".join(f"  {_CONTROL.sub('?', line)}" for line in text.rstrip("\n").split("\n"))


def _named(environ: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that say which request it is about."""
    return {
        "request_id": environ.get("hubbub.request_id"),
        "method": as_text(environ.get("REQUEST_METHOD")),
        "target": as_text(environ.get("REQUEST_URI")),
        **stream_of(environ),
    }


def _name(environ: dict[str, Any]) -> str:
    method, target = (as_text(environ.get(key)) for key in ("REQUEST_METHOD", "REQUEST_URI"))
    return f"{escape(method)} '{escape(target)}'"
