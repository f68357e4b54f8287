"""gevent._hub_local on hubbub: the hub of this thread."""

from __future__ import annotations

from hubbub_gevent.hub import (
    get_hub,
    get_hub_class,
    get_hub_if_exists,
    get_hub_noargs,
    get_loop,
    set_default_hub_class,
    set_hub,
    set_loop,
)

__all__ = [
    "get_hub",
    "get_hub_class",
    "get_hub_if_exists",
    "get_hub_noargs",
    "get_loop",
    "set_default_hub_class",
    "set_hub",
    "set_loop",
]
