"""The events of patching, told to subscribers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hubbub_monkey.report import Replacement, Report

__all__ = ["DidPatch", "DidPatchAll", "WillPatch", "publish", "subscribers"]


@dataclass(frozen=True)
class WillPatch:
    """A patch is about to be applied. A subscriber that raises :class:`hubbub_monkey.Veto` prevents it."""

    patch: str
    replacements: tuple[Replacement, ...]


@dataclass(frozen=True)
class DidPatch:
    """A patch was applied."""

    patch: str
    replacements: tuple[Replacement, ...]


@dataclass(frozen=True)
class DidPatchAll:
    """A call that patches has ended."""

    report: Report


subscribers: list[Callable[[Any], Any]] = []
"""Called with every event, in order. An exception other than Veto undoes the whole call and reaches its caller."""


def publish(event: object) -> None:
    """Tell all subscribers."""
    for subscriber in tuple(subscribers):
        subscriber(event)
