"""Heads of requests: bytes to CGI variables and framing. No I/O.

Every byte of a head is checked here, by the grammar of RFC 9110 and RFC 9112, and then its meaning. llhttp reads the
fields a second time: what either of the two refuses is refused, so a fault of one is not enough to let something
through. Where the grammar is wider than what is safe, or narrower than what is sent, the README has a table.

Fields are then split in Python, with a bounded memory for request lines, fields and blocks of fields seen before:
clients repeat themselves. What may hold a secret is not remembered.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from hubbub_server.http.errors import RequestError
from hubbub_server.http.limits import Limits

__all__ = [
    "BAD_REQUEST",
    "CHUNKED",
    "NOTHING",
    "PREFACE",
    "Fields",
    "Head",
    "HeadParser",
    "Meaning",
    "Usual",
    "check_partial",
    "is_host",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""The head with which a connection of HTTP/2 begins (RFC 9113, 3.4)."""
CHUNKED = -1
"""The length of a body that says itself where it ends."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Beyond the grammar, because it is sent and can be read in one way only: quotes, angle brackets and bytes above ASCII;
# in the query, a backslash too. (In a path, browsers and some servers take that for a slash.)
_PATH = rb'[!"$->@-\[\]-~\x80-\xff]'
_QUERY = rb'[!"$-~\x80-\xff]'
_START = re.compile(rb"(" + _TOKEN + rb") (" + _PATH + rb"+(?:\?" + _QUERY + rb"*)?) HTTP/1\.([01])")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb"+:[\t -~\x80-\xff]*+\r\n)*+\r\n")
_OWS = re.compile(rb":[ \t]*+(.*?)[ \t]*\r\n")
_VERSION = re.compile(rb"[^ ]+ [^ ]+ HTTP/([0-9])\.([0-9])")
_METHOD_START = re.compile(_TOKEN + rb"+(?: |\Z)")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_NAMED = r"[A-Za-z0-9\-._~!$&'()*+;=]*"
_HOST = re.compile(
    rf"(?:(?=[^:]){_NAMED}(?:%[0-9A-Fa-f]{{2}}{_NAMED})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{0,5}})?", re.ASCII
)
_ABSOLUTE = re.compile(rb"https?://([^/?]*)([^?]*)(\?.*)?", re.IGNORECASE | re.DOTALL)
_CODINGS = re.compile(r"(?:[a-z-]+[ \t]*,[ \t]*)+chunked", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_REMEMBERED_LINES = 1024
_REMEMBERED_BYTES = 192
_REMEMBERED_BLOCKS = 128
_REMEMBERED_BLOCK = 1024
_SECRET = frozenset({"HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"})

_SINGLE = ("HTTP_HOST", "HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH", "CONTENT_TYPE")
# As nearly every client sends it; written in other ways, or with what is not printable, it is a field like others.
_COOKIE = b"\r\nCookie: "
_USUAL = {"keep-alive": True, "Keep-Alive": True, "close": False}
_FRAMING = ("CONTENTLENGTH", "TRANSFERENCODING")

BAD_REQUEST = "400 Bad Request"
"""The status of most refusals."""


class Meaning(NamedTuple):
    """What the header fields of a request say to the server."""

    length: int
    """Bytes of body, or :data:`CHUNKED`."""
    persists: bool | None
    """What ``Connection`` says: True for keep-alive, False for close, None for nothing."""
    expects: bool
    """``Expect: 100-continue``."""
    upgrade: bool
    """``Connection: upgrade``, with an ``Upgrade`` other than HTTP/2."""


NOTHING: Final = Meaning(0, None, False, False)
"""What most header fields say to the server."""
Fields: TypeAlias = tuple[dict[str, str], Meaning, str | None]
"""CGI variables (``HTTP_*``, ``CONTENT_TYPE``, ``CONTENT_LENGTH``), what they mean, and ``HTTP_COOKIE`` if it is not
among the variables. They are shared between requests that say the same, and not to be changed."""


class Head(NamedTuple):
    """A request line, taken apart."""

    method: str
    target: str
    path: str
    """Unquoted, as PEP 3333 wants it: bytes in the guise of latin-1."""
    query: str
    protocol: str
    minor: int
    """The version is HTTP/1.minor."""
    authority: str | None
    """Of an absolute target; it replaces ``Host`` (RFC 9112, 3.2.2)."""


class Usual(Protocol):
    """What an accelerator has for a parser: the same in C, for usual heads. See :mod:`hubbub_server.acceleration`."""

    def serve(self, connection: Any, head: bytes) -> bytes | bool | None:
        """Serve the request with that head, and those that follow it on the connection, as long as they are usual.

        :returns: the first head that is not usual, and was not served; or None if what follows the last request served
            is no whole head; or, once the connection is to end, whether the client may still be sending.
        """

    def raw_fields(self, head: bytes) -> list[tuple[bytes, bytes]] | None:
        """The fields of a head, see :meth:`HeadParser.raw_fields`; None if it is not usual."""

    def parse(self, head: bytes) -> tuple[Head, dict[str, str], Meaning] | None:
        """The request line, the fields as CGI variables, and their meaning; None if it is not usual. For tests."""


class HeadParser:
    """Parses heads, one at a time. It may be shared by all connections of a thread.

    :param limits: request line, header count, header and field bytes are checked here.
    :param underscores: what becomes of fields with an underscore in their names, which in an environ look like those
        with a hyphen: ``"drop"``, ``"refuse"`` (400) or ``"keep"``.
    :param kept: names (in capitals) of such fields that are kept anyway, as ``HTTP_NAME``; what would look like them,
        but for a hyphen, is dropped.
    """

    def __init__(self, limits: Limits, underscores: str = "drop", kept: Container[str] = ()) -> None:
        self._limits = limits
        self._underscores = underscores
        self._kept = kept
        self._keys: dict[bytes, str] = {}
        self._starts: dict[bytes, Head] = {}
        self._lines: dict[bytes, tuple[str, str]] = {}
        self._raw: dict[bytes, tuple[bytes, bytes]] = {}
        self._raw_blocks: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._blocks: tuple[dict[bytes, Fields], ...] = ({}, {}, {}, {})
        self._once: set[int] = set()
        self.usual: Usual | None = None
        """The accelerator that parses usual heads as this does, if there is one."""

    @property
    def limits(self) -> Limits:
        """Those that it was made with."""
        return self._limits

    def start_line(self, line: bytes) -> Head:
        """Take a request line apart.

        :raises RequestError: 400, 414, 501 or 505.
        """
        known = self._starts.get(line)
        if known is not None:
            return known
        match = _START.fullmatch(line)
        if match is None or len(line) > self._limits.request_line:
            raise _bad_start_line(line, self._limits)
        method, target, minor = match.groups()
        if method == b"CONNECT":  # any answer but a refusal would open a tunnel (RFC 9110, 9.3.6)
            raise RequestError("501 Not Implemented", "This is no proxy.")
        authority: str | None = None
        place = target
        if target[0] != 47:  # not "/"
            place, authority = _other_form(method, target)
        path, _, query = place.partition(b"?")
        head = Head(
            method.decode("ascii"),
            target.decode("latin-1"),
            (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
            query.decode("latin-1"),
            "HTTP/1.1" if minor == b"1" else "HTTP/1.0",
            1 if minor == b"1" else 0,
            authority,
        )
        if len(line) <= _REMEMBERED_BYTES:
            if len(self._starts) >= _REMEMBERED_LINES:
                self._starts.clear()
            self._starts[line] = head
        return head

    def fields(self, head: bytes, start: int, minor: int) -> Fields:
        """The fields of ``head``, a whole head with its last empty line, whose first field is at ``start``.

        The rest of a block with a cookie in it is as often seen before as other blocks are, so it is looked at by
        itself: no line of a block depends on another, once none is folded.

        :raises RequestError: 400, 413, 417, 431 or 501.
        """
        if len(head) > self._limits.header_bytes:
            raise RequestError("431 Request Header Fields Too Large", "The header fields are too long.")
        cookie = head.find(_COOKIE, start - 2)
        if cookie >= 0:
            end = head.find(b"\r\n", cookie + 2)
            value = head[cookie + len(_COOKIE) : end].decode("latin-1")
            if self._limits.field_bytes is not None:
                self._check_field(end - cookie - 2)
            if value and value.isprintable() and value.strip() == value:
                fields, meaning, _ = self._block(head[:cookie] + head[end:], start, minor, 1)
                if "HTTP_COOKIE" not in fields:
                    return fields, meaning, value
        return self._block(head, start, minor, 0)

    def raw_fields(self, head: bytes, start: int, upgrade: bool) -> list[tuple[bytes, bytes]]:
        """The fields of a head that :meth:`fields` has accepted, as pairs of bytes: each by itself, its name lowered.

        Those that are not to be seen are left out, among them an upgrade unless it can be served.
        """
        if self.usual is not None:
            fields = self.usual.raw_fields(head)
            if fields is not None:
                return fields
        block = head[start:]
        known = self._raw_blocks.get(block)
        if known is not None:
            return known.copy()
        if len(block) == 2:
            return []
        get = self._raw.get
        pairs = [pair for pair in [get(line) or self._raw_field(line) for line in block[:-4].split(b"\r\n")] if pair[0]]
        if not upgrade:
            pairs = [pair for pair in pairs if pair[0] not in (b"upgrade", b"http2-settings")]
        if any(block in memory for memory in self._blocks):
            # It is remembered, so it has no secrets; and it is the same each time, so that of an upgrade is.
            if len(self._raw_blocks) >= _REMEMBERED_BLOCKS:
                self._raw_blocks.clear()
            self._raw_blocks[block] = pairs.copy()
        return pairs

    def _raw_field(self, line: bytes) -> tuple[bytes, bytes]:
        name, _, value = line.partition(b":")
        key = self.variable(name)
        pair = (name.lower() if key else b"", value.strip(b" \t"))
        if len(line) <= _REMEMBERED_BYTES and key not in _SECRET:
            if len(self._raw) >= _REMEMBERED_LINES:
                self._raw.clear()
            self._raw[line] = pair
        return pair

    def _block(self, head: bytes, start: int, minor: int, more: int) -> Fields:
        """The fields of a head from which ``more`` lines were taken out."""
        block = head[start:]
        memory = self._blocks[minor + more * 2]
        known = memory.get(block)
        if known is not None:
            return known
        environ = self._environ(head, start, more)
        if "HTTP_HOST" not in environ and minor:
            raise RequestError(BAD_REQUEST, "The Host field is missing.")
        fields = environ, self._judge(environ, minor), None
        if len(block) <= _REMEMBERED_BLOCK and _SECRET.isdisjoint(environ):
            self._remember(memory, block, fields)
        return fields

    def _remember(self, memory: dict[bytes, Fields], block: bytes, fields: Fields) -> None:
        """Keep a block that is seen for the second time: many differ in something each time."""
        if hash(block) in self._once:
            if len(memory) >= _REMEMBERED_BLOCKS:
                memory.clear()
            memory[block] = fields
            return
        if len(self._once) >= _REMEMBERED_BLOCKS:
            self._once.clear()
        self._once.add(hash(block))

    def _environ(self, head: bytes, start: int, more: int) -> dict[str, str]:
        """The CGI variables of the fields, all but their meaning checked."""
        lines = head[start:-4].split(b"\r\n") if start < len(head) - 2 else []
        if len(lines) + more > self._limits.header_count:
            raise RequestError("431 Request Header Fields Too Large", "There are too many header fields.")
        _check_syntax(head, start)
        known = self._lines.get
        pairs = [known(line) or self._split(line) for line in lines]
        environ = dict(pairs)
        if len(environ) != len(lines):
            environ = _joined(pairs)
        if "" in environ:
            del environ[""]
        return environ

    def _split(self, line: bytes) -> tuple[str, str]:
        """The CGI variable and the value of one field; the variable is empty if it is not to be seen.

        :raises RequestError: 400, a Host that is none; 431.
        """
        self._check_field(len(line))
        name, _, raw = line.partition(b":")
        value = raw.strip(b" \t").decode("latin-1")
        key = self._keys.get(name)
        if key is None:
            key = self.variable(name)
        if key == "HTTP_HOST" and not _HOST.fullmatch(value):
            raise RequestError(BAD_REQUEST, "The Host field is not valid.")
        pair = (key, value)
        if len(line) <= _REMEMBERED_BYTES and key not in _SECRET:
            if len(self._lines) >= _REMEMBERED_LINES:
                self._lines.clear()
            self._lines[line] = pair
        return pair

    def _check_field(self, size: int) -> None:
        limit = self._limits.field_bytes
        if limit is not None and size > limit:
            raise RequestError("431 Request Header Fields Too Large", "A header field is too long.")

    def variable(self, name: bytes) -> str:
        """The CGI variable of a field's name; empty if it is not to be seen.

        :raises RequestError: 400, what others may take for a field of the framing, or for another.
        """
        text = name.decode("ascii").upper()
        key = text.replace("-", "_")
        if re.sub("[^A-Z]", "", text) in _FRAMING and text not in ("CONTENT-LENGTH", "TRANSFER-ENCODING"):
            raise RequestError(BAD_REQUEST, "The name of a field is too much like that of another.")
        if "_" in text:
            # It would pass for another field.
            key = "HTTP_" + key if self._keeps(text) else ""
        elif text == "PROXY" or (key != text and key in self._kept):
            key = ""  # HTTP_PROXY is read by HTTP clients as a setting
        elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        if len(name) <= 64:
            if len(self._keys) >= _REMEMBERED_LINES:
                self._keys.clear()
            self._keys[name] = key
        return key

    def _keeps(self, name: str) -> bool:
        """Whether a field with an underscore in its name is kept.

        :raises RequestError: 400, it is refused.
        """
        if name in self._kept:
            return True
        if self._underscores == "refuse":
            raise RequestError(BAD_REQUEST, "The name of a field has an underscore in it.")
        return self._underscores == "keep"

    def _judge(self, environ: dict[str, str], minor: int) -> Meaning:
        """What the fields mean to the server."""
        length = 0
        if "HTTP_TRANSFER_ENCODING" in environ:
            length = _check_coding(environ, minor)
        elif "CONTENT_LENGTH" in environ:
            length = self._check_length(environ["CONTENT_LENGTH"])
        connection = environ.get("HTTP_CONNECTION")
        persists: bool | None = None
        upgrade = False
        if connection is not None:
            persists = _USUAL.get(connection)
            if persists is None:
                persists, upgrade = _check_connection(connection, environ, length, minor)
        expects = False
        if "HTTP_EXPECT" in environ and minor:
            if environ["HTTP_EXPECT"].lower() != "100-continue":
                raise RequestError("417 Expectation Failed", "The expectation is not known.")
            expects = True
        if not length and connection is None and not expects:
            return NOTHING
        return Meaning(length, persists, expects, upgrade)

    def _check_length(self, value: str) -> int:
        if not _LENGTH.fullmatch(value):
            raise RequestError(BAD_REQUEST, "The Content-Length is not valid.")
        length = int(value)
        limit = self._limits.body_bytes
        if limit is not None and length > limit:
            raise RequestError("413 Content Too Large", "The body is too long.")
        return length


def is_host(text: str) -> bool:
    """Whether it may stand in a Host field, and is not empty."""
    return _HOST.fullmatch(text) is not None


def _check_syntax(head: bytes, start: int) -> None:
    """Check the fields of a head, which begin at ``start``.

    :raises RequestError: 400.
    """
    if not _FIELDS.fullmatch(head, start):
        raise RequestError(BAD_REQUEST, "A header field is not valid.")
    # The methods and targets that llhttp knows are its own choice.
    fields = b"GET / HTTP/1.1\r\n" + head[start:]
    try:
        _read_again(fields)
    except HttpParserError:
        # It does not take every whitespace for what it is around some values (RFC 9110, 5.6.3).
        try:
            _read_again(_OWS.sub(rb": \1\r\n", fields))
        except HttpParserError as error:
            raise RequestError(BAD_REQUEST, f"{error}.") from None


def _read_again(head: bytes) -> None:
    try:
        # A new one each time: what llhttp remembers of one request must not touch another's.
        HttpRequestParser(None).feed_data(head)
    except HttpParserUpgrade:
        return


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """The environ of fields some of which are there more than once.

    :raises RequestError: 400, one that may not be.
    """
    environ: dict[str, str] = {}
    for key, value in pairs:
        if key not in environ:
            environ[key] = value
        elif key in _SINGLE:
            raise RequestError(BAD_REQUEST, "A field that may be there once is there twice.")
        else:
            environ[key] += f"; {value}" if key == "HTTP_COOKIE" else f",{value}"
    return environ


def _check_coding(environ: dict[str, str], minor: int) -> int:
    if not minor:
        raise RequestError(BAD_REQUEST, "HTTP/1.0 has no Transfer-Encoding.")
    if "CONTENT_LENGTH" in environ:
        raise RequestError(BAD_REQUEST, "Both Transfer-Encoding and Content-Length are there.")
    coding = environ["HTTP_TRANSFER_ENCODING"].lower()
    if coding != "chunked":
        # Chunked once, and last; else the end of the body could not be told.
        if coding.count("chunked") == 1 and coding.endswith("chunked") and _CODINGS.fullmatch(coding):
            raise RequestError("501 Not Implemented", "Of the transfer codings only chunked is known.")
        raise RequestError(BAD_REQUEST, "The Transfer-Encoding is not valid.")
    return CHUNKED


def _check_connection(value: str, environ: dict[str, str], length: int, minor: int) -> tuple[bool | None, bool]:
    options = [option.strip(" \t") for option in value.lower().split(",")]
    persists = False if "close" in options else True if "keep-alive" in options else None
    upgrade = "upgrade" in options and "HTTP_UPGRADE" in environ
    if upgrade and (length or not minor or "h2c" in environ["HTTP_UPGRADE"].lower()):
        # A server may ignore an upgrade, and must in HTTP/1.0 (RFC 9110, 7.8). The application must not see one that
        # cannot be served: HTTP/2, or one in the midst of a body.
        del environ["HTTP_UPGRADE"]
        environ.pop("HTTP_HTTP2_SETTINGS", None)
        upgrade = False
    return persists, upgrade


def _other_form(method: bytes, target: bytes) -> tuple[bytes, str | None]:
    """The path and query, and the authority, of a target that is no path (RFC 9112, 3.2)."""
    if target == b"*":
        if method != b"OPTIONS":
            raise RequestError(BAD_REQUEST, "The target * is for OPTIONS.")
        return b"", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise RequestError(BAD_REQUEST, "The request target is not valid.")
    authority = match[1].decode("latin-1")
    if not _HOST.fullmatch(authority):
        raise RequestError(BAD_REQUEST, "The host of the request target is not valid.")
    return (match[2] or b"/") + (match[3] or b""), authority


def _bad_start_line(line: bytes, limits: Limits) -> RequestError:
    if len(line) > limits.request_line:
        return RequestError("414 URI Too Long", "The request line is too long.")
    match = _VERSION.fullmatch(line)
    if match is not None and match.groups() not in ((b"1", b"0"), (b"1", b"1")):
        return RequestError("505 HTTP Version Not Supported", "HTTP/1.0 and HTTP/1.1 are served here.")
    return RequestError(BAD_REQUEST, "The request line is not valid.")


def check_partial(buffer: bytearray, seen: int, limits: Limits, parser: HeadParser) -> None:
    """Refuse the beginning of a head that cannot become a valid one, without waiting for the rest.

    :param seen: how many bytes were checked before.
    :raises RequestError: 400, 414, 431, 501 or 505.
    """
    if len(buffer) > limits.header_bytes:
        raise RequestError("431 Request Header Fields Too Large", "The header fields are too long.")
    if _BARE_LF.search(buffer, max(seen - 1, 0)):
        raise RequestError(BAD_REQUEST, "A line ends without CR.")
    end = buffer.find(b"\r\n", 0, limits.request_line + 2)
    if end >= 0:
        if end + 2 > seen:
            parser.start_line(bytes(buffer[:end]))
    elif len(buffer) > limits.request_line:
        raise RequestError("414 URI Too Long", "The request line is too long.")
    elif not _METHOD_START.match(buffer):
        raise RequestError(BAD_REQUEST, "This is not HTTP.")
