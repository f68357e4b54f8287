"""gevent.time on hubbub."""

from __future__ import annotations

import time as _time
from typing import Any

from hubbub_gevent.hub import sleep

__all__ = ["sleep"]

__implements__: list[str] = ["sleep"]


def __getattr__(name: str) -> Any:
    return getattr(_time, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_time)})
