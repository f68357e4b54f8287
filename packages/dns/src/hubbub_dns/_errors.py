"""The errors of the :mod:`socket` functions, made from what name servers say."""

from __future__ import annotations

import socket
from enum import Enum

__all__ = ["Failure", "LookupFailed", "gai_error", "host_error"]


class Failure(Enum):
    """Why a lookup has no result: netdb.h's h_errno."""

    NOT_FOUND = 1
    """There is no such name."""
    TRY_AGAIN = 2
    """No server replied, or none could answer."""
    NO_RECOVERY = 3
    """The replies of the servers make no sense."""
    NO_DATA = 4
    """The name exists and has no such record."""


_GAI = {
    Failure.NOT_FOUND: (socket.EAI_NONAME, "Name or service not known"),
    Failure.TRY_AGAIN: (socket.EAI_AGAIN, "Temporary failure in name resolution"),
    Failure.NO_RECOVERY: (socket.EAI_FAIL, "Non-recoverable failure in name resolution"),
    # The BSDs have replaced EAI_NODATA by EAI_NONAME.
    Failure.NO_DATA: (getattr(socket, "EAI_NODATA", socket.EAI_NONAME), "No address associated with hostname"),
}
_HOST = {
    Failure.NOT_FOUND: "Unknown host",
    Failure.TRY_AGAIN: "Host name lookup failure",
    Failure.NO_RECOVERY: "Unknown server error",
    Failure.NO_DATA: "No address associated with name",
}


class LookupFailed(Exception):
    """One question has no answer.

    :param failure: why.
    :param answered: whether a server said so; otherwise no server replied.
    :param servfail: whether the server said SERVFAIL, after which the search goes on in the next domain.
    """

    def __init__(self, failure: Failure, answered: bool = True, servfail: bool = False) -> None:
        super().__init__(failure, answered, servfail)
        self.failure = failure
        self.answered = answered
        self.servfail = servfail

    @property
    def is_absence(self) -> bool:
        """Whether a server said that the name does not exist, or has no such record."""
        return self.failure in (Failure.NOT_FOUND, Failure.NO_DATA)


def gai_error(failure: Failure) -> socket.gaierror:
    """The error that :func:`socket.getaddrinfo` raises."""
    return socket.gaierror(*_GAI[failure])


def host_error(failure: Failure) -> socket.herror:
    """The error that :func:`socket.gethostbyaddr` raises."""
    return socket.herror(failure.value, _HOST[failure])
