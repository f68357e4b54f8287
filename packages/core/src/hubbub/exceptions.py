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
    """The loop has nothing left to wait for while somebody still waits.

    Raised in the main greenlet of the thread. ``hub`` is the hub that ran dry.
    """

    @property
    def hub(self) -> Any:
        """The hub that ended, or None."""
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
    """Code that runs in the hub may not wait for that: for the hub itself, or while too many callbacks wait already."""


class InvalidSwitchError(AssertionError):
    """A waiting greenlet was switched to by somebody who may not."""


class ConcurrentObjectUseError(AssertionError):
    """A second greenlet uses an object that serves one at a time."""


class InvalidThreadUseError(RuntimeError):
    """An object that belongs to one native thread was used from another."""


class LoopDestroyed(RuntimeError):
    """The loop was destroyed; it cannot watch anything any more."""


class HubDestroyed(GreenletExit):
    """Thrown into a hub that is being destroyed."""


class StandInRetired(GreenletExit):
    """Thrown into a stand-in of the hub that is not needed any more. Not seen outside of loops."""


class PluginError(LookupError):
    """A loop, resolver, patch or accelerator of that name is not installed, or is installed twice."""


class PluginUnavailable(ImportError):
    """The package of a loop or accelerator is installed, and has nothing for this Python, by design.

    Whoever asks for it by name gets this. Where nothing was chosen, the next is taken.
    """


class UnsupportedPythonWarning(RuntimeWarning):
    """Hubbub runs on a Python for which it is not made; the message says what does not work there."""
