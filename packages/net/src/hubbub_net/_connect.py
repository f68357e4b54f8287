"""Connecting to the first of several addresses that answers: Happy Eyeballs, RFC 8305.

The addresses are tried in order, families in turn. The next attempt starts at once after a failure, and after
:data:`ATTEMPT_DELAY` of silence, while the earlier ones go on. The first connection wins and the rest are closed. A
dead first address costs a quarter of a second, not a time-out.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Generic, TypeVar

import hubbub
from hubbub.abc import AddressInfo
from hubbub.io import Socket
from hubbub.queue import SimpleQueue

__all__ = ["ATTEMPT_DELAY", "interleaved", "race"]

S = TypeVar("S", bound=Socket)
ATTEMPT_DELAY = 0.25
"""Seconds between the starts of two attempts, the *Connection Attempt Delay* of RFC 8305 section 5."""

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, errno.EINTR})


def interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The addresses with their families in turn, each family in its own order (RFC 8305 section 4)."""
    families: dict[int, deque[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], deque()).append(address)
    mixed = []
    while families:
        for family, members in list(families.items()):
            mixed.append(members.popleft())
            if not members:
                del families[family]
    return mixed


class _Attempts(Generic[S]):
    """The connections that are being made."""

    def __init__(self, open_socket: Callable[[AddressInfo], S]) -> None:
        self._open_socket = open_socket
        self._running: dict[S, int] = {}
        self._results: SimpleQueue[tuple[S, Exception | None]] = SimpleQueue()
        self.errors: dict[int, OSError] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    def start(self, number: int, address: AddressInfo, last: bool) -> S | None:
        """Begin one attempt. Returns the socket if it is connected already.

        :param last: no other address is left to try, so the call may wait for this one.
        """
        try:
            sock = self._open_socket(address)
        except OSError as error:
            self.errors[number] = error
            return None
        try:
            limit = sock.gettimeout()
            if (last and not self._running) or limit == 0.0:
                sock.connect(address[4])
                return sock
            sock.settimeout(0.0)
            error_number = sock.connect_ex(address[4])
            sock.settimeout(limit)
            if error_number == 0:
                return sock
            if error_number not in _IN_PROGRESS:
                raise OSError(error_number, os.strerror(error_number))
        except OSError as error:
            sock.close()
            self.errors[number] = error
            return None
        except BaseException:
            sock.close()
            raise
        self._running[sock] = number
        hubbub.spawn(self._finish, sock, address)
        return None

    def _finish(self, sock: S, address: AddressInfo) -> None:
        try:
            sock.connect(address[4])
        except Exception as error:
            self._results.put((sock, error))
        else:
            self._results.put((sock, None))

    def wait(self, timeout: float | None) -> S | None:
        """Wait for one attempt to end, or for ``timeout`` seconds. Returns the socket if it is connected."""
        try:
            sock, error = self._results.get(timeout=timeout)
        except Empty:
            return None
        number = self._running.pop(sock)
        if error is None:
            return sock
        sock.close()
        if not isinstance(error, OSError):
            raise error
        self.errors[number] = error
        return None

    def close(self) -> None:
        """Close the sockets of all unfinished attempts."""
        for sock in self._running:
            sock.close()
        self._running.clear()


def race(addresses: Sequence[AddressInfo], open_socket: Callable[[AddressInfo], S]) -> S | list[OSError]:
    """Connect to one of ``addresses``.

    :param open_socket: makes a socket for an address; the socket's time limit is for that attempt.
    :returns: the connected socket, or the error of each address, in the order of the addresses.
    """
    attempts = _Attempts(open_socket)
    left = deque(enumerate(addresses))
    try:
        while True:
            if left:
                number, address = left.popleft()
                sock = attempts.start(number, address, last=not left)
                if sock is not None:
                    return sock
            if attempts:
                sock = attempts.wait(ATTEMPT_DELAY if left else None)
                if sock is not None:
                    return sock
            elif not left:
                return [error for _, error in sorted(attempts.errors.items())]
    finally:
        attempts.close()
        attempts.errors.clear()  # their tracebacks hold this frame
