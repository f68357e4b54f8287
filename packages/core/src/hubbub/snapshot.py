"""A whole process at one moment: hubs, greenlets, tasks of asyncio, and greenlets that wait for one another.

:func:`take` may be called from any native thread, also one that has no hub, while the hubs go on. It calls no code of
the program but the reprs of what is waited for.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from time import time
from types import FrameType
from typing import Any

from hubbub._cycles import cycles
from hubbub._describe import GreenletInfo, greenlets, hub_name, name_of_greenlet, whole_hubs
from hubbub._frames import frame_of, split, stack_of
from hubbub._originals import monotonic
from hubbub._tasks import TaskInfo, tasks
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub

__all__ = ["BLOCKED_AFTER", "HubInfo", "Snapshot", "greenlet_in", "hub_infos", "ordered_hubs", "runner_of", "take"]

_main_thread = threading.main_thread  # patching replaces it
BLOCKED_AFTER = 0.1
"""Seconds without a poll after which a hub counts as blocked."""


@dataclass(frozen=True)
class HubInfo:
    """One hub at one moment."""

    name: str
    state: str
    """``polling`` (it waits for events), ``busy``, ``blocked`` (busy for more than 0.1 s without a poll), or ``not
    begun`` (its loop does not run yet)."""
    busy_seconds: float
    """How long ago the loop's last poll ended; 0 while it polls."""
    running: str | None
    """What the thread of the hub runs: the name of a greenlet, ``main``, or ``hub`` (a callback of the loop)."""
    at: str | None
    """The innermost line outside hubbub that it runs, as ``file:line function``."""
    stack: tuple[str, ...]
    """The stack of the thread, outermost call first; empty while it polls."""
    loop: str
    thread: int
    """As :func:`threading.get_ident`."""
    statistics: dict[str, Any]
    """:class:`hubbub.hub.HubStatistics`, by name."""


@dataclass(frozen=True)
class Snapshot:
    """What :func:`take` returns."""

    pid: int
    program: str
    """The command line."""
    python: str
    taken_at: float
    """Seconds since the epoch."""
    seconds: float
    """How long it took."""
    hubs: tuple[HubInfo, ...]
    greenlets: tuple[GreenletInfo, ...]
    tasks: tuple[TaskInfo, ...]
    cycles: tuple[tuple[int, ...], ...]
    """Greenlets that wait for one another, by ``ident``: each waits for what the next one holds, and the last for the
    first. They are deadlocked unless one of them has a time limit or is interrupted."""

    def as_dict(self) -> dict[str, Any]:
        """The same as values that JSON knows."""
        return {
            **vars(self),
            "hubs": [vars(hub) for hub in self.hubs],
            "greenlets": [vars(info) for info in self.greenlets],
            "tasks": [vars(task) for task in self.tasks],
        }


def take() -> Snapshot:
    """A snapshot of this process. 10,000 greenlets take some tenths of a second."""
    began = monotonic()
    all_hubs, found = hub_infos(), tuple(greenlets())
    return Snapshot(
        pid=os.getpid(),
        program=" ".join(sys.orig_argv),
        python=sys.version.partition(" ")[0],
        taken_at=time(),
        hubs=all_hubs,
        greenlets=found,
        tasks=tuple(tasks()),
        cycles=tuple(cycles({info.ident: info.held_by for info in found if info.held_by})),
        seconds=monotonic() - began,
    )


def hub_infos() -> tuple[HubInfo, ...]:
    """What each hub does, the main thread's first."""
    return tuple(map(_hub_info, ordered_hubs()))


def ordered_hubs() -> list[Hub]:
    """The hubs of all threads, the main thread's first."""
    return sorted(whole_hubs(), key=lambda hub: hub.thread_ident != _main_thread().ident)


def _hub_info(hub: Hub) -> HubInfo:
    loop = hub.loop
    polls, begun = loop.in_poll, loop.running
    busy = 0.0 if polls else max(monotonic() - loop.time, 0.0)
    frame = None if polls else frame_of(hub.thread_ident)
    user = split(frame)[1]
    state = "polling" if polls else "not begun" if not begun else "blocked" if busy > BLOCKED_AFTER else "busy"
    return HubInfo(
        name=hub_name(hub),
        state=state,
        busy_seconds=busy,
        running=runner_of(frame, hub) if frame is not None else None,
        at=stack_of(user, 1)[0] if user is not None else None,
        stack=stack_of(frame),
        loop=loop.name,
        thread=hub.thread_ident,
        statistics=vars(hub.statistics()),
    )


def greenlet_in(frame: FrameType | None) -> Greenlet[Any] | None:
    """The greenlet whose stack ``frame`` belongs to, if that is one of :class:`~hubbub.Greenlet`."""
    while frame is not None:
        if frame.f_code is _BODY:
            found: Greenlet[Any] | None = frame.f_locals.get("self")
            return found
        frame = frame.f_back
    return None


_BODY = Greenlet.run.__code__
_OF_THE_HUB = Hub.run.__code__


def runner_of(frame: FrameType, hub: Hub) -> str:
    """Which greenlet a stack of the thread of ``hub`` belongs to, for people."""
    found = greenlet_in(frame)
    if found is not None:
        return name_of_greenlet(found)
    outermost = frame
    while outermost.f_back is not None:
        outermost = outermost.f_back
    return "hub" if outermost.f_code is _OF_THE_HUB else "main"
