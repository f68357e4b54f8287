"""How a response is framed: what its head says of its length, and how the client finds its end (RFC 9112, 6.3). No I/O.

The decision is one function of what the request was and of what the application said, and nothing else.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["Delimiter", "Framing", "frame"]


class Delimiter(Enum):
    """What tells the client where a response ends."""

    HEAD = 0
    """The end of the head: there is no body (RFC 9110, 6.4.1)."""
    LENGTH = 1
    """``Content-Length``."""
    CHUNKS = 2
    """The last chunk (RFC 9112, 7.1)."""
    CLOSE = 3
    """The end of the connection, which must then be an orderly one."""


class Framing(NamedTuple):
    """How one response is framed."""

    delimiter: Delimiter
    says_length: bool
    """Whether the head has ``Content-Length``: the length that was declared, else the one that is known."""
    persists: bool
    """Whether the connection may be used for another request."""
    fields: str
    """The other header fields that say so, with their line ends."""


def frame(code: int, declared: bool, known: bool, head_only: bool, minor: int, persists: bool) -> Framing:
    """Decide how a response is framed.

    :param code: its status.
    :param declared: whether the application promised a length.
    :param known: whether the body is there, so that its length is known.
    :param head_only: whether the request was ``HEAD``.
    :param minor: the request's version is HTTP/1.minor.
    :param persists: whether client, server and application all want to keep the connection.
    """
    if code == 101:  # what follows is another protocol's; the application itself says which (RFC 9110, 7.8)
        return Framing(Delimiter.HEAD, False, False, "")
    if head_only or code == 204 or code == 304:
        # The length of what GET would have had may be said, but never with 204 (RFC 9110, 8.6); what an application
        # gave with 304 is no representation, so its length is not that.
        says = declared or known if code not in (204, 304) else declared and code == 304
        return Framing(Delimiter.HEAD, says, persists, _connection(minor, persists))
    if declared or known:
        return Framing(Delimiter.LENGTH, True, persists, _connection(minor, persists))
    if minor:
        return Framing(Delimiter.CHUNKS, False, persists, f"Transfer-Encoding: chunked\r\n{_connection(1, persists)}")
    return Framing(Delimiter.CLOSE, False, False, _connection(0, False))


def _connection(minor: int, persists: bool) -> str:
    """What the connection will do, unless the client takes that for granted (RFC 9112, 9.3)."""
    if not persists:
        return "Connection: close\r\n"
    return "" if minor else "Connection: keep-alive\r\n"
