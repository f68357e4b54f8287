"""The callbacks of an event loop on the hub: those that are ready, the timers, and what wakes the event loop.

There is no pipe to wake it: who queues a callback makes the greenlet runnable that runs them, if that waits in the hub.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from asyncio.base_events import _format_handle  # type: ignore[attr-defined]  # private in typeshed
from asyncio.log import logger
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, TypeVarTuple

from hubbub import get_hub
from hubbub.exceptions import InvalidThreadUseError
from hubbub.lowlevel import get_hub_if_exists

from hubbub_asyncio._base import SelectorEventLoop
from hubbub_asyncio._watching import NoSelector, report_failure
from hubbub_asyncio.acceleration import known_to_c, twin

__all__ = ["Callbacks", "PlainHandle", "forget_last_frame"]

_CANCELLED_TIMERS = 100
"""With more timers than this, the cancelled ones are removed when they are more than half."""

_Ts = TypeVarTuple("_Ts")


@known_to_c
class Callbacks(SelectorEventLoop):
    """An event loop that takes callbacks. Any greenlet of its thread may give it some."""

    __slots__ = (  # beside the __dict__: what is read all the time, also by C
        "_begins",
        "_closed",
        "_debug",
        "_first_step",
        "_hub",
        "_hub_loop",
        "_parked",
        "_ready",
        "_scheduled",
        "_stand_ins",
        "_stopping",
        "_unqueued",
    )

    def __init__(self) -> None:
        self._hub = get_hub()
        self._hub_loop: Any = self._hub.loop
        self._parked: Callable[[], Any] | None = None
        """The switch of the greenlet that runs the callbacks, while that waits for some in the hub."""
        self._stand_ins = 0
        """How many stand-ins there are: see :mod:`hubbub_asyncio.loop`."""
        self._wake_up = self._wake  # one object: a timer is cancelled by the same callback
        self._begins: Context | None = None
        """Set while a task is made whose first step is not to be queued: its context, by which the step is known."""
        self._first_step: Callable[[], Any] = self._no_step
        """That step."""
        self._unqueued = PlainHandle(self._no_step, (), self, None)
        """What the task is given for it."""
        super().__init__(NoSelector())

    @property
    def is_here(self) -> bool:
        """Whether the current native thread is the one whose hub runs the event loop."""
        return get_hub_if_exists() is self._hub

    def _check_hub(self) -> None:
        if not self.is_here:
            raise InvalidThreadUseError(
                f"{self!r} belongs to the thread that made it; make one in the thread that is to run it"
            )

    @twin("callbacks.c")
    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> events.Handle:
        """Call ``callback(*args)`` in the next round. Any greenlet of the thread may call this."""
        if self._debug or self._closed or self._begins is not None:
            if self._begins is context is not None:
                self._first_step = callback
                return self._unqueued
            handle: events.Handle = super().call_soon(callback, *args, context=context)
            forget_last_frame(handle)
        else:
            handle = PlainHandle(callback, args, self, context)
            self._ready.append(handle)
        if self._parked is not None:
            self._wake()
        return handle

    @twin("callbacks.c")
    def create_future(self) -> asyncio.Future[Any]:
        """A future of this event loop."""
        return asyncio.Future(loop=self)

    @twin("callbacks.c")
    def get_debug(self) -> bool:
        """Whether the debug mode is on."""
        return self._debug

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> events.TimerHandle:
        """Call ``callback(*args)`` at ``when`` seconds of :meth:`time`. Any greenlet of the thread may call this."""
        timer: events.TimerHandle = super().call_at(when, callback, *args, context=context)
        forget_last_frame(timer)
        if self._parked is not None:
            self._wake()
        return timer

    def _check_thread(self) -> None:
        """In debug mode: any greenlet of the thread may call."""
        if self._thread_id is not None and not self.is_here:
            raise RuntimeError(
                "Non-thread-safe operation invoked on an event loop other than the current one; "
                "call_soon_threadsafe may be called from other threads"
            )

    def time(self) -> float:
        """Seconds on the clock of :meth:`call_at`, which is the hub's: :func:`time.monotonic`, or a virtual clock."""
        now: float = self._hub_loop.update_now()
        return now

    def _no_step(self) -> None:
        """Takes the place of the first step of a task that could not be made."""

    # Waking ----------------------------------------------------------------------------------------------------------

    @twin("callbacks.c")
    def _wake(self) -> None:
        """Wake the event loop, if it waits. Called in the thread of the hub."""
        parked = self._parked
        if parked is not None:
            self._parked = None
            self._hub_loop.ready.append(parked)

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        """Nothing: there is no pipe."""

    def _write_to_self(self) -> None:
        """Wake the event loop. Any thread may call this."""
        if not self._hub.destroyed:
            self._hub_loop.run_callback_threadsafe(self._wake)

    def _process_events(self, event_list: Any) -> None:
        """Nothing: watchers have queued the handles already."""

    def _fired(self, handle: events.Handle) -> None:
        """A watcher has an event: call its handle in the next round."""
        if not handle._cancelled:
            self._ready.append(handle)
            if self._parked is not None:
                self._wake()

    # Calling ---------------------------------------------------------------------------------------------------------

    @twin("callbacks.c")
    def _call_ready(self) -> None:
        """Call what is ready now. What becomes ready meanwhile has its turn in the next round."""
        ready = self._ready
        debug = self._debug
        for _ in range(len(ready)):
            if not ready:
                return  # a stand-in, which may have ended since, has called them
            handle = ready.popleft()
            if debug:
                self._call_slowly(handle)
            elif type(handle) is PlainHandle:  # most are; in fewer steps than by _run
                if not handle._cancelled:
                    try:
                        handle._context.run(handle._callback, *handle._args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:
                        report_failure(handle, error)
            elif not handle._cancelled:
                handle._run()
            handle = None  # else it would live until the next one, or with an error's traceback
            if self._stand_ins and not self._still_runs():
                return

    def _call_slowly(self, handle: events.Handle) -> None:
        """In debug mode: call a handle, and log it if it took long."""
        if handle._cancelled:
            return
        self._current_handle = handle
        began = self.time()
        try:
            handle._run()
        finally:
            self._current_handle = None
        took = self.time() - began
        if took >= self.slow_callback_duration:
            logger.warning("Executing %s took %.3f seconds", _format_handle(handle), took)
        del handle  # an error's traceback keeps this frame

    def _still_runs(self) -> bool:
        """Whether this greenlet goes on to call what is ready, though there are stand-ins."""
        return True

    # Timers ----------------------------------------------------------------------------------------------------------

    def _next_delay(self) -> float | None:
        """Seconds until the next timer; None: there is none."""
        scheduled = self._scheduled
        if not scheduled:
            return None
        if len(scheduled) > _CANCELLED_TIMERS and self._timer_cancelled_count * 2 > len(scheduled):
            self._sweep()
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        return max(scheduled[0]._when - self.time(), 0.0) if scheduled else None

    def _sweep(self) -> None:
        """Remove the timers that were cancelled."""
        kept = []
        for handle in self._scheduled:
            if handle._cancelled:
                handle._scheduled = False
            else:
                kept.append(handle)
        heapq.heapify(kept)
        self._scheduled[:] = kept
        self._timer_cancelled_count = 0

    def _queue_due(self) -> None:
        """Queue the timers whose time has come."""
        scheduled = self._scheduled
        end = self.time() + self._clock_resolution
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when < end):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(handle)


@known_to_c
class PlainHandle(events.Handle):
    """As :class:`asyncio.Handle`, made in fewer steps; not for the debug mode.

    The event loop calls it in fewer steps too, without ``_run``.
    """

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: Any, context: Context | None) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


def forget_last_frame(handle: Any) -> None:
    """In debug mode a handle keeps the stack where it was made. Drop the last frame, which is the event loop's own."""
    if handle._source_traceback:
        del handle._source_traceback[-1]
