"""Access logs: one line per response, in the common, combined or JSON format, with everything a client says escaped."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from hubbub_server._outlet import Outlet, complain, of_stream
from hubbub_server.http.response import ResponseHead

__all__ = [
    "FORMATS",
    "AccessLog",
    "Entry",
    "EntryLog",
    "LogStream",
    "as_text",
    "escape",
    "escape_breaks",
]

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")
_BREAKING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Entry(NamedTuple):
    """What there is to say about one request and its response."""

    address: Any
    """The client's, or an empty text; the environ's ``REMOTE_ADDR``, which an application may have changed."""
    request: str
    """The request line, or what came in its place."""
    status: int
    """0 when the connection ended before one was sent."""
    sent: int
    """Bytes of body."""
    seconds: float
    """From the last byte of the request's head to the last of the response."""
    environ: dict[str, Any]
    """The request's, or empty for one that was refused."""
    response: ResponseHead | None = None
    """Its ``status`` and ``fields`` are those of the response; None for a request that was refused."""


def _hex(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def escape(text: str) -> str:
    """``text`` without quotes, backslashes, control characters and what is not ASCII."""
    return _UNSAFE.sub(_hex, text)


class _Clock:
    """The local time as the common log format has it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))
        return self._text


_clock = _Clock()


def as_text(value: Any, otherwise: str = "-") -> str:
    """What an application has left in its environ, as text, of whatever type it is."""
    if type(value) is str:
        return value
    if value is None:
        return otherwise
    try:
        return str(value)
    except Exception:  # it costs the application its field, not its client the connection
        return otherwise


def _word(value: Any) -> str:
    """A value that must not look like several."""
    return escape(as_text(value) or "-").replace(" ", "\\x20").replace("[", "\\x5b")


def _common(entry: Entry) -> str:
    """``address - user [time] "request" status bytes``, and the seconds it took."""
    user = _word(entry.environ.get("REMOTE_USER"))
    return (
        f'{_word(entry.address)} - {user} [{_clock.now()}] "{escape(entry.request)}" '
        f"{entry.status or '-'} {entry.sent or '-'} {entry.seconds:.6f}"
    )


def _combined(entry: Entry) -> str:
    """The same with ``"referer" "user agent"`` before the seconds."""
    line, _, seconds = _common(entry).rpartition(" ")
    referer = escape(as_text(entry.environ.get("HTTP_REFERER")))
    agent = escape(as_text(entry.environ.get("HTTP_USER_AGENT")))
    return f'{line} "{referer}" "{agent}" {seconds}'


def _as_json(entry: Entry) -> str:
    """One JSON object."""
    said = entry.environ.get
    referer, agent, user = said("HTTP_REFERER"), said("HTTP_USER_AGENT"), said("REMOTE_USER")
    fields = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "address": as_text(entry.address),
        "user": None if user is None else as_text(user),
        "request": entry.request,
        "status": entry.status,
        "bytes": entry.sent,
        "seconds": round(entry.seconds, 6),
        "referer": None if referer is None else as_text(referer),
        "agent": None if agent is None else as_text(agent),
    }
    if "hubbub.request_id" in entry.environ:
        fields["request_id"] = as_text(said("hubbub.request_id"))
    if "hubbub.stream" in entry.environ:
        fields["stream"] = said("hubbub.stream")
    return json.dumps(fields, default=as_text).replace(
        "\x7f", "\\u007f"
    )  # of the control characters JSON lets this one stand


def escape_breaks(text: str) -> str:
    """``text`` without what a terminal or a reader of lines takes for more than text."""
    return _BREAKING.sub(_hex, text)


FORMATS: dict[str, Callable[[Entry], str]] = {"common": _common, "combined": _combined, "json": _as_json}
"""The formats by name."""


class _Stderr:
    """Whatever ``sys.stderr`` is at the time."""

    def __init__(self) -> None:
        self._seen: Any = None
        self._outlet: Outlet | None = None

    def outlet(self) -> Outlet | None:
        """An outlet beside the stream, if a write to the stream may block."""
        stream = sys.stderr
        if stream is not self._seen:
            self._seen, self._outlet = stream, of_stream(stream)
        return self._outlet

    def write(self, text: str) -> None:
        """Write it, if there is such a stream."""
        stream = sys.stderr
        if stream is not None:
            stream.write(text)
            stream.flush()


class LogStream:
    """Where lines go: ``"default"`` (``sys.stderr``), a file-like object, an :class:`~hubbub_server._outlet.Outlet`, or
    a :class:`logging.Logger` (then at ``level``).

    A log that cannot be written (a full disk, a pipe without a reader) must not stop the server, nor a request: lines
    are held, dropped and counted, and the first failure is reported on stderr. What a logger's handler waits for, its
    request waits for.

    :raises TypeError: none of these.
    """

    def __init__(self, target: Any, level: int = 20) -> None:
        self.target = target
        self.level = level
        self._dropped = 0
        self._outlet: Outlet | None = None
        self._put: Callable[[str], Any]
        if isinstance(target, Outlet):
            self._outlet = target
            self._put = self._pass
        elif isinstance(target, str) and target == "default":
            self._stderr = _Stderr()
            self._put = self._to_stderr
        elif hasattr(target, "log") and hasattr(target, "handlers"):
            self._put = self._log
        elif callable(getattr(target, "write", None)):
            self._outlet = of_stream(target)
            self._put = self._write if self._outlet is None else self._beside
        else:
            raise TypeError(f"a log is None, a file-like object or a logger, not {target!r}")

    @property
    def dropped(self) -> int:
        """How many writes have failed, or lines were lost."""
        return self._dropped + (0 if self._outlet is None else self._outlet.lost)

    @property
    def outlet(self) -> Outlet | None:
        """What may have something left to write, see :meth:`~hubbub_server._outlet.Outlet.pump`."""
        return self._outlet

    def _pass(self, text: str) -> None:
        assert self._outlet is not None  # or this would not be called
        self._outlet.write(text.encode("utf-8", "backslashreplace"))

    def _beside(self, text: str) -> None:
        """To the descriptor of a text file, after what is in that file's own buffer."""
        if self.target.closed:
            raise ValueError("the log is closed")
        self._pass(text)

    def _to_stderr(self, text: str) -> None:
        self._outlet = outlet = self._stderr.outlet()
        if outlet is None:
            self._stderr.write(text)
        else:
            outlet.write(text.encode("utf-8", "backslashreplace"))

    def _log(self, text: str) -> None:
        self.target.log(self.level, "%s", text.rstrip("\n"))

    def _write(self, text: str) -> None:
        self.target.write(text)
        flush = getattr(self.target, "flush", None)
        if flush is not None:
            flush()

    def write(self, text: str) -> None:
        """Write ``text``, or drop it.

        :raises TypeError: it is not text.
        """
        if not isinstance(text, str):
            raise TypeError(f"a log takes str, not {type(text).__name__}")
        try:
            self._put(text)
        except Exception as error:  # whatever a handler or a file of the user's comes up with
            self.drop(error)

    def drop(self, error: Exception) -> None:
        """A line cannot be made or written: count it, and say so if it is the first."""
        self._dropped += 1
        if self._dropped == 1 and self.target is not sys.stderr:
            complain(f"cannot write to the log {self.target!r}, lines are dropped: {error}")

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Every write is flushed already."""


class EntryLog(Protocol):
    """Where entries go."""

    def write(self, entry: Entry) -> None:
        """Write one."""


class AccessLog:
    """Writes an :class:`Entry` per response.

    :param stream: where to.
    :param form: a key of :data:`FORMATS`, or a function from an Entry to a line.
    :raises ValueError: the format is not known.
    """

    def __init__(self, stream: LogStream, form: str | Callable[[Entry], str] = "common") -> None:
        self._checked = isinstance(form, str)
        if isinstance(form, str):
            if form not in FORMATS:
                raise ValueError(f"no log format {form!r}; there are {', '.join(FORMATS)}")
            form = FORMATS[form]
        self._format = form
        self.stream = stream

    def write(self, entry: Entry) -> None:
        """Write one line. A format that fails costs the line."""
        try:
            line = self._format(entry)
            self.stream.write((line if self._checked else escape_breaks(line)) + "\n")
        except Exception as error:  # a function of the user's; the response is on its way whatever that says
            self.stream.drop(error)
