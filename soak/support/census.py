"""What a process has: objects, greenlets, threads, descriptors, memory."""

from __future__ import annotations

import gc
import os
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

from greenlet import greenlet

__all__ = ["Census", "kinds"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Census:
    """One count of all that must not grow."""

    seconds: float
    """Since the start."""
    objects: int
    """Objects that the garbage collector knows."""
    greenlets: int
    """Greenlets that have not ended."""
    threads: int
    descriptors: int
    kilobytes: int
    """Resident memory."""

    @classmethod
    def take(cls, seconds: float) -> Census:
        """Collect garbage, then count."""
        for _ in range(3):
            gc.collect()
        objects = gc.get_objects()
        return cls(
            seconds=seconds,
            objects=len(objects),
            greenlets=sum(isinstance(item, greenlet) and not item.dead for item in objects),
            threads=len(os.listdir("/proc/self/task")),
            descriptors=len(os.listdir("/proc/self/fd")),
            kilobytes=int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 1024,
        )

    def __str__(self) -> str:
        """The counts in a line."""
        return f"{self.seconds:7.1f} s" + "".join(
            f"  {field.name} {getattr(self, field.name)}" for field in fields(self)[1:]
        )


def kinds() -> Counter[str]:
    """How many objects there are of each type."""
    return Counter(f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.get_objects())
