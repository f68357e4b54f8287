"""gevent.selectors on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_net import selectors as _cooperative
from hubbub_net.selectors import DefaultSelector

__all__ = [*_cooperative.__all__, "GeventSelector"]

__implements__ = ["DefaultSelector"]
GeventSelector = DefaultSelector


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)
