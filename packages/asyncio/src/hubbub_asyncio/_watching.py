"""The descriptors that an event loop watches, as observers of the hub's loop.

A watch is a handle of asyncio: an event puts it into the queue of callbacks as it is. Reports are level-triggered, as
asyncio's are. While a task blocks cooperatively nobody runs the callbacks, and a report would come in every turn of the
hub; a watch that is reported again before it has run leaves the descriptor until it runs.
"""

from __future__ import annotations

import selectors
from asyncio import events, format_helpers
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, NoReturn

from hubbub_asyncio.acceleration import known_to_c, twin

__all__ = ["NoSelector", "Watch", "Watches", "number", "report_failure"]


@known_to_c
def report_failure(handle: Any, error: BaseException) -> None:
    """Hand the error of a callback to the event loop's exception handler, as asyncio's handles do."""
    name = format_helpers._format_callback_source(handle._callback, handle._args)
    context = {"message": f"Exception in callback {name}", "exception": error, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)


class NoSelector(selectors.BaseSelector):
    """What asyncio's event loop holds in place of a selector. It has no descriptors and never waits."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> NoReturn:
        """Refuse: the event loop uses watches."""
        raise NotImplementedError("descriptors are watched by the hub: use add_reader and add_writer")

    def unregister(self, fileobj: Any) -> NoReturn:
        """Refuse: nothing is registered."""
        raise KeyError(f"{fileobj!r} is not registered")

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing."""
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Nothing."""
        return {}


@known_to_c
class Watch(events.Handle):
    """Calls a function at each event of a descriptor (:class:`hubbub.lowlevel.Observer`).

    :param fileobj: the descriptor, or an object with ``fileno``.
    :param event: READ or WRITE.
    :raises ValueError: ``fileobj`` is none of these, or closed.
    """

    __slots__ = ("_fd", "_queued", "_readiness", "_suspended", "events", "fileobj")

    _callback: Any
    _args: Any
    _loop: Any
    _context: Any

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        loop: Any,
        context: Context | None,
        fileobj: Any,
        event: int,
    ) -> None:
        super().__init__(callback, args, loop, context)
        self.fileobj = fileobj
        self._fd = number(fileobj)
        self.events = event
        self._readiness: Any = None
        self._queued = False
        self._suspended = False

    @property
    def key(self) -> tuple[int, int]:
        """The descriptor and the event."""
        return self._fd, self.events

    def begin(self) -> None:
        """Watch from now on.

        :raises OSError: the descriptor is closed, or cannot be polled.
        """
        readiness = self._loop._hub_loop.handle(self._fd)
        readiness.join(self, level=True)
        self._readiness = readiness

    def end(self) -> None:
        """Watch no more, and do not call the function any more."""
        self.cancel()
        self._leave()
        self.fileobj = None

    def _leave(self) -> None:
        readiness, self._readiness = self._readiness, None
        if readiness is not None and not readiness.loop.destroyed:
            readiness.leave(self)

    @twin("callbacks.c")
    def fired(self, events: int) -> None:
        """On the hub: the loop reports an event."""
        if self._queued:
            self._suspended = True
            self._leave()
            return
        self._queued = True
        loop = self._loop
        loop._ready.append(self)
        if loop._parked is not None:
            loop._wake()

    def descriptor_closed(self) -> None:
        """On the hub: the descriptor is going away. One last call, so that the function meets the error itself."""
        self._readiness = None
        if not self._cancelled:
            self.fired(self.events)

    def _run(self) -> None:
        self._queued = False
        if self._suspended:
            self._suspended = False
            self._begin_again()
        try:
            self._context.run(self._callback, *self._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            report_failure(self, error)

    def _begin_again(self) -> None:
        try:
            self.begin()
        except OSError:
            pass  # the descriptor was closed: the function, which is called now, meets the error itself


class Watches:
    """At most one reader and one writer for each descriptor.

    :param loop: the hub's loop.
    """

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._watches: dict[tuple[int, int], Watch] = {}
        self._held = 0

    def add(self, watch: Watch) -> Watch:
        """Begin a watch, in place of the one that was there for the same descriptor and event.

        :raises InvalidThreadUseError: the hub's loop belongs to another thread.
        """
        self._loop.check_alive()
        self._loop.check_thread()
        watch.begin()
        before = self._watches.get(watch.key)
        if not self._watches:
            self._held = self._loop.hold()  # observers alone do not keep the hub waiting
        self._watches[watch.key] = watch
        if before is not None:
            before.end()
        return watch

    def remove(self, fileobj: Any, event: int) -> bool:
        """Stop watching.

        :returns: whether it was watched.
        :raises ValueError: ``fileobj`` has no descriptor, and is not watched.
        """
        watch = self._watches.pop((self._number(fileobj), event), None)
        if watch is None:
            return False
        watch.end()
        if not self._watches:
            self._loop.let_go(self._held)
        return True

    def _number(self, fileobj: Any) -> int:
        """The descriptor of a file object, also if that was closed since it is watched.

        :raises ValueError: it has none, and is not watched.
        """
        try:
            return number(fileobj)
        except ValueError:
            for watch in self._watches.values():
                if watch.fileobj is fileobj:
                    return watch.key[0]
            raise

    def close(self) -> None:
        """Stop watching everything."""
        for fd, event in list(self._watches):
            self.remove(fd, event)


def number(fileobj: Any) -> int:
    """The descriptor of a file object, as :mod:`selectors` finds it.

    :raises ValueError: it has none.
    """
    if isinstance(fileobj, int):
        fd = fileobj
    else:
        try:
            fd = int(fileobj.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"Invalid file descriptor: {fd}")
    return fd
