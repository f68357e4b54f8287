"""The head of a response, converted from ASGI's bytes to WSGI's text."""

from __future__ import annotations

from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

__all__ = ["ResponseHead", "response_head"]

_STATUSES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_OF_THE_SERVER = frozenset({b"transfer-encoding", b"connection", b"keep-alive"})
"""Fields that applications send but that the server decides: they are left out."""
_REMEMBERED = 512
_LONG = 1024


class ResponseHead(NamedTuple):
    """A status line and header fields."""

    status: str
    fields: list[tuple[str, str]]
    """Callers must not change it."""
    has_length: bool
    """Whether the server need not state the length: the application has stated it, or there is no body."""


_heads: dict[Any, ResponseHead] = {}


def response_head(message: MutableMapping[str, Any]) -> ResponseHead:
    """The head that a message ``http.response.start`` asks for. Heads that occur again and again are cached.

    :raises TypeError: a value is not of the type that ASGI requires.
    """
    code, headers = message["status"], message.get("headers", ())
    if type(headers) is not list:
        headers = list(headers)
    key = (code, *headers)
    try:
        return _heads[key]
    except (KeyError, TypeError):  # not cached, or not hashable, as lists are
        head = _made(code, headers)
    if _may_be_remembered(key):
        if len(_heads) >= _REMEMBERED:
            _heads.clear()
        _heads[key] = head
    return head


def _may_be_remembered(key: tuple[Any, ...]) -> bool:
    """Whether a head may be cached: of plain objects, short, and with nothing that is meant for one client."""
    pairs = key[1:]
    if type(key[0]) is not int or not all(type(pair) is tuple and len(pair) == 2 for pair in pairs):
        return False
    texts = [text for pair in pairs for text in pair]
    if not all(type(text) is bytes for text in texts) or sum(map(len, texts)) > _LONG:
        return False
    return not any(name.lower() == b"set-cookie" for name, _ in pairs)


def _made(code: Any, headers: list[Any]) -> ResponseHead:
    status = _STATUSES.get(code)
    if status is None:
        if not isinstance(code, int):
            raise TypeError(f"the status of a response is an int, not {code!r}")
        status = f"{int(code)} "
    try:
        fields = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in headers
            if name.lower() not in _OF_THE_SERVER
        ]
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(f"the headers of a response are pairs of bytes: {error}") from error
    has_length = code in (204, 304) or any(name.lower() == "content-length" for name, _ in fields)
    return ResponseHead(status, fields, has_length)
