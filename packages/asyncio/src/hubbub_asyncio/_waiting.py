"""Waiting in a greenlet for a future of an event loop of its thread."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from hubbub import Greenlet, shield
from hubbub.lowlevel import Waiter

__all__ = ["Running", "cancel_and_wait", "wait_for"]

T = TypeVar("T")


class Running(Greenlet[Any]):
    """A greenlet whose failure, of whatever kind, is for the one that waits for it."""

    def handle_failure(self, error: BaseException) -> None:
        """Keep the error."""
        self.keep_failure(error)


def wait_for(future: asyncio.Future[T]) -> T:
    """Wait in a greenlet for a future of this thread."""
    try:
        park_until_done(future)
    except BaseException as interruption:
        cancel_and_wait(future, interruption)
        raise
    return future.result()


def park_until_done(future: asyncio.Future[Any]) -> None:
    """Wait until it is done. A wait that is interrupted leaves it alone."""
    if future.done():
        return
    waiter = Waiter()

    def wake(_: object) -> None:
        waiter.wake()

    future.add_done_callback(wake)
    try:
        waiter.wait()
    finally:
        future.remove_done_callback(wake)


def cancel_and_wait(future: asyncio.Future[Any], interruption: BaseException) -> None:
    """After an interruption: end the task. An error of its own becomes the cause of the interruption."""
    future.cancel()
    with shield():
        park_until_done(future)
    if not future.cancelled() and (error := future.exception()) is not None:
        raise interruption from error
