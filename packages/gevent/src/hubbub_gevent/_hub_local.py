"""gevent._hub_local on hubbub: the hub of this thread."""

from __future__ import annotations

from hubbub_gevent.hub import get_hub, get_hub_if_exists, get_hub_noargs
from hubbub_gevent.hub import get_hub_class as get_hub_class
from hubbub_gevent.hub import get_loop as get_loop
from hubbub_gevent.hub import set_default_hub_class as set_default_hub_class
from hubbub_gevent.hub import set_hub as set_hub
from hubbub_gevent.hub import set_loop as set_loop

__all__ = ["get_hub", "get_hub_if_exists", "get_hub_noargs"]
