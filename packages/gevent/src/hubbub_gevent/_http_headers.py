"""The header fields of a request, as ``gevent.pywsgi`` presents them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

__all__ = ["OldMessage", "format_date_time", "headers_factory"]


class OldMessage(http.client.HTTPMessage):
    """:class:`http.client.HTTPMessage` with the additional names of Python 2's class."""

    status = ""

    def getheader(self, name: str, default: Any = None) -> Any:
        """The first field of that name."""
        return self.get(name, default)

    @property
    def headers(self) -> Iterator[str]:
        """The fields as lines, ends of line included."""
        return (f"{name}: {value}\r\n" for name, value in self.items())

    @property
    def typeheader(self) -> Any:
        """The value of the field Content-Type, or None."""
        return self.get("content-type")


def headers_factory(fp: Any, *args: Any) -> OldMessage:
    """Read the header fields of one request.

    :param args: without effect; Python 2's class took more.
    :raises http.client.LineTooLong, http.client.HTTPException: there are too many, or one is too long.
    """
    return http.client.parse_headers(fp, OldMessage)


def format_date_time(timestamp: float) -> str:
    """A time, in seconds since 1970, in the format of header fields (RFC 9110, 5.6.7)."""
    return formatdate(timestamp, usegmt=True)
