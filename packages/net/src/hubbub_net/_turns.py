"""Taking turns: a lock that costs next to nothing while no greenlet has to wait for it."""

from __future__ import annotations

from hubbub.lock import Semaphore

from hubbub_net.acceleration import known_to_c, mirrored

__all__ = ["Turns"]


@known_to_c
class Turns:
    """A lock, first come, first served. A greenlet that finds :attr:`held` false may set it instead of :meth:`enter`.

    It belongs to one native thread.
    """

    __slots__ = ("_gate", "behind", "held")

    def __init__(self) -> None:
        self.held: bool = False
        """Whether a greenlet has its turn."""
        self.behind: int = 0
        """How many greenlets wait for their turn."""
        self._gate: Semaphore | None = None

    def enter(self, timeout: float | None = None) -> bool:
        """Wait for the calling greenlet's turn.

        :param timeout: seconds, or None for no limit.
        :returns: False when the time ran out first.
        """
        if not self.held:
            self.held = True
            return True
        gate = self._gate
        if gate is None:
            gate = self._gate = Semaphore(0)
        self.behind += 1
        entered = False
        try:
            entered = gate.acquire(timeout=timeout)
        finally:
            self.behind -= 1
            # A greenlet that gives up at the moment when its turn comes passes the turn on, if another one waits.
            if not entered and gate.acquire(blocking=False):
                self.leave()
        return entered

    @mirrored("wire.c")
    def leave(self) -> None:
        """End this turn: the next greenlet's begins."""
        if self.behind and self._gate is not None:
            self._gate.release()
        else:
            self.held = False
