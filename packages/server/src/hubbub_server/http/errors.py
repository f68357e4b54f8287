"""Why a request is refused, or a connection ends."""

from __future__ import annotations

import hubbub

__all__ = ["ClientDisconnected", "FileChanged", "RequestError", "RequestTimeout"]


class RequestError(ValueError):
    """A request that is not served, with the status that says why. The connection is closed after it.

    Raised to the application by ``wsgi.input`` when the body turns out to be wrong.

    :param status: such as ``"400 Bad Request"``.
    :param detail: one sentence for the client and the log, without anything the client sent.
    """

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class RequestTimeout(hubbub.Timeout):
    """The time for a request is over (``Limits.request_seconds``). Raised in the application, wherever it waits.

    It is no :class:`Exception`. An application that catches it may clean up, and should raise it again: the server
    raises it each second until the request ends.
    """


class FileChanged(Exception):
    """A file that is being sent is not what it was when that began: the response cannot be what its head says."""


class ClientDisconnected(ConnectionError):
    """The client is gone, or too slow. Raised to the application by ``wsgi.input`` and ``write``."""
