"""The greenlets that exist, where they wait, and what a test has left behind."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from types import FrameType

from greenlet import getcurrent, greenlet
from hubbub.lowlevel import Hub, get_hub_if_exists, instances

__all__ = ["Census", "dump", "open_descriptors", "running", "stack"]


def running(hub: Hub | None = None) -> list[greenlet]:
    """The greenlets that have begun and not ended, except hubs, the current one and main ones.

    :param hub: only those that run on it.
    """
    current = getcurrent()
    return [
        found
        for found in instances(greenlet)
        if not isinstance(found, Hub)
        and found
        and found is not current
        and found.parent is not None
        and (hub is None or found.parent is hub)
    ]


def open_descriptors() -> frozenset[int]:
    """The file descriptors that this process has open; empty where the system does not list them."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            listed = {int(name) for name in os.listdir(folder)}
        except OSError:
            continue
        return frozenset(fd for fd in listed if _is_open(fd))  # without the descriptor that listed them
    return frozenset()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Census:
    """The greenlets and descriptors at one moment."""

    greenlets: tuple[greenlet, ...]
    descriptors: frozenset[int]

    @classmethod
    def take(cls) -> Census:
        """A census of this moment."""
        return cls(tuple(running()), open_descriptors())

    def new_greenlets(self, now: Census) -> list[greenlet]:
        """The greenlets in ``now`` that are not in this one and have not ended since."""
        before = {id(one) for one in self.greenlets}
        return [one for one in now.greenlets if id(one) not in before and not one.dead]

    def new_descriptors(self, now: Census) -> list[str]:
        """The descriptors that are open in ``now`` and not in this one, each with what it is."""
        return [f"{fd} ({_target(fd)})" for fd in sorted(now.descriptors - self.descriptors)]


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "unknown"


def stack(one: greenlet) -> str:
    """Where a greenlet waits, as traceback text."""
    frame: FrameType | None = one.gr_frame
    if frame is None:
        return "  (not started)\n" if not one.dead else "  (ended)\n"
    return _without_pytest(traceback.format_stack(frame))


def _without_pytest(lines: list[str]) -> str:
    """Drop pytest's own frames, which led to the test."""
    for number in range(len(lines) - 1, -1, -1):
        if "in pytest_pyfunc_call" in lines[number]:
            return "".join(lines[number + 1 :])
    return "".join(lines)


def dump() -> str:
    """All greenlets with their stacks: the current one, the hub, then those that wait."""
    current = getcurrent()
    parts = [f"current greenlet {current!r}\n{_without_pytest(traceback.format_stack()[:-1])}"]
    hub = get_hub_if_exists()
    if hub is not None and hub is not current:
        parts.append(f"hub {hub!r}\n{stack(hub)}")
    main = hub.parent if hub is not None else None
    if main is not None and main is not current:
        parts.append(f"main greenlet {main!r}\n{stack(main)}")
    parts += [f"{one!r}\n{stack(one)}" for one in running()]
    return "\n".join(parts)
