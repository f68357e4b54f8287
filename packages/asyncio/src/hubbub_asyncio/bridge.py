"""From greenlets to coroutines and back.

========================  ================================================================
in a greenlet             ``await_(coroutine)``, ``iterate(aiterable)``, ``entered(manager)``
in a coroutine            ``await in_greenlet(function, *args)``, ``await as_future(greenlet)``
========================  ================================================================

A waiter that is interrupted ends what it waits for: a greenlet that is killed or out of time cancels the task, a task
that is cancelled kills the greenlet. Both then wait until that has ended, so nothing goes on unnoticed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import weakref
from asyncio.events import _get_running_loop
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
)
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from greenlet import GreenletExit
from hubbub import Greenlet, get_hub, shield
from hubbub.inspect import count_as_own
from hubbub.lowlevel import Waiter

from hubbub_asyncio._waiting import wait_for
from hubbub_asyncio.loop import HubEventLoop

__all__ = ["Worker", "as_future", "await_", "entered", "in_greenlet", "iterate", "loop_that_runs", "thread_loop"]

P = ParamSpec("P")
T = TypeVar("T")

_HOME: ContextVar[Callable[[], asyncio.AbstractEventLoop | None]] = ContextVar("hubbub_asyncio_home")
"""A weak reference to the event loop of the coroutine that has started this greenlet by :func:`in_greenlet`. It is
weak because timers that were cancelled keep their contexts for a while, and must not keep event loops alive."""
_OWN = "_hubbub_asyncio_loop"
"""The attribute of a hub that holds the event loop of :func:`thread_loop`."""

count_as_own(os.path.dirname(__file__))


class _ThreadLoop(HubEventLoop):
    """The event loop of a thread's greenlets. It is never closed: it ends with its hub."""

    def __del__(self) -> None:
        """Give no warning that it was not closed."""


def thread_loop() -> HubEventLoop:
    """The event loop on which :func:`await_` runs coroutines in this thread, unless they belong to another.

    Made on first use. It runs in a greenlet of its own. In the child after a fork there is a new one.
    """
    own = vars(get_hub())
    loop: HubEventLoop | None = own.get(_OWN)
    if loop is not None and loop.runs_on:
        return loop
    if loop is None or loop.is_closed() or loop.is_left:
        loop = own[_OWN] = _ThreadLoop()
    loop.begin()
    return loop


def loop_that_runs() -> HubEventLoop:
    """As :func:`thread_loop`, which may be about to run only; waits until it does. For a greenlet."""
    loop: HubEventLoop | None = vars(get_hub()).get(_OWN)
    if loop is None or not loop.runs_on:
        loop = thread_loop()
        await_(_nothing(), loop=loop)
    return loop


async def _nothing() -> None:
    """Does nothing. The caller awaits it to know that the event loop runs."""


# In a greenlet ------------------------------------------------------------------------------------------------------


def await_(awaitable: Awaitable[T], *, loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Wait in a greenlet for a coroutine, a task, a future or any other awaitable, and return its result.

    A coroutine runs as a task of ``loop`` with a copy of the caller's context variables. Its first step runs at once,
    if the event loop has nothing else to do. A future or task stays on its event loop, also if that runs in
    another native thread. A function that a task has called may call this too, at any depth, if that task's
    event loop is a :class:`HubEventLoop`.

    If the wait is interrupted (kill, time limit, cancelled scope), the task is cancelled, and the interruption goes on
    when the task has ended. If the task then ends with an error, that is the interruption's cause.

    :param loop: the event loop to run a coroutine on; None: the event loop of the coroutine that started this greenlet
        by :func:`in_greenlet`, if it runs in this thread, else :func:`thread_loop`.
    :raises TypeError: ``awaitable`` cannot be awaited.
    :raises RuntimeError: called by a task of an event loop that cannot be lent; or the event loop is closed.
    :raises asyncio.CancelledError: the task was cancelled by others.
    """
    running: HubEventLoop | None = None
    if loop is None and type(awaitable) is CoroutineType and _get_running_loop() is None:
        target: asyncio.AbstractEventLoop = _home_loop()  # the usual case, in fewer steps
    else:
        running, target = _loops_for(awaitable, loop)
    if not isinstance(target, HubEventLoop) or not target.is_here:
        if running is not None:  # the tasks of the running event loop go on meanwhile
            return cast(T, await_(in_greenlet(_await_elsewhere, awaitable, target)))
        return cast(T, _await_elsewhere(awaitable, target))
    waits_for: asyncio.Future[T]  # the name by which reports find it
    if running is None and isinstance(awaitable, CoroutineType) and target.runs_on:
        # A task that does not wait has ended without a round of the event loop.
        waits_for = target.begin_task(awaitable, context=copy_context())
        return cast(T, waits_for.result()) if waits_for.done() else wait_for(waits_for)
    waits_for = _task_for(awaitable, target)
    if running is None:
        return wait_for(waits_for)
    with running.lent(waits_for):
        return wait_for(waits_for)


def _loops_for(
    awaitable: Any, loop: asyncio.AbstractEventLoop | None
) -> tuple[HubEventLoop | None, asyncio.AbstractEventLoop]:
    """The event loop that runs in the caller's greenlet, and the one to await on. Raises what :func:`await_` does."""
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"await_ takes a coroutine, task, future or other awaitable, not {awaitable!r}")
    try:
        running = _get_running_loop()
        target = _loop_of(awaitable) or loop or running or _home_loop()
        if target.is_closed():
            raise RuntimeError(f"{target!r} is closed: nothing can be awaited on it")
        if isinstance(target, HubEventLoop) and target.is_left:
            raise RuntimeError(f"{target!r} runs in the parent of this process: nothing can be awaited on it here")
        if running is not None and not isinstance(running, HubEventLoop):
            raise RuntimeError(
                f"await_ was called by a task of {running!r}, which it would stop; use await, or run the event loop by "
                "hubbub_asyncio.run"
            )
    except BaseException:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # so that Python does not warn that it was never awaited
        raise
    return running, target


def _loop_of(awaitable: Any) -> asyncio.AbstractEventLoop | None:
    return awaitable.get_loop() if asyncio.isfuture(awaitable) else None


def _home_loop() -> HubEventLoop:
    reference = _HOME.get(None)
    if reference is not None:
        home = reference()
        if isinstance(home, HubEventLoop) and home.is_running() and home.is_here and not home.is_left:
            return home
    return thread_loop()


def _task_for(awaitable: Any, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    if asyncio.isfuture(awaitable):
        return awaitable
    coroutine = awaitable if inspect.iscoroutine(awaitable) else _awaited(awaitable)
    return loop.create_task(coroutine, context=copy_context())


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _await_elsewhere(awaitable: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """Wait for an awaitable on an event loop of another native thread, or on one that is not the hub's."""
    return _WaitElsewhere(awaitable, loop).wait()


class _WaitElsewhere:
    """A greenlet's wait for an awaitable on an event loop that its hub does not run.

    :raises RuntimeError: that event loop is closed.
    """

    def __init__(self, awaitable: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._awaitable = awaitable
        self._loop = loop
        self._waiter = Waiter()
        self._task: asyncio.Future[Any] | None = None
        self._failure: BaseException | None = None
        """Why there is no task."""

    def wait(self) -> Any:
        """Wait, and return the result. An interruption cancels the task, and goes on when that has ended."""
        self._ask(self._begin)
        hub_loop = get_hub().loop
        held = hub_loop.hold()  # this hub cannot see what will end the wait
        try:
            self._waiter.wait()
        except BaseException as interruption:
            self._give_up(interruption)
            raise
        finally:
            hub_loop.let_go(held)
        return self._outcome()

    def _ask(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(_Request(function, self._refused), context=copy_context())

    def _begin(self) -> None:
        """In the event loop: make the task."""
        try:
            self._task = _task_for(self._awaitable, self._loop)
        except BaseException as error:
            self._fail(error)
        else:
            self._task.add_done_callback(self._waiter.wake)

    def _cancel(self) -> None:
        """In the event loop: end the task."""
        if self._task is not None:
            self._task.cancel()

    def _refused(self) -> None:
        """In any thread: the event loop was closed before it did what it was asked for."""
        self._fail(RuntimeError(f"{self._loop!r} was closed: what was to be awaited on it has not ended"))

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        if self._task is None and inspect.iscoroutine(self._awaitable):
            self._awaitable.close()  # so that Python does not warn that it was never awaited
        if not self._waiter.done:
            self._waiter.wake()

    def _give_up(self, interruption: BaseException) -> None:
        """Cancel the task, and wait for its end. An event loop that is closed ends nothing any more."""
        if not self._waiter.done:
            try:
                self._ask(self._cancel)
            except RuntimeError:
                return
            with shield():
                self._waiter.wait()
        task = self._task
        if task is not None and task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise interruption from error

    def _outcome(self) -> Any:
        failure, self._failure = self._failure, None
        if failure is None:
            assert self._task is not None  # it is done
            return self._task.result()
        try:
            raise failure
        finally:
            del failure  # its traceback keeps this frame


class _Request:
    """A call that an event loop of another thread is asked for, and the last reference to it is the event loop's.

    An event loop that is closed drops what it has not called.

    :param refused: called, in any thread, if it is dropped.
    """

    def __init__(self, function: Callable[[], None], refused: Callable[[], None]) -> None:
        self._function = function
        self._refused: Callable[[], None] | None = refused

    def __call__(self) -> None:
        self._refused = None
        self._function()

    def __del__(self) -> None:
        if self._refused is not None:
            self._refused()


class _Session:
    """A task that awaits on behalf of a greenlet, one awaitable after the other.

    The parts of an iterator or manager must run in one task: time limits and cancel scopes of asyncio and anyio are
    bound to a task.

    :param source: the iterator or manager. The task keeps it, and the event loop the task: if their user is dropped in
        a cycle, the collector finds neither, and the user can still end them.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._wanted: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]] | None] = asyncio.Queue()
        self._loop = _get_running_loop() or _home_loop()
        self._task = self._loop.create_task(self._serve(), context=copy_context())
        if isinstance(self._loop, HubEventLoop):
            self._loop.keep(self._task)
        self._serves: asyncio.Future[Any] | None = None
        """The answer that the task is about to give."""

    async def _serve(self) -> None:
        while (wanted := await self._wanted.get()) is not None:
            call, answer = wanted
            if answer.done():
                continue  # who asked has given up
            self._serves = answer
            try:
                result = await call()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                if not answer.done():
                    answer.set_exception(error if not isinstance(error, StopIteration) else RuntimeError(repr(error)))
                    answer.exception()  # retrieve it: the greenlet that waited may have given up
            else:
                if not answer.done():
                    answer.set_result(result)
            finally:
                self._serves = None

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Await ``function()`` in the task."""
        return await_(self._ask(function), loop=self._loop)

    async def _ask(self, function: Callable[[], Awaitable[T]]) -> T:
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._wanted.put_nowait((function, answer))
        try:
            await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if self._serves is not answer:  # it has ended, or not begun
                answer.cancel()
                raise
            self._task.cancel()
            await asyncio.wait((answer, self._task), return_when=asyncio.FIRST_COMPLETED)
            self._task.uncancel()
        if not answer.done():
            return cast(T, self._task.result())  # raises: the task has ended with an error
        return cast(T, answer.result())

    def end(self) -> None:
        """Let the task end. Any thread may call this: a collector may, that drops what was left."""
        if isinstance(self._loop, HubEventLoop) and self._loop.is_here:
            self._wanted.put_nowait(None)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wanted.put_nowait, None)


def iterate(iterable: AsyncIterable[T]) -> Iterator[T]:
    """The items of an asynchronous iterable, for a ``for`` loop in a greenlet.

    An asynchronous generator is closed when the loop is left.

    :raises TypeError: ``iterable`` is not an asynchronous iterable.
    """
    if not isinstance(iterable, AsyncIterable):
        raise TypeError(f"iterate takes an asynchronous iterable (async for), not {iterable!r}")
    return _items(aiter(iterable))


def _items(iterator: AsyncIterator[T]) -> Generator[T, None, None]:
    session = _Session(iterator)
    end: Any = object()

    async def following() -> Any:
        return await anext(iterator, end)

    try:
        while (item := session.call(following)) is not end:
            yield item
    finally:
        if not sys.is_finalizing():  # else no greenlet can be switched to any more
            try:
                close = getattr(iterator, "aclose", None)
                if close is not None:
                    session.call(close)
            finally:
                session.end()


def entered(manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
    """An asynchronous context manager, for a ``with`` statement in a greenlet.

    :raises TypeError: ``manager`` is not an asynchronous context manager.
    """
    if not (hasattr(manager, "__aenter__") and hasattr(manager, "__aexit__")):
        raise TypeError(f"entered takes an asynchronous context manager (async with), not {manager!r}")
    return _entered(manager)


@contextmanager
def _entered(manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    session = _Session(manager)
    try:
        value = session.call(manager.__aenter__)
        try:
            yield value
        except BaseException as error:
            failure = error  # ``error`` is unbound when the handler has ended
            if not session.call(lambda: manager.__aexit__(type(failure), failure, failure.__traceback__)):
                raise
        else:
            session.call(lambda: manager.__aexit__(None, None, None))
    finally:
        session.end()


# In a coroutine -----------------------------------------------------------------------------------------------------


async def in_greenlet(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function(*args, **kwargs)`` in a greenlet and return its result. It may wait, as blocking code does.

    It begins at once. It gets a copy of the context variables, and may call :func:`await_`, which runs coroutines on
    this event loop. If the task is cancelled the greenlet is killed, and the cancellation goes on when the greenlet has
    ended.
    """
    work = partial(function, **kwargs) if kwargs else function  # the function may have a parameter named context
    loop = asyncio.get_running_loop()
    context = copy_context()
    context.run(_HOME.set, weakref.ref(loop))  # where await_ finds it
    worker = Worker(work, *args, context=context)
    if isinstance(loop, HubEventLoop) and loop.is_here:
        try:
            loop.start_at_once(worker)
        except BaseException as interruption:
            worker.kill(block=False)  # this greenlet runs the event loop, which the worker may need to end: await that
            await _end_of(worker, loop, interruption)
            raise
        if worker.dead:
            return cast(T, worker.get(block=False))
    else:
        worker.start()
    return cast(T, await _outcome_of(worker, loop))


async def _end_of(worker: Worker, loop: asyncio.AbstractEventLoop, interruption: BaseException) -> None:
    """Wait until a worker that was killed has ended. An error of its own becomes the cause of the interruption."""
    try:
        await _outcome_of(worker, loop)
    except BaseException as error:
        raise interruption from error


def _outcome_of(worker: Worker, loop: asyncio.AbstractEventLoop) -> _Outcome:
    future = _Outcome(loop=loop)
    future.source = worker
    worker.rawlink(future.settle if isinstance(loop, HubEventLoop) else future.settle_elsewhere)
    return future


class Worker(Greenlet):
    """A greenlet whose failure is reported to the coroutine that waits for it."""

    def handle_failure(self, error: BaseException) -> None:
        """Keep the error; one that ends the program goes to the hub."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            super().handle_failure(error)
        else:
            self.keep_failure(error)


def as_future(source: Any) -> asyncio.Future[Any]:
    """A future of the running event loop for a greenlet, an AsyncResult, an Event, or another object with ``rawlink``.

    The result is that of ``source.get()``, or True if it has no ``get``. Cancelling the future leaves ``source`` alone.
    The hub of this thread must run while the event loop waits. It does for :class:`HubEventLoop`, and for asyncio's own
    event loop after patching.

    :raises TypeError: ``source`` cannot be waited for in this way.
    :raises RuntimeError: no event loop runs here.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(source, Greenlet):  # a look for what a class has not costs as much as half of the rest
        if asyncio.isfuture(source):
            return source
        if not callable(getattr(source, "rawlink", None)):
            raise TypeError(f"as_future takes a greenlet, an AsyncResult, an Event or the like, not {source!r}")
    future = _Linked(loop=loop)
    future.source = source
    source.rawlink(future.settle if isinstance(loop, HubEventLoop) else future.settle_elsewhere)
    return future


class _Linked(asyncio.Future[Any]):
    """A future of an object with ``rawlink``. If the future is cancelled, it is unlinked."""

    __slots__ = ("source",)  # beside the __dict__ of every future, which is not made as long as nothing is in it

    source: Any

    def settle(self, source: Any) -> None:
        """Take over the outcome of ``source``. Called in the hub of the event loop's thread."""
        if not self.get_loop().is_closed():
            _settle(self, source)

    def settle_elsewhere(self, source: Any) -> None:
        """The same for an event loop that is not of the hub's."""
        if not self.done() and not self.get_loop().is_closed():
            self.get_loop().call_soon_threadsafe(_settle, self, source)

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the future, and unlink it from ``source``."""
        cancelled = super().cancel(msg)
        unlink = getattr(self.source, "unlink", None)
        if cancelled and unlink is not None:
            unlink(self.settle)
            unlink(self.settle_elsewhere)
        return cancelled


class _Outcome(_Linked):
    """The future of a :class:`Worker`, for one task. Cancelling it kills the worker; it is done when that has ended."""

    _cancelled = False
    _reason: Any = None

    def settle(self, source: Any) -> None:
        """Take over the outcome of the worker, which has ended."""
        if not self._cancelled:
            super().settle(source)
        elif not self.done():
            error = source.exception
            if error is None or isinstance(error, (asyncio.CancelledError, GreenletExit)):
                asyncio.Future.cancel(self, self._reason)
            else:
                _settle(self, source)

    def settle_elsewhere(self, source: Any) -> None:
        """The same for an event loop that is not of the hub's."""
        if not self.get_loop().is_closed():
            self.get_loop().call_soon_threadsafe(self.settle, source)

    def cancel(self, msg: Any = None) -> bool:
        """Kill the worker; a further call kills it again, as it may have caught this. The task goes on at its end."""
        if self.done():
            return False
        self._cancelled, self._reason = True, msg
        self.source.kill(block=False)
        return True


_ENDED_WITH_VALUE = frozenset({Greenlet, Worker})
"""Classes whose ``get`` is known to return ``value`` when there is no error. Each call that is saved counts here."""


def _settle(future: asyncio.Future[Any], source: Any) -> None:
    """Give ``future`` the outcome of ``source``."""
    if future.done():
        return
    error = getattr(source, "exception", None)
    if error is None and type(source) in _ENDED_WITH_VALUE:
        future.set_result(source.value)
    elif error is None:
        get = getattr(source, "get", None)
        future.set_result(get(block=False) if get is not None else True)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError(f"the greenlet raised {error!r}, which a future cannot hold"))
    else:
        future.set_exception(error)
