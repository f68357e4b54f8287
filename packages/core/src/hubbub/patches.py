"""How core's share of the standard library is made cooperative: entry points of the group ``hubbub.patches``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ModulePatch", "time"]


@dataclass(frozen=True)
class ModulePatch:
    """A patch of one module: see :class:`hubbub.abc.Patch`.

    :param module: the module's name.
    :param load: makes the replacements, ``{module: {attribute: value}}``; called when the patch is applied.
    :param requires: patches that must come before this one.
    """

    module: str
    load: Callable[[], dict[str, dict[str, Any]]]
    requires: tuple[str, ...] = field(default=())

    def replacements(self) -> dict[str, dict[str, Any]]:
        """What to set."""
        return self.load()


def _time() -> dict[str, dict[str, Any]]:
    from hubbub.hub import sleep

    return {"time": {"sleep": sleep}}


time = ModulePatch("time", _time)
