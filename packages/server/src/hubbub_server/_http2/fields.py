"""Field lists of HTTP/2 as heads of HTTP/1.1, and back (RFC 9113, 8.2 and 8.3). No I/O.

A request is written as the HTTP/1.1 head that says the same, and then read by the parser of those. So one set of rules
decides what is refused, whatever the version. What only HTTP/2 forbids is refused here.
"""

from __future__ import annotations

import re

from hubbub_server._http2.protocol import Field
from hubbub_server.http.errors import RequestError
from hubbub_server.http.request import BAD_REQUEST
from hubbub_server.http.response import ResponseHead, date, extra_fields

__all__ = ["Malformed", "final_fields", "request_head", "response_fields", "trailer_fields"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_NOT_IN_TRAILERS = _CONNECTION | {
    *(b"content-length", b"host", b"trailer", b"te", b"content-type", b"authorization", b"expect"),
}
_REMEMBERED = 512
_FIELD_COST = 32
_names: set[bytes] = set()
_responses: dict[ResponseHead, tuple[list[Field], bool]] = {}


class Malformed(RequestError):
    """A request that breaks a rule of HTTP/2: a stream error besides (RFC 9113, 8.1.1)."""

    def __init__(self, detail: str) -> None:
        super().__init__(BAD_REQUEST, detail)

    def __reduce__(self) -> tuple[type[Malformed], tuple[str]]:
        return Malformed, (self.detail,)


def request_head(fields: list[Field], extended: bool = False) -> tuple[bytes, bytes]:
    """The head, with its last empty line, of the HTTP/1.1 request that a list of fields stands for.

    :param extended: whether the extended CONNECT of RFC 8441 is served; then it becomes a ``GET``.
    :returns: the head; and what ``:protocol`` says, or nothing.
    :raises Malformed: it stands for none.
    """
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    cookies: list[bytes] = []
    for name, value in fields:
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or lines or cookies:
                raise Malformed("A pseudo-header field is not known, not the first, or there twice.")
            pseudo[name] = value
            continue
        if name not in _names:
            _check_name(name)
        if value and value.strip(b" \t") is not value and value.strip(b" \t") != value:
            raise Malformed("The value of a field begins or ends with a blank.")
        if name == b"cookie":
            cookies.append(value)
        elif name == b"te" and value.lower() != b"trailers":
            raise Malformed("The TE field says more than trailers.")
        else:
            lines.append(name + b": " + value)
    start, protocol = _start(pseudo, extended)
    authority = pseudo.get(b":authority")
    if authority is not None:
        _take_authority(lines, authority)
    if cookies:
        lines.append(b"Cookie: " + b"; ".join(cookies))
    head = b"\r\n".join([start, *lines])
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise Malformed("There is a line break in a field.")
    return head + b"\r\n\r\n", protocol


def _check_name(name: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise Malformed("The name of a field is not valid.")
    if name in _CONNECTION:
        raise Malformed("A field of HTTP/1.1's connections is there.")
    if len(name) <= 64:
        if len(_names) >= _REMEMBERED:
            _names.clear()
        _names.add(name)


def _start(pseudo: dict[bytes, bytes], extended: bool) -> tuple[bytes, bytes]:
    """The request line, and the protocol of an extended CONNECT."""
    method, scheme, path = pseudo.get(b":method"), pseudo.get(b":scheme"), pseudo.get(b":path")
    protocol = pseudo.get(b":protocol", b"")
    if method is None or b" " in method:
        raise Malformed("The :method is missing, or not valid.")
    if method == b"CONNECT" and not protocol:
        if scheme is not None or path is not None or not pseudo.get(b":authority"):
            raise Malformed("CONNECT has an :authority, and neither :scheme nor :path.")
        return b"CONNECT " + pseudo[b":authority"] + b" HTTP/1.1", b""
    if b":protocol" in pseudo:
        if not extended or method != b"CONNECT" or not _NAME.fullmatch(protocol.lower()):
            raise Malformed("The :protocol field was not offered.")
        method = b"GET"
    if scheme is None or scheme.lower() not in (b"http", b"https"):
        raise Malformed("The :scheme is missing, or neither http nor https.")
    if path is None or not (path.startswith(b"/") or path == b"*") or b" " in path:
        raise Malformed("The :path is missing, or not valid.")
    return method + b" " + path + b" HTTP/1.1", protocol


def _take_authority(lines: list[bytes], authority: bytes) -> None:
    """Put ``:authority`` in the place of ``Host``, which says the same if it is there."""
    line = b"host: " + authority
    if line in lines:
        lines.remove(line)
    if any(other.startswith(b"host:") for other in lines):
        raise Malformed("The Host field and :authority differ.")
    lines.insert(0, line)


def trailer_fields(fields: list[Field], limit: int) -> list[tuple[str, str]]:
    """The trailers of a request, checked.

    :param limit: most bytes of all of them.
    :raises RequestError: they are not valid, or too long.
    """
    if sum(len(name) + len(value) + _FIELD_COST for name, value in fields) > limit:
        raise RequestError("431 Request Header Fields Too Large", "The trailers are too long.")
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in _NOT_IN_TRAILERS or not _VALUE.fullmatch(value):
            raise Malformed("A trailer is not valid.")
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in fields]


_server_date: list[str | list[Field]] = ["", []]


def _dated() -> list[Field]:
    """The fields ``date`` and ``server``, for now."""
    text = date()
    if _server_date[0] != text:
        pairs = [line.partition(": ") for line in text.splitlines()]
        _server_date[:] = text, [(name.lower().encode("ascii"), value.encode("ascii")) for name, _, value in pairs]
    made = _server_date[1]
    assert isinstance(made, list)  # the other of the two is the text
    return made


def response_fields(head: ResponseHead, length: int | None) -> list[Field]:
    """The fields of a response, with ``:status`` first.

    :param length: what ``content-length`` says; None if it is not there.
    """
    known = _responses.get(head)
    if known is None:
        known = _convert(head)
        if not head.secret:
            if len(_responses) >= _REMEMBERED:
                _responses.clear()
            _responses[head] = known
    fields, complete = known
    fields = fields.copy() if complete else [*fields, *_missing(fields)]
    if length is not None:
        fields.append((b"content-length", b"%d" % length))
    return fields


def _convert(head: ResponseHead) -> tuple[list[Field], bool]:
    """What an application said, and whether that is all. A field of HTTP/1.1's connections is not sent."""
    fields: list[Field] = [(b":status", b"%d" % head.code)]
    for name, value in head.fields:
        field = name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")
        if field[0] not in _CONNECTION and field[0] != b"content-length":
            fields.append(field)
    names = {name for name, _ in fields}
    return fields, {b"date", b"server"} <= names


def _missing(fields: list[Field]) -> list[Field]:
    """Of ``date`` and ``server``, what the application has not said."""
    names = {name for name, _ in fields}
    return [field for field in _dated() if field[0] not in names]


def final_fields(fields: list[tuple[str, str]]) -> list[Field]:
    """Trailers of a response, or the fields of an interim one, checked as those of a response are.

    Raises as :func:`~hubbub_server.http.response.extra_fields`.
    """
    return [
        (name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")) for name, value in extra_fields(fields)
    ]
