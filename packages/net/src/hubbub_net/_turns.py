"""Taking turns: a lock that costs next to nothing while nobody has to wait for it."""

from __future__ import annotations

from hubbub.lock import Semaphore

__all__ = ["Turns"]


class Turns:
    """First come, first served. Whoever finds :attr:`held` false may set it instead of calling :meth:`enter`.

    It belongs to one thread.
    """

    __slots__ = ("_gate", "behind", "held")

    def __init__(self) -> None:
        self.held: bool = False
        """It is somebody's turn."""
        self.behind: int = 0
        """So many wait for theirs."""
        self._gate: Semaphore | None = None

    def enter(self, timeout: float | None = None) -> bool:
        """Wait for one's turn.

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
            # Who gives up in the moment in which his turn comes hands it on, perhaps to nobody.
            if not entered and gate.acquire(blocking=False):
                self.leave()
        return entered

    def leave(self) -> None:
        """End one's turn: the next one's begins."""
        if self.behind and self._gate is not None:
            self._gate.release()
        else:
            self.held = False
