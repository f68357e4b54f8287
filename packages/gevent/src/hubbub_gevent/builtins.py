"""gevent.builtins: nothing is replaced in it."""

from __future__ import annotations

__all__: list[str] = []

__implements__: list[str] = []
