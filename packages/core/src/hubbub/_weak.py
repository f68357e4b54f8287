"""Looking at weak collections that other threads change meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["snapshot"]

T = TypeVar("T")


def snapshot(items: Callable[[], Iterable[T]]) -> list[T]:
    """What ``items()`` iterates over. A change during the iteration makes it start over."""
    while True:
        try:
            return list(items())
        except RuntimeError:
            continue  # "changed size during iteration"
