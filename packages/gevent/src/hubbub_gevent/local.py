"""gevent.local on hubbub."""

from __future__ import annotations

from typing import Any

from greenlet import greenlet
from hubbub.local import local

__all__ = ["all_local_dicts_for_greenlet", "local"]


def all_local_dicts_for_greenlet(greenlet: greenlet) -> list[Any]:
    """What each ``local`` has for ``greenlet``; not tracked by hubbub."""
    return []
