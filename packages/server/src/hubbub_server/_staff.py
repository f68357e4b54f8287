"""The workers of a supervisor, and what those that have ended had counted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Lock
from typing import Any

from hubbub_server._counters import Counters
from hubbub_server._worker import Worker

__all__ = ["Staff"]


class Staff:
    """Who is there. One thread changes it, others may look."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self._past = Counters()
        """What those that have ended had counted."""
        self._lock = Lock()
        """Held while a worker leaves, so that it is counted once."""

    def add(self, worker: Worker) -> None:
        """It is there."""
        self.workers.append(worker)

    def remove(self, worker: Worker) -> None:
        """It has ended."""
        with self._lock:
            self.workers.remove(worker)
            self._past.add(worker.counters, live=False)
        worker.close()

    def census(self) -> tuple[list[Worker], Counters]:
        """The workers at one moment, each of which keeps its figures; and what those that have ended by then had
        counted."""
        with self._lock:
            total = Counters()
            total.add(self._past)
            return list(self.workers), total

    def free_number(self) -> int:
        """The smallest number that no worker has."""
        taken = {worker.number for worker in self.workers}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def ended(self) -> list[tuple[Worker, int]]:
        """Those that have ended, with their exit statuses. They are not there any more."""
        found = []
        for worker in list(self.workers):
            status = worker.process.poll()
            if status is not None:
                self.remove(worker)
                found.append((worker, status))
        return found

    def reap_orphans(self, others: Iterable[int]) -> bool:
        """As process 1 of a container, or as a subreaper, this process inherits what workers leave behind.

        :param others: more processes that are not to be reaped here.
        :returns: whether one that is not to be has ended meanwhile.
        """
        mine = {worker.process.pid for worker in self.workers}.union(others)
        if not hasattr(os, "waitid"):
            return False
        try:
            while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if found.si_pid in mine:
                    return True
                os.waitpid(found.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass
        return False

    # Handing over ---------------------------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What the next supervisor must have."""
        return [descriptor for worker in self.workers for descriptor in worker.descriptors()]

    def as_state(self) -> dict[str, Any]:
        """What it must know, for JSON."""
        return {"workers": [worker.as_state() for worker in self.workers], "past": self._past.as_numbers()}

    def take(self, state: dict[str, Any]) -> None:
        """Go on with what :meth:`as_state` has said. Figures of a version that counts other things are left out."""
        try:
            self._past = Counters.of_numbers(state["past"])
        except ValueError:
            self._past = Counters()
        self.workers = [Worker.of_state(one) for one in state["workers"]]
