"""gevent._waiter on hubbub."""

from __future__ import annotations

import sys
from typing import Any

from greenlet import getcurrent, greenlet
from hubbub.exceptions import ConcurrentObjectUseError, HubDestroyed
from hubbub.lowlevel import get_hub

__all__ = ["Waiter"]

_NONE: Any = object()


class Waiter:
    """The low-level place where one greenlet waits for one value. Only the hub may switch into it."""

    __slots__ = ["_exception", "greenlet", "hub", "value"]

    def __init__(self, hub: Any = None) -> None:
        self.hub: Any = hub if hub is not None else get_hub()
        self.greenlet: Any = None
        self.value: Any = None
        self._exception: Any = _NONE

    def clear(self) -> None:
        """Forget the value or error."""
        self.greenlet = None
        self.value = None
        self._exception = _NONE

    def __str__(self) -> str:
        text = f"<{type(self).__name__} greenlet={self.greenlet}"
        if self._exception is _NONE:
            return f"{text}>"
        return f"{text} value={self.value!r}>" if self._exception is None else f"{text} exc_info={self.exc_info}>"

    def ready(self) -> bool:
        """Whether there is a value or an error."""
        return self._exception is not _NONE

    def successful(self) -> bool:
        """Whether there is a value."""
        return self._exception is None

    @property
    def exc_info(self) -> Any:
        """The error that was thrown, as (type, error, traceback)."""
        return self._exception if self._exception is not _NONE else None

    def switch(self, value: Any) -> None:
        """From the hub: hand ``value`` to the greenlet that waits, or keep it."""
        target = self.greenlet
        if target is None:
            self.value = value
            self._exception = None
            return
        if getcurrent() is not self.hub.runner:
            raise AssertionError("Can only use Waiter.switch method from the Hub greenlet")
        try:
            target.switch(value)
        except HubDestroyed:
            raise  # the greenlet was the thread's last, and the thread has ended
        except BaseException:
            self.hub.handle_error(target.switch, *sys.exc_info())

    def switch_args(self, *args: Any) -> None:
        """As :meth:`switch`, with the arguments as a tuple."""
        self.switch(args)

    def throw(self, *throw_args: Any) -> None:
        """From the hub: raise an error in the greenlet that waits, or keep it."""
        target = self.greenlet
        if target is None:
            self._exception = throw_args
            return
        if getcurrent() is not self.hub.runner:
            raise AssertionError("Can only use Waiter.switch method from the Hub greenlet")
        try:
            target.throw(*throw_args)
        except HubDestroyed:
            raise  # the greenlet was the thread's last, and the thread has ended
        except BaseException:
            self.hub.handle_error(target.throw, *sys.exc_info())

    def get(self) -> Any:
        """The value; raises the error. Waits if there is neither."""
        if self._exception is not _NONE:
            if self._exception is None:
                return self.value
            return greenlet.throw(getcurrent(), *self._exception)
        if self.greenlet is not None:
            raise ConcurrentObjectUseError(f"This Waiter is already used by {self.greenlet!r}")
        current = getcurrent()
        if current is self.hub.runner:
            return self._get_in_callback(current)
        self.greenlet = current
        try:
            return self.hub.switch()
        finally:
            self.greenlet = None

    def _get_in_callback(self, runner: Any) -> Any:
        place = self.greenlet = _Callback(runner)
        try:
            self.hub.wait_while(lambda: place.waits)
        finally:
            self.greenlet = None
        return place.value

    def __call__(self, source: Any) -> None:
        """As a link: take over the result of ``source``."""
        if source.exception is None:
            self.switch(source.value)
        else:
            self.throw(source.exception)


class _Callback:
    """Takes the place of the waiting greenlet when a callback in the hub waits."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.value: Any = None
        self.waits = True
        self.throw = runner.throw

    def __repr__(self) -> str:
        return f"<callback of {self._runner!r}>"

    def switch(self, value: Any) -> None:
        """Let the callback go on with ``value``."""
        self.value = value
        self.waits = False
        self._runner.resume()
