"""gevent.timeout on hubbub."""

from __future__ import annotations

from hubbub.timeout import Timeout, with_timeout

__all__ = ["Timeout", "with_timeout"]
