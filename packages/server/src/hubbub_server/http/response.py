"""Heads of responses: what an application said, checked, as bytes. No I/O."""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from typing import Any, Final, TypeAlias

from hubbub_server.http.framing import Delimiter, frame

__all__ = ["HEADS", "SERVER", "TODAY", "ResponseHead", "date", "error_response", "extra_fields", "lines_of",
           "response_head"]  # fmt: skip

_STATUS = re.compile(r"[1-9][0-9]{2}(?: [\t -~\x80-\xff]*)?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_REMEMBERED = 512
_LONG = 1024
_BY_LENGTH = Delimiter.LENGTH

_PLAIN, _LENGTH, _DATE, _SERVER, _CONNECTION, _UPGRADE, _SECRET, _FORBIDDEN, _REQUEST_ID = range(9)
_KINDS = {
    "content-length": _LENGTH,
    "date": _DATE,
    "server": _SERVER,
    "connection": _CONNECTION,
    "upgrade": _UPGRADE,
    "set-cookie": _SECRET,
    "x-request-id": _REQUEST_ID,
    "keep-alive": _FORBIDDEN,
    "proxy-connection": _FORBIDDEN,
    "te": _FORBIDDEN,
    "trailer": _FORBIDDEN,
    "transfer-encoding": _FORBIDDEN,
}
SERVER: Final = "hubbub"
"""What the ``Server`` field says: no version, which helps attackers more than anybody else."""

_Framed: TypeAlias = tuple[bytes, Delimiter, int | None, bool]
_names: dict[Any, int] = {}
TODAY: Final[list[Any]] = [0, ""]
"""The present second, and what :func:`date` says in it."""


def date() -> str:
    """The fields ``Date`` (RFC 9110, 5.6.7), for now, and ``Server``, with their line ends."""
    now = int(time.time())
    if TODAY[0] != now:
        TODAY[:] = now, f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER}\r\n"
    text: str = TODAY[1]
    return text


def _kind(name: Any) -> int:
    """What sort of field ``name`` is.

    :raises TypeError: not a str.
    :raises ValueError: not the name of a field.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a header must be str, not {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a header: {name!r}")
    kind = _KINDS.get(name.lower(), _PLAIN)
    if len(_names) >= _REMEMBERED:
        _names.clear()
    if type(name) is str:
        _names[name] = kind
    return kind


def _code(status: Any) -> int:
    """The number in ``status``, such as ``"200 OK"``.

    :raises TypeError: not a str.
    :raises ValueError: not a status.
    """
    if not isinstance(status, str):
        raise TypeError(f"the status must be str, not {status!r}")
    if not _STATUS.fullmatch(status):
        raise ValueError(f"a status is three digits, a space and a text, not {status!r}")
    code = int(status[:3])
    if code < 200 and code != 101:
        raise ValueError(f"an application may answer 101 or 200 and above, not {status!r}")
    return code


class ResponseHead:
    """Status and header fields, as given to ``start_response``. Framing is added when it is known.

    :raises TypeError: something is not a str, or not a list.
    :raises ValueError: something would not be a valid header, or is the server's business (PEP 3333, "Other HTTP
        Features").
    """

    __slots__ = ("_adds", "_decided", "_made", "_text", "code", "length", "persists", "says_request_id", "secret")

    def __init__(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.code: int = _code(status)
        self.length: int | None = None
        """What ``Content-Length`` said."""
        self.persists: bool = True
        """False when the application said ``Connection: close``."""
        self.secret: bool = False
        """Whether it says something that is for this client only."""
        self.says_request_id: bool = False
        """Whether the application says what the request is called."""
        self._adds = True
        lines = ["HTTP/1.1 " + status]
        for name, value in headers:
            try:
                kind = _names[name]
            except (KeyError, TypeError):
                kind = _kind(name)
            if kind and not self._special(kind, name, value):
                continue
            lines.append(name + ": " + value)
        text = "".join(lines)
        if not (text.isascii() and text.isprintable()):  # one look at the whole: nearly always there is nothing to find
            _find_culprit(headers)
        self._text = "\r\n".join([*lines, ""])
        self._made: Any = (None,)
        self._decided: Any = (None,)

    def _special(self, kind: int, name: str, value: str) -> bool:
        """Note a field that matters to framing. False: it is not sent as it stands."""
        if kind == _LENGTH:
            if not (isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) < 19):
                raise ValueError(f"not a Content-Length: {value!r}")
            length = int(value)
            if self.length is not None and self.length != length:
                raise ValueError(f"two lengths: {self.length} and {length}")
            self.length = length
            return False
        if kind in (_DATE, _SERVER):
            self._adds = False
        elif kind == _SECRET:
            self.secret = True
        elif kind == _REQUEST_ID:
            self.says_request_id = True
        elif kind == _CONNECTION:
            if self.code == 101:
                return True
            if "close" in value.lower():
                self.persists = False
            return False
        elif kind == _UPGRADE:
            return self.code in (101, 426)
        elif kind == _FORBIDDEN:
            raise ValueError(f"{name} is the server's business, not the application's")
        return True

    def framed(self, given: int | None, head_only: bool, minor: int, persists: bool) -> _Framed:
        """The head as bytes, with the empty line, and how the response is framed. What is asked for again is kept.

        :param given: bytes of the body, if that is known; for the rest see :func:`~hubbub_server.http.framing.frame`.
        :returns: the head; its delimiter; the bytes of body that it promises, or None; whether the connection persists.
        """
        # Whole, because each step is run for each response.
        added = date() if self._adds else self._missing()
        made_of = added, given, head_only, minor, persists
        made = self._made
        if made[0] != made_of:
            asked = given is not None, head_only, minor, persists and self.persists
            decided = self._decided
            if decided[0] != asked:
                decided = self._decided = asked, *frame(self.code, self.length is not None, *asked)
            _, delimiter, says_length, persists, fields = decided
            length = given if self.length is None else self.length
            said = f"Content-Length: {length}\r\n" if says_length else ""
            data = f"{self._text}{added}{said}{fields}\r\n".encode("latin-1")
            # One attribute for both: a head may be shared with the servers of other threads.
            made = self._made = made_of, (data, delimiter, length if delimiter is _BY_LENGTH else None, persists)
        framed: _Framed = made[1]
        return framed

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The header fields that were asked for, and how long the body is if that was said."""
        pairs = [line.partition(": ") for line in self._text.split("\r\n")[1:]]
        said = [(name, value) for name, _, value in pairs if name]
        return said if self.length is None else [*said, ("Content-Length", str(self.length))]

    @property
    def status(self) -> str:
        """Such as ``"200 OK"``."""
        return self._text.partition("\r\n")[0].partition(" ")[2]

    def _missing(self) -> str:
        """Of ``Date`` and ``Server``, what the application has not said."""
        given = {line.partition(":")[0].lower() for line in self._text.split("\r\n")}
        return "".join(line for line in date().splitlines(True) if line.partition(":")[0].lower() not in given)


def extra_fields(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Fields of an interim response, or trailers, checked as those of a response are.

    :raises TypeError: as :class:`ResponseHead`.
    :raises ValueError: the same, and for a field that says how a response is framed.
    """
    for name, value in fields:
        if isinstance(name, str) and name.lower() in ("content-length", "connection", "upgrade"):
            raise ValueError(f"{name} ({value!r}) has no meaning in trailers or before a response")
    return ResponseHead("200 OK", list(fields)).fields


def lines_of(fields: list[tuple[str, str]]) -> bytes:
    """The same as lines. Raises as :func:`extra_fields`."""
    return "".join(f"{name}: {value}\r\n" for name, value in extra_fields(fields)).encode("latin-1")


HEADS: Final[dict[Any, ResponseHead]] = {}
"""By status and header fields, those that were asked for before."""


def response_head(status: str, headers: list[tuple[str, str]]) -> ResponseHead:
    """The head for what an application said, made and checked once for what it says again and again.

    Raises what :class:`ResponseHead` does.
    """
    if type(headers) is not list:
        headers = list(headers)
    key = (status, *headers)
    try:
        return HEADS[key]
    except (KeyError, TypeError):  # not seen before, or with something in it that has no hash
        head = ResponseHead(status, headers)
    if not head.secret and _plain(status, headers):
        if len(HEADS) >= _REMEMBERED:
            HEADS.clear()
        HEADS[key] = head
    return head


def _plain(status: str, headers: list[tuple[str, str]]) -> bool:
    """Whether it is made of tuples of true str, which are what they compare equal to, and short enough to keep."""
    if type(status) is not str or not all(type(pair) is tuple for pair in headers):
        return False
    texts = [text for pair in headers for text in pair]
    return all(type(text) is str for text in texts) and sum(map(len, texts)) <= _LONG


def _find_culprit(headers: list[tuple[str, str]]) -> None:
    """Something in the values is not plain ASCII: latin-1 passes, control characters and the rest do not."""
    for name, value in headers:
        if not isinstance(value, str):
            raise TypeError(f"the value of the header {name} must be str, not {value!r}")
        if _CONTROL.search(value):
            raise ValueError(f"control characters in the value of the header {name}: {value!r}")
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"the value of the header {name} is not latin-1: {value!r}") from None


def error_response(status: str, detail: str, with_body: bool = True) -> bytes:
    """A whole response that refuses a request and closes the connection."""
    body = f"{status}\n{detail}\n".encode("latin-1")
    head = ResponseHead(status, [("Content-Type", "text/plain; charset=utf-8")])
    data = head.framed(len(body), not with_body, 1, False)[0]
    return data + body if with_body else data
