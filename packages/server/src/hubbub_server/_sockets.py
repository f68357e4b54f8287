"""The listening sockets of a supervisor: bound, taken from systemd, or from the program whose place it takes."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from hubbub_server._listener import bind_plain, parse_address
from hubbub_server._systemd import listen_fds

__all__ = ["Sockets"]

_SHARED, _PLACE, _OWN, _STATUS = "shared", "place", "own", "status"


class _Bound(NamedTuple):
    """A socket, and why it is there."""

    sock: socket.socket
    address: str | None
    """As the settings have it; None if systemd has chosen it."""
    use: str
    seat: int | None = None
    """Which of the workers it is for, as :class:`hubbub_server._worker.Worker` has it; None: all or none of them."""


class Sockets:
    """All that a supervisor holds open for its workers, and the listener of its own status.

    Nothing is closed while it is in use, so that no client is refused.
    """

    def __init__(self) -> None:
        self._bound: list[_Bound] = []

    @property
    def shared(self) -> list[socket.socket]:
        """What all workers share."""
        return [bound.sock for bound in self._bound if bound.use == _SHARED]

    @property
    def places(self) -> list[socket.socket]:
        """With SO_REUSEPORT: bound but not listening, so that the kernel gives them no connections. They keep the
        address; each worker has a listener of its own there."""
        return [bound.sock for bound in self._bound if bound.use == _PLACE]

    @property
    def status(self) -> socket.socket | None:
        """The listener of the status."""
        return next((bound.sock for bound in self._bound if bound.use == _STATUS), None)

    def open(self, options: argparse.Namespace, taken: list[dict[str, Any]] | None = None) -> None:
        """Have a socket for each address of the options, and no others.

        :param taken: what :meth:`as_state` of the program before has said, if there is one.
        :raises OSError: an address cannot be bound. Then those that were not there before are closed.
        """
        before = [_of_state(state) for state in taken or ()]
        given = [bound for bound in before if bound.address is None]
        if taken is None:
            given = [_Bound(sock, None, _SHARED) for sock in listen_fds()]
        self._bound = given
        try:
            for address, use in _wanted(options, bool(given)):
                found = [bound for bound in before if bound[1:] == (address, use, None)]
                self._bound += found or [_Bound(_bind(address, use, options.backlog), address, use)]
                if use == _PLACE:
                    self._bound += [bound for bound in before if bound[1:3] == (address, _OWN)]
        except BaseException:
            self.close()
            raise
        for bound in before:
            if bound not in self._bound:
                bound.sock.close()

    def own(self, seat: int, backlog: int) -> list[socket.socket]:
        """The listeners at each of the places for the worker with this seat. They stay open here when it goes, so that
        the next one serves what the kernel has queued.

        :raises OSError: an address cannot be bound.
        """
        found = []
        for place in [bound for bound in self._bound if bound.use == _PLACE]:
            mine = [bound for bound in self._bound if bound[1:] == (place.address, _OWN, seat)]
            if not mine:
                sock = bind_plain(place.sock.family, place.sock.getsockname(), backlog, True)
                mine = [_Bound(sock, place.address, _OWN, seat)]
                self._bound += mine
            found.append(mine[0].sock)
        return found

    def keep_own(self, seats: set[int]) -> None:
        """Close the listeners of all other seats, which nobody takes soon: they get no more connections."""
        for bound in [bound for bound in self._bound if bound.use == _OWN and bound.seat not in seats]:
            self._bound.remove(bound)
            bound.sock.close()

    def as_state(self) -> list[dict[str, Any]]:
        """What the program that takes over must know of them, for JSON."""
        return [
            {"descriptor": bound.sock.fileno(), "address": bound.address, "use": bound.use, "seat": bound.seat}
            for bound in self._bound
        ]

    def descriptors(self) -> list[int]:
        """What it must have."""
        return [bound.sock.fileno() for bound in self._bound]

    def close_listeners(self) -> None:
        """Accept no more: what the kernel has queued is the workers' to serve, and nothing is queued after."""
        for bound in self._bound:
            if bound.use != _STATUS:
                bound.sock.close()

    def close(self) -> None:
        """Close all."""
        for bound in self._bound:
            bound.sock.close()


def _wanted(options: argparse.Namespace, given: bool) -> Iterator[tuple[str, str]]:
    """The addresses of the options and what each is for.

    :param given: whether systemd has given sockets, in the place of those of ``--bind``.
    """
    for address in () if given else options.bind or ["127.0.0.1:8000"]:
        family, _ = parse_address(address)
        yield address, _PLACE if options.reuse_port and family != getattr(socket, "AF_UNIX", None) else _SHARED
    if options.status is not None:
        yield options.status, _STATUS


def _bind(address: str, use: str, backlog: int) -> socket.socket:
    family, target = parse_address(address)
    return bind_plain(family, target, None if use == _PLACE else backlog, use == _PLACE)


def _of_state(state: dict[str, Any]) -> _Bound:
    os.set_inheritable(state["descriptor"], False)
    return _Bound(socket.socket(fileno=state["descriptor"]), state["address"], state["use"], state.get("seat"))
