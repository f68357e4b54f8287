"""One stream of what happens to a server: requests, errors, its starts and stops, each an event with fields."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from hubbub_server.http.accesslog import AccessLog, Entry, LogStream, as_text, escape_breaks

__all__ = ["EVENT_FORMATS", "ErrorEvents", "EventLog", "RequestLog", "new_request_id", "request_id", "stream_of",
           "valid_request_id"]  # fmt: skip

request_id: ContextVar[str | None] = ContextVar("hubbub_server.request_id", default=None)
"""The id of the request that the greenlet answers, for logs of the application; what it spawns has it too."""

_ID = re.compile(r"[0-9A-Za-z._\-]{1,128}", re.ASCII)
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+", re.ASCII)


def new_request_id() -> str:
    """An id that no other request has: 128 random bits, as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def valid_request_id(text: str) -> bool:
    """Whether an id that a peer has chosen may be taken over: letters, digits, ``.``, ``_``, ``-``, 128 at
    most."""
    return _ID.fullmatch(text) is not None


def _now() -> str:
    """The time (RFC 3339, UTC), in milliseconds."""
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z"


def _as_json(event: str, fields: dict[str, Any]) -> str:
    """One JSON object (RFC 8259), ASCII only."""
    made = json.dumps({"event": event, **fields}, default=as_text)
    return made.replace("\x7f", "\\u007f")  # of the control characters JSON lets this one stand


def _as_text(event: str, fields: dict[str, Any]) -> str:
    """The event and ``key=value``, with values in JSON's quotes where they are not plain words."""
    return " ".join([event, *(f"{key}={_word(value)}" for key, value in fields.items())])


def _word(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, default=as_text).replace("\x7f", "\\u007f")


EVENT_FORMATS: Final[dict[str, Callable[[str, dict[str, Any]], str]]] = {"json": _as_json, "text": _as_text}
"""The formats by name."""


class EventLog:
    """Writes events.

    :param target: where lines go, as for :class:`~hubbub_server.http.accesslog.LogStream`; or a callable, which is
        called as ``target(event, **fields)``, such as the ``info`` of a logger of structlog.
    :param form: ``"json"`` or ``"text"``, of lines.
    :raises TypeError: the target is neither.
    :raises ValueError: the format is not known.

    Every event has ``time`` (RFC 3339, UTC) and ``pid``. What cannot be written is dropped and counted, as in other
    logs.
    """

    def __init__(self, target: Any, form: str = "json") -> None:
        if form not in EVENT_FORMATS:
            raise ValueError(f"no format of events {form!r}; there are {', '.join(EVENT_FORMATS)}")
        self._format = EVENT_FORMATS[form]
        self._call: Callable[..., Any] | None = None
        if callable(target) and not hasattr(target, "write") and not hasattr(target, "handlers"):
            self._call = target
            target = _NOWHERE
        self.stream: LogStream = LogStream(target)

    def lost_line(self, count: int) -> str:
        """The line that says in the stream itself that so many lines before it were lost: an event ``lost``."""
        return self._format("lost", {"time": _now(), "pid": os.getpid(), "lines": count}) + "\n"

    def write(self, event: str, /, **fields: Any) -> None:
        """Write one event. Nothing that goes wrong with it reaches the caller."""
        said = {"time": _now(), "pid": os.getpid(), **fields}
        try:
            if self._call is not None:
                self._call(event, **said)
            else:
                self.stream.write(self._format(event, said) + "\n")
        except Exception as error:  # a function of the user's; the response is on its way whatever that says
            self.stream.drop(error)


class _Nowhere:
    """Where nothing is written to, because a function is called instead."""

    def write(self, text: str) -> None:
        """Forget it."""


_NOWHERE = _Nowhere()


def stream_of(environ: dict[str, Any]) -> dict[str, Any]:
    """The field of an event that says which stream of HTTP/2 it is about; none with HTTP/1."""
    return {"stream": environ["hubbub.stream"]} if "hubbub.stream" in environ else {}


class RequestLog:
    """Writes an event ``request`` per response, and a line of an access log, if there is one besides.

    :param events: where the events go.
    :param log: the access log.
    """

    def __init__(self, events: EventLog, log: AccessLog | None) -> None:
        self._events = events
        self._log = log
        self.stream: LogStream | None = None if log is None else log.stream

    def write(self, entry: Entry) -> None:
        """Write one of each."""
        if self._log is not None:
            self._log.write(entry)
        said = entry.environ.get
        self._events.write(
            "request",
            request_id=said("hubbub.request_id"),
            address=as_text(entry.address),
            request=entry.request,
            status=entry.status,
            bytes=entry.sent,
            seconds=round(entry.seconds, 6),
            user=said("REMOTE_USER"),
            referer=said("HTTP_REFERER"),
            agent=said("HTTP_USER_AGENT"),
            **stream_of(entry.environ),
        )


class ErrorEvents(LogStream):
    """``wsgi.errors`` as events ``log``: one per write that is not blank."""

    def __init__(self, events: EventLog, log: LogStream | None) -> None:
        super().__init__(_NOWHERE)
        self._events = events
        self._text = log

    def write(self, text: str) -> None:
        """Write ``text``. Raises as :meth:`LogStream.write`."""
        if self._text is not None:
            self._text.write(text)
        elif not isinstance(text, str):
            raise TypeError(f"a log takes str, not {type(text).__name__}")
        if text.strip():
            self._events.write("log", request_id=request_id.get(), message=escape_breaks(text.rstrip("\n")))
