"""What a supervisor says of itself and its workers, as plain data for JSON."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Protocol

from hubbub_server._counters import STATES, Counters
from hubbub_server.http.tally import BOUNDS, STATUSES

if TYPE_CHECKING:
    from collections import Counter

    from hubbub_server._worker import Worker

__all__ = ["ENDS", "Reported", "is_healthy", "report"]

ENDS: Final = ("died", "stuck", "late")
"""Why a worker ended that was not to: by itself, because it stood still, because it did not begin or end in time."""


class Reported(Protocol):
    """What a supervisor knows."""

    count: int
    generation: int
    stopping: bool
    happened: Counter[str]
    """``starts``, ``reloads``, ``failed_reloads``, ``upgrades``, ``failed_upgrades``, and the :data:`ENDS`."""
    began: float
    """When the service started, in seconds of the epoch."""

    def census(self) -> tuple[list[Worker], Counters]:
        """The workers at one moment, and what all that have ended had counted by then."""


def is_healthy(supervisor: Reported) -> bool:
    """Whether requests are served: a worker serves, and the service is not about to end."""
    return not supervisor.stopping and any(worker.state == "serving" for worker in supervisor.census()[0])


def report(supervisor: Reported) -> dict[str, Any]:
    """All there is to say."""
    workers, total = supervisor.census()
    shown = []
    for worker in workers:
        counters = worker.counters
        total.add(counters)
        shown.append(_of_worker(worker, counters))
    healthy = not supervisor.stopping and any(worker.state == "serving" for worker in workers)
    return {
        "status": "stopping" if supervisor.stopping else "serving" if healthy else "starting",
        "pid": os.getpid(),
        "versions": _versions(),
        "uptime_seconds": round(time.time() - supervisor.began, 3),
        "generation": supervisor.generation,
        "workers_wanted": supervisor.count,
        "workers_serving": sum(worker.state == "serving" for worker in workers),
        "starts": supervisor.happened["starts"],
        "ends": {reason: supervisor.happened[reason] for reason in ENDS},
        "reloads": supervisor.happened["reloads"],
        "failed_reloads": supervisor.happened["failed_reloads"],
        "upgrades": supervisor.happened["upgrades"],
        "failed_upgrades": supervisor.happened["failed_upgrades"],
        "total": {"memory_bytes": sum(one["memory_bytes"] for one in shown), **_figures(total)},
        "workers": shown,
    }


def _versions() -> dict[str, str]:
    return {
        "hubbub-server": metadata.version("hubbub-server"),
        "hubbub": metadata.version("hubbub"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _of_worker(worker: Worker, counters: Counters) -> dict[str, Any]:
    now = time.monotonic()
    pid = worker.process.pid
    return {
        "number": worker.number,
        "pid": pid,
        "generation": worker.generation,
        "state": worker.state,
        "age_seconds": round(now - worker.born, 3),
        # A worker that computes does not publish: this is how long.
        "silent_seconds": round(now - counters.published, 3) if counters.published else None,
        "memory_bytes": _memory(pid),
        "cpu_seconds": _cpu_seconds(pid),
        **_figures(counters),
    }


def _figures(counters: Counters) -> dict[str, Any]:
    return {
        "requests": int(counters.requests),
        "responses": _named(STATUSES, counters.statuses),
        "sent_bytes": int(counters.sent),
        "request_seconds": {
            "sum": round(counters.seconds, 6),
            "bounds": list(BOUNDS),
            "counts": [int(count) for count in counters.times],
        },
        "connections": _named(STATES[:-1], counters.states[:-1]),
        "streams": int(counters.states[-1]),
        "greenlets": int(counters.greenlets),
        "native_threads": int(counters.native_threads),
        "descriptors": int(counters.descriptors),
        "timers": int(counters.timers),
        "polls": int(counters.polls),
        "switches": int(counters.switches),
        "loop_lag_seconds": round(counters.lag, 6),
        "longest_loop_lag_seconds": round(counters.longest_lag, 6),
    }


def _named(names: Sequence[str], numbers: Sequence[float]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


def _memory(pid: int) -> int:
    """Bytes of memory that a process has resident; 0 where that cannot be asked, or it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _cpu_seconds(pid: int) -> float:
    """Seconds that a process has computed, in the kernel too; 0 where that cannot be asked, or it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name may have blanks and brackets
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
