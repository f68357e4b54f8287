"""gevent.baseserver on hubbub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubbub.hub import get_hub
from hubbub_server.baseserver import BaseServer as _BaseServer

from hubbub_gevent.greenlet import Greenlet
from hubbub_gevent.pool import Pool

__all__ = ["BaseServer", "Habits"]


class Habits:
    """What gevent's servers do differently: handlers are methods or attributes, run in gevent's greenlets."""

    handle: Any = None

    @property
    def loop(self) -> Any:
        """The loop of this thread."""
        return get_hub().loop

    @property
    def _handle(self) -> Any:
        return self.handle

    def __repr__(self) -> str:
        handle = self.handle
        mine = getattr(handle, "__self__", None) is self
        shown = f"<bound method {type(self).__name__}.{handle.__name__} of self>" if mine else repr(handle)
        return f"{super().__repr__()[:-1]} handle={shown}>"

    def set_handle(self, handle: Callable[..., Any]) -> None:
        """Set what is called for each thing accepted.

        :raises TypeError: it is not callable.
        """
        if handle is not None:
            if not callable(handle):
                raise TypeError("'handle' must be provided")
            self.handle = handle

    def set_spawn(self, spawn: Any) -> None:
        """Set how handlers run."""
        if spawn == "default":
            spawn = Greenlet.spawn
        elif isinstance(spawn, int) and not isinstance(spawn, bool):
            spawn = Pool(spawn)
        super().set_spawn(spawn)  # type: ignore[misc]  # a mix-in for hubbub's servers


class BaseServer(Habits, _BaseServer):  # type: ignore[override]  # the handler is looked up anew each time
    """gevent's BaseServer."""
