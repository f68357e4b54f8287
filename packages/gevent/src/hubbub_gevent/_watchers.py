"""gevent's watchers: hubbub's, which check what is assigned to them."""

from __future__ import annotations

from operator import index
from typing import Any

from hubbub.loop import watchers

__all__ = [
    "WatcherType",
    "async_",
    "check",
    "child",
    "fork",
    "idle",
    "io",
    "prepare",
    "signal",
    "stat",
    "timer",
]


class WatcherType:
    """What watchers have in common: they check ``callback`` and ``args`` on assignment too."""

    _callback: Any = None
    _args: tuple[Any, ...] | None = None
    _priority: Any = None
    active: bool

    @property
    def priority(self) -> int:
        """Watchers with higher priority are called first. Cannot be changed while the watcher is active."""
        number: int = self._priority
        return number

    @priority.setter
    def priority(self, value: int) -> None:
        if self._priority is not None and self.active:
            raise AttributeError("Cannot set priority of an active watcher")
        self._priority = index(value)

    @property
    def callback(self) -> Any:
        """What is called; a callable or None."""
        return self._callback

    @callback.setter
    def callback(self, value: Any) -> None:
        if value is not None and not callable(value):
            raise TypeError(f"Expected callable, not {value!r}")
        self._callback = value

    @property
    def args(self) -> Any:
        """The arguments: a tuple; None if there are none, before the start and after the end."""
        return self._args if self._callback is not None else None

    @args.setter
    def args(self, value: Any) -> None:
        if value is not None and not isinstance(value, tuple):
            raise TypeError(f"Expected tuple, got {type(value).__name__}")
        self._args = value


def _checked(base: type, name: str) -> Any:
    return type(name, (WatcherType, base), {"__module__": __name__, "__doc__": base.__doc__})


io: Any = _checked(watchers.IO, "io")
timer: Any = _checked(watchers.Timer, "timer")
signal: Any = _checked(watchers.Signal, "signal")
child: Any = _checked(watchers.Child, "child")
async_: Any = _checked(watchers.Async, "async_")
idle: Any = _checked(watchers.Idle, "idle")
prepare: Any = _checked(watchers.Prepare, "prepare")
check: Any = _checked(watchers.Check, "check")
fork: Any = _checked(watchers.Fork, "fork")
stat: Any = _checked(watchers.Stat, "stat")
