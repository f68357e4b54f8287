"""How core's share of the standard library is made cooperative: entry points of the group ``hubbub.patches``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hubbub._builtin import Place, as_builtin

__all__ = ["ModulePatch", "os", "queue", "signal", "subprocess", "time"]


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
    from hubbub.time import sleep

    return {"time": {"sleep": sleep}}


time: ModulePatch = ModulePatch("time", _time)


def _os() -> dict[str, dict[str, Any]]:
    from hubbub import os

    names = (
        *("close", "eventfd_read", "eventfd_write", "fdopen", "read", "readv"),
        *("wait", "wait3", "wait4", "waitid", "waitpid", "write", "writev"),
    )
    return {"os": {name: getattr(os, name) for name in names if hasattr(os, name)}}


os: ModulePatch = ModulePatch("os", _os)
"""Fork needs no patch: its hooks are in place once hubbub is imported."""


def _queue() -> dict[str, dict[str, Any]]:
    from hubbub.queue import SimpleQueue

    return {"queue": {"SimpleQueue": SimpleQueue}}


queue: ModulePatch = ModulePatch("queue", _queue, requires=("threading",))
"""The other classes of the module are built on :mod:`threading`, and cooperate when that is patched."""


def _signal() -> dict[str, dict[str, Any]]:
    from hubbub import signal

    def set_wakeup_fd(_: Place, fd: int, *, warn_on_full_buffer: bool = True) -> int:
        return signal.set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)

    def set_signal(signalnum: int, handler: Any) -> Any:
        return signal.prompt(signalnum, handler)

    def getsignal(signalnum: int) -> Any:
        return signal.getsignal_prompt(signalnum)

    set_wakeup_fd.__doc__, set_signal.__doc__ = signal.set_wakeup_fd.__doc__, signal.prompt.__doc__
    getsignal.__doc__ = signal.getsignal_prompt.__doc__
    found: dict[str, Callable[..., Any]] = {
        "set_wakeup_fd": set_wakeup_fd,
        "signal": set_signal,
        "getsignal": getsignal,
    }
    for name, function in found.items():
        # As with the module's own functions, these names say that they belong to the module.
        function.__module__, function.__name__, function.__qualname__ = "signal", name, name
    return {"signal": {**found, "set_wakeup_fd": as_builtin(set_wakeup_fd)}}


class _SignalPatch(ModulePatch):
    def installed(self) -> Callable[[], None]:
        """Have the errors of handlers that are set already go to the main greenlet, too."""
        from hubbub.signal import adopt_handlers

        return adopt_handlers()


signal: ModulePatch = _SignalPatch("signal", _signal)
"""Handlers are prompt on every loop without a patch; with it, what they raise is raised in the main greenlet."""


def _subprocess() -> dict[str, dict[str, Any]]:
    from hubbub.subprocess import Popen

    return {"subprocess": {"Popen": Popen}}


subprocess: ModulePatch = ModulePatch("subprocess", _subprocess)
"""The functions of the module use its Popen."""
