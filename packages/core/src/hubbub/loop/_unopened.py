"""The backend of a loop in the child of a fork, until the child first needs it.

A daemon closes all descriptors that it has inherited, right after the fork. New ones of a loop would be among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hubbub._at_fork import signals_held
from hubbub.abc import Backend

if TYPE_CHECKING:
    from hubbub.loop.base import BaseLoop

__all__ = ["UnopenedBackend"]


class UnopenedBackend(Backend):
    """Stands for a closed backend of a loop, and opens it for whatever needs kernel state.

    :param backend: the loop's, which is closed.
    """

    __slots__ = ("_backend", "_loop")

    def __init__(self, loop: BaseLoop, backend: Backend) -> None:
        self._loop = loop
        self._backend = backend

    @property
    def name(self) -> str:  # type: ignore[override]  # it is another one's
        """The entry-point name of the backend."""
        return self._backend.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.opened(), name)

    def opened(self) -> Backend:
        """The backend, which is the loop's again. A loop that was destroyed opens nothing.

        :raises OSError: the system refuses; the loop is destroyed.
        """
        loop, backend = self._loop, self._backend
        with signals_held():  # a handler that waits would need what is being opened
            if loop._backend is self:
                loop._backend = backend
                if not loop.destroyed:
                    loop.open()
        return backend

    def open(self) -> None:
        """Nothing."""

    def close(self, forked: bool) -> None:
        """Nothing: nothing is open."""

    def poll(self, timeout: float) -> Iterable[tuple[int, int]]:
        """See :meth:`hubbub.abc.Backend.poll`."""
        backend = self.opened()
        return backend.poll(timeout if self._loop.in_poll else 0.0)  # another thread has woken the loop meanwhile

    def arm(self, fd: int, events: int) -> None:
        """See :meth:`hubbub.abc.Backend.arm`."""
        self.opened().arm(fd, events)

    def forget(self, fd: int) -> None:
        """See :meth:`hubbub.abc.Backend.forget`. Nothing is known before the first call of :meth:`arm`."""
        if self._loop._backend is not self:
            self._backend.forget(fd)

    def wake(self) -> bool:
        """See :meth:`hubbub.abc.Backend.wake`. The first poll does not wait once :attr:`BaseLoop.in_poll` is false."""
        return self._loop._backend is self or self._backend.wake()
