"""Access logs: one line per response, in the common, combined or JSON format, with everything a client says escaped."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from hubbub_server.http.response import ResponseHead

__all__ = ["FORMATS", "AccessLog", "Entry", "LogStream", "escape"]

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


class Entry(NamedTuple):
    """What there is to say about one request and its response."""

    address: str
    """The client's, or an empty text."""
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


def _common(entry: Entry) -> str:
    """``address - user [time] "request" status bytes``, and the seconds it took."""
    user = escape(str(entry.environ.get("REMOTE_USER") or "-")).replace(" ", "\\x20")
    return (
        f'{entry.address or "-"} - {user} [{_clock.now()}] "{escape(entry.request)}" '
        f"{entry.status or '-'} {entry.sent or '-'} {entry.seconds:.6f}"
    )


def _combined(entry: Entry) -> str:
    """The same with ``"referer" "user agent"`` before the seconds."""
    line, _, seconds = _common(entry).rpartition(" ")
    referer = escape(entry.environ.get("HTTP_REFERER", "-"))
    agent = escape(entry.environ.get("HTTP_USER_AGENT", "-"))
    return f'{line} "{referer}" "{agent}" {seconds}'


def _as_json(entry: Entry) -> str:
    """One JSON object."""
    return json.dumps(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "address": entry.address,
            "request": entry.request,
            "status": entry.status,
            "bytes": entry.sent,
            "seconds": round(entry.seconds, 6),
            "referer": entry.environ.get("HTTP_REFERER"),
            "agent": entry.environ.get("HTTP_USER_AGENT"),
        }
    )


FORMATS: dict[str, Callable[[Entry], str]] = {"common": _common, "combined": _combined, "json": _as_json}
"""The formats by name."""


class LogStream:
    """Where lines go: a file-like object, or a :class:`logging.Logger` (then at ``level``).

    A log that cannot be written (a full disk) must not stop the server: lines are dropped and counted, and the first
    failure is reported on stderr.

    :raises TypeError: neither.
    """

    def __init__(self, target: Any, level: int = 20) -> None:
        self.target = target
        self.level = level
        self.dropped = 0
        """How many writes have failed."""
        self._put: Callable[[str], Any]
        if hasattr(target, "log") and hasattr(target, "handlers"):
            self._put = self._log
        elif callable(getattr(target, "write", None)):
            self._put = self._write
        else:
            raise TypeError(f"a log is None, a file-like object or a logger, not {target!r}")

    def _log(self, text: str) -> None:
        self.target.log(self.level, "%s", text.rstrip("\n"))

    def _write(self, text: str) -> None:
        self.target.write(text)
        flush = getattr(self.target, "flush", None)
        if flush is not None:
            flush()

    def write(self, text: str) -> None:
        """Write ``text``, or drop it."""
        try:
            self._put(text)
        except (OSError, ValueError) as error:
            self.dropped += 1
            if self.dropped == 1 and self.target is not sys.stderr:
                sys.stderr.write(f"cannot write to the log {self.target!r}, lines are dropped: {error}\n")

    def writelines(self, lines: list[str]) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Every write is flushed already."""


class AccessLog:
    """Writes an :class:`Entry` per response.

    :param stream: where to.
    :param form: a key of :data:`FORMATS`, or a function from an Entry to a line.
    :raises ValueError: the format is not known.
    """

    def __init__(self, stream: LogStream, form: str | Callable[[Entry], str] = "common") -> None:
        if isinstance(form, str):
            if form not in FORMATS:
                raise ValueError(f"no log format {form!r}; there are {', '.join(FORMATS)}")
            form = FORMATS[form]
        self._format = form
        self.stream = stream

    def write(self, entry: Entry) -> None:
        """Write one line."""
        self.stream.write(self._format(entry) + "\n")
