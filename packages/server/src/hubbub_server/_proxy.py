"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's first byte.

Written from "The PROXY protocol, Versions 1 & 2" (Willy Tarreau, 2020/03/05). :class:`HeaderReader` has no I/O. The
connection of a proxy must begin with a header, and a header is all that is read: what follows is the client's, for TLS
or whatever else.
"""

from __future__ import annotations

import re
import socket
from typing import Any, Final

from hubbub.io import Socket

from hubbub_server._networks import host_of

__all__ = ["LONGEST", "HeaderReader", "ProxiedAddress", "ProxyError", "read_header"]

LONGEST: Final = 4096
"""Most bytes of what follows the fixed part of a header of version 2."""
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE_LIMIT = 107
_LINE = re.compile(
    rb"PROXY (?:(UNKNOWN)(?: [ -~]*)?|TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) ([0-9]{1,5}) ([0-9]{1,5}))\r\n"
)
_LOCAL, _PROXY = 0x20, 0x21
_UNKNOWN, _INET, _INET6, _UNIX = 0x00, 0x11, 0x21, 0x31
_SSL_TYPE, _CLIENT_SSL = 0x20, 0x01
_NOOP_TYPE = 0x04

_recv = Socket.__bases__[0].recv  # type: ignore[attr-defined]  # of the kernel: to look at what is there changes nothing
_LOOKING = socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0)


class ProxyError(ConnectionError):
    """What a proxy has sent is no header of the PROXY protocol, or not all of one."""


class ProxiedAddress(tuple[Any, ...]):
    """The address of a client, ``(host, port)``, as a proxy has told it."""

    peer: Any
    """The proxy's own, as :meth:`socket.socket.accept` gave it."""
    destination: tuple[str, int] | None = None
    """What the client has connected to."""
    encrypted: bool = False
    """Whether the client uses TLS, which the proxy has taken off."""


class HeaderReader:
    """Takes a header to pieces. :attr:`wanted` says how many bytes to :meth:`feed` next; 0 when all is there.

    :param peer: the address that the proxy itself has.
    """

    def __init__(self, peer: Any) -> None:
        self._peer = peer
        self._data = b""
        self.wanted: int = 12
        """So many bytes, and no more, are the header's in any case."""
        self.line: bool = False
        """Whether it is a line of text, of which the end must be looked for."""
        self.address: Any = peer
        """The client's; the proxy's own if it speaks for itself."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes, :attr:`wanted` at most; of a line, up to its end at most.

        :raises ProxyError: that is no header.
        """
        self._data += data
        self.wanted -= len(data)
        if self.line:
            self._feed_line()
        elif self.wanted:
            if not (_SIGNATURE.startswith(self._data[:12]) or b"PROXY ".startswith(self._data[:6])):
                raise ProxyError("the connection does not begin with a PROXY header")
        elif len(self._data) == 12:
            self._begin()
        elif len(self._data) == 16:
            self._size()
        else:
            self._binary()

    def _begin(self) -> None:
        if self._data == _SIGNATURE:
            self.wanted = 4
        elif self._data.startswith(b"PROXY "):
            self.line = True
            self.wanted = _LINE_LIMIT - 12
        else:
            raise ProxyError("the connection does not begin with a PROXY header")

    # Version 1 ------------------------------------------------------------------------------------------------------

    def _feed_line(self) -> None:
        if not self._data.endswith(b"\n"):
            if not self.wanted:
                raise ProxyError("the line of the PROXY header does not end")
            return
        self.wanted = 0
        match = _LINE.fullmatch(self._data)
        if match is None:
            raise ProxyError("the line of the PROXY header is not valid")
        if match[1] is not None:
            return
        version, source, destination, *ports = (part.decode("ascii") for part in match.groups()[1:])
        self._set_client(int(version), source, int(ports[0]), destination, int(ports[1]))

    def _set_client(self, version: int, source: str, port: int, destination: str, destination_port: int) -> None:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        try:
            for text in (source, destination):
                socket.inet_pton(family, text)
        except OSError:
            raise ProxyError("an address in the PROXY header is not valid") from None
        if max(port, destination_port) > 65535:
            raise ProxyError("a port in the PROXY header is not valid")
        host = str(host_of(source))
        self.address = ProxiedAddress((host, port) if version == 4 else (host, port, 0, 0))
        self.address.peer = self._peer
        self.address.destination = (destination, destination_port)

    # Version 2 ------------------------------------------------------------------------------------------------------

    def _size(self) -> None:
        if self._data[12] not in (_LOCAL, _PROXY):
            raise ProxyError("the version or the command of the PROXY header is not known")
        self.wanted = int.from_bytes(self._data[14:16], "big")
        if self.wanted > LONGEST:
            raise ProxyError("the PROXY header is too long")
        if not self.wanted:
            self._binary()

    def _binary(self) -> None:
        family = self._data[13]
        rest = self._data[16:]
        if self._data[12] == _LOCAL:
            return
        if family in (_INET, _INET6):
            size = 4 if family == _INET else 16
            if len(rest) < size * 2 + 4:
                raise ProxyError("the PROXY header is too short for its addresses")
            source, destination = rest[:size], rest[size : size * 2]
            ports = [int.from_bytes(rest[start : start + 2], "big") for start in (size * 2, size * 2 + 2)]
            kind = socket.AF_INET if family == _INET else socket.AF_INET6
            texts = [socket.inet_ntop(kind, packed) for packed in (source, destination)]
            self._set_client(4 if family == _INET else 6, texts[0], ports[0], texts[1], ports[1])
            self._options(rest[size * 2 + 4 :])
        elif family == _UNIX and len(rest) < 216:
            raise ProxyError("the PROXY header is too short for its addresses")
        elif family not in (_UNKNOWN, _UNIX):
            raise ProxyError("the PROXY header is not about a stream of a known address family")

    def _options(self, data: bytes) -> None:
        """What follows the addresses: type, length, value, again and again."""
        while data:
            end = 3 + int.from_bytes(data[1:3], "big")
            if len(data) < 3 or len(data) < end:
                raise ProxyError("an option of the PROXY header is cut off")
            if data[0] == _SSL_TYPE:
                if end < 8:
                    raise ProxyError("what the PROXY header says of TLS is too short")
                self.address.encrypted = bool(data[3] & _CLIENT_SSL)
            data = data[end:]


def read_header(sock: Any, peer: Any) -> Any:
    """Read the header with which the connection of a proxy begins; the address of its client, or the proxy's own.

    :raises ProxyError: there is no valid one.
    :raises OSError: the connection fails.
    """
    reader = HeaderReader(peer)
    while reader.wanted:
        data: bytes = sock.recv(_within_line(sock, reader) if reader.line else reader.wanted)
        if not data:
            raise ProxyError("the connection ended before the end of the PROXY header")
        reader.feed(data)
    return reader.address


def _within_line(sock: Any, reader: HeaderReader) -> int:
    """How many bytes can be received without any beyond the end of the line."""
    try:
        there: bytes = _recv(sock, reader.wanted, _LOOKING)
    except BlockingIOError:
        return 1
    end = there.find(b"\n") + 1
    return max(end or len(there), 1)
