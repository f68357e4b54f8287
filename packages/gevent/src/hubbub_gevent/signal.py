"""gevent.signal on hubbub."""

from __future__ import annotations

from hubbub.signal import getsignal, set_wakeup_fd, signal

__all__ = ["getsignal", "set_wakeup_fd", "signal"]

__implements__ = ["signal", "getsignal", "set_wakeup_fd"]
