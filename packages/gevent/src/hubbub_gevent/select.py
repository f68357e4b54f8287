"""gevent.select on hubbub."""

from __future__ import annotations

from typing import Any

from hubbub_monkey import get_original
from hubbub_net import select as _cooperative

_original_select = get_original("select", "select")
__all__ = list(_cooperative.__all__)


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)
