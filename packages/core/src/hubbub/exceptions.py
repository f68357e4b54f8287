"""Errors by cause. This module imports nothing of hubbub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit

__all__ = [
    "BlockingSwitchOutError",
    "ConcurrentObjectUseError",
    "GreenletExit",
    "HubDestroyed",
    "InvalidSwitchError",
    "InvalidThreadUseError",
    "LoopDestroyed",
    "LoopExit",
    "PluginError",
    "PluginUnavailable",
    "StandInRetired",
    "UnsupportedPythonWarning",
]


class LoopExit(Exception):
    """A deadlock: the loop has nothing left to wait for while a greenlet still waits.

    Raised in the main greenlet of the thread. ``hub`` is the hub of that loop.
    """

    @property
    def hub(self) -> Any:
        """The hub whose loop ended, or None."""
        return self.args[1] if len(self.args) > 1 else None

    def __str__(self) -> str:
        """The message, the loop's state, and what every greenlet still waits for."""
        hub = self.hub
        lines = [_told(str, part) for part in self.args if part is not hub]
        if hasattr(hub, "blocked"):
            lines.append(_told(hub.blocked))
        return "\n".join(lines)


def _told(tell: Callable[..., str], *args: Any) -> str:
    try:
        return tell(*args)
    except Exception as error:  # the text of an error must not hide the error
        return f"(that cannot be told: {type(error).__name__})"


class BlockingSwitchOutError(AssertionError):
    """A callback tried to wait for the hub itself, or while too many callbacks waited already."""


class InvalidSwitchError(AssertionError):
    """A waiting greenlet was switched to by code that may not wake it."""


class ConcurrentObjectUseError(AssertionError):
    """A second greenlet uses an object that serves one at a time."""


class InvalidThreadUseError(RuntimeError):
    """An object that belongs to one native thread was used from another."""


class LoopDestroyed(RuntimeError):
    """The loop was destroyed; it cannot watch anything any more."""


class HubDestroyed(GreenletExit):
    """Thrown into a hub that is being destroyed, and raised where a thread that is ending asks for another hub."""


class StandInRetired(GreenletExit):
    """Thrown into a stand-in of the hub that is not needed any more. Not seen outside of loops."""


class PluginError(LookupError):
    """A loop, resolver, patch or accelerator of that name is not installed, or is installed twice."""


class PluginUnavailable(ImportError):
    """The package of a loop or accelerator is installed, and has nothing for this Python, by design.

    Raised where it was chosen by name. Where nothing was chosen, the next one is used.
    """


class UnsupportedPythonWarning(RuntimeWarning):
    """Hubbub runs on a Python for which it is not made; the message says what does not work there."""
