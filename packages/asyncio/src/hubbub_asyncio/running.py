"""Running coroutines on the hub's event loop, as :func:`asyncio.run` does on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hubbub_asyncio.loop import HubEventLoop

__all__ = ["new_event_loop", "run"]

T = TypeVar("T")


def new_event_loop() -> HubEventLoop:
    """A new event loop on the hub of this thread: a ``loop_factory`` for :class:`asyncio.Runner`."""
    return HubEventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine on a new event loop on the hub, and return its result. Other greenlets run meanwhile.

    As :func:`asyncio.run`, in any number of greenlets of a thread at once. Tasks that are left when ``main`` has ended
    are cancelled.

    :param debug: asyncio's debug mode; None: as the environment says.
    :raises RuntimeError: called by a coroutine, which must await ``main``, or :func:`hubbub_asyncio.await_` it.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run() cannot be called from a running event loop: await the coroutine, or call await_ on it"
        )
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
