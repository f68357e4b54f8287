"""gevent.signal on hubbub."""

from __future__ import annotations

import signal as _std_signal
from typing import Any

from hubbub import signal as _cooperative

__all__ = ["getsignal", "set_wakeup_fd", "signal"]

__implements__: list[str] = ["signal", "getsignal", "set_wakeup_fd"]


def signal(signalnum: int, handler: Any) -> Any:
    """:func:`signal.signal`; a handler of SIGCHLD is called in a greenlet of its own."""
    if signalnum == getattr(_std_signal, "SIGCHLD", None):
        return _cooperative.signal(signalnum, handler)
    return _cooperative.prompt(signalnum, handler)


def getsignal(signalnum: int) -> Any:
    """:func:`signal.getsignal`."""
    if signalnum == getattr(_std_signal, "SIGCHLD", None):
        return _cooperative.getsignal(signalnum)
    return _cooperative.getsignal_prompt(signalnum)


def set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    """:func:`hubbub.signal.set_wakeup_fd`."""
    return _cooperative.set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)


def __getattr__(name: str) -> Any:
    return getattr(_std_signal, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_std_signal)})
