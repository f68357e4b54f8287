"""gevent.libev.corecffi on hubbub: the loop class on libev."""

from __future__ import annotations

from typing import Any

from hubbub_gevent import _backend

__all__ = [name for name in _backend.__all__ if name != "loop_on"] + ["loop"]

loop: Any = _backend.loop_on("libev")


def __getattr__(name: str) -> Any:
    return getattr(_backend, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_backend)})
