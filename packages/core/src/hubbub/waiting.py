"""Waiting for several things: for each in turn, for all of them, or for whichever is ready first."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from greenlet import GreenletExit, greenlet

from hubbub._arguments import as_seconds, check_waitable, listed, whole_number
from hubbub._waiter import Waiter
from hubbub.abc import READ
from hubbub.greenlet import Greenlet, kill
from hubbub.hub import get_hub
from hubbub.queue import SimpleQueue
from hubbub.timeout import Timeout

if TYPE_CHECKING:
    from typing import Self

__all__ = ["iwait", "joinall", "killall", "wait", "wait_any"]

W = TypeVar("W")


def _is_ready(item: Any) -> bool:
    ready = getattr(item, "ready", None)
    return callable(ready) and bool(ready())


def _unlink(objects: list[Any], callback: Callable[[Any], object]) -> None:
    for item in objects:
        unlink = getattr(item, "unlink", None)
        if unlink is not None:
            unlink(callback)


class _Arrivals:
    """Collects what becomes ready, for one waiter."""

    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._put = self._queue.put_nowait
        try:
            for item in objects:
                item.rawlink(self._put)
        except BaseException:
            self.unlink()
            raise

    def next(self) -> Any:
        """The next that is ready; waits for it."""
        return self._queue.get()

    def unlink(self) -> None:
        """Collect no more."""
        _unlink(self._objects, self._put)


def _sorted_out(objects: Iterable[W], timeout: float | None, count: int | None) -> tuple[list[W], list[W], int]:
    """What is ready, what is not, and how many are to become ready; after checks of the arguments."""
    if count is not None:
        whole_number(count, "count")
    if not (timeout is None or isinstance(timeout, Timeout)):
        as_seconds(timeout)
    candidates: list[W] = listed(objects, "greenlets, events or the like")
    for item in candidates:
        check_waitable(item)
    ready: list[W] = []
    others: list[W] = []
    for item in candidates:
        (ready if _is_ready(item) else others).append(item)
    return ready, others, len(candidates) if count is None else min(count, len(candidates))


def _late(others: list[W], given: list[W]) -> list[W]:
    """What became ready in the very turn in which the time ran out, as happens when the hub is late.

    :param given: those of ``others`` that were ready before.
    """
    numbers = Counter(map(id, given))
    late = []
    for item in others:
        if numbers[id(item)]:
            numbers[id(item)] -= 1
        elif _is_ready(item):
            late.append(item)
    return late


class _IWait(Generic[W]):
    """The iterator of :func:`iwait`; as a context manager it takes its links back at the end of the block."""

    def __init__(self, objects: Iterable[W], timeout: float | None, count: int | None) -> None:
        ready, self._others, self._left = _sorted_out(objects, timeout, count)
        self._ready: deque[W] = deque(ready)
        self._given: list[W] = []
        self._arrivals = _Arrivals(self._others if self._left > len(self._ready) else [])
        self._limit = Timeout.start_new(timeout) if timeout is not None and self._left > len(self._ready) else None

    def __iter__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._left = 0
        if self._limit is not None:
            self._limit.cancel()
        self._arrivals.unlink()

    def __next__(self) -> W:
        if self._left <= 0:
            self._close()
            raise StopIteration
        if not self._ready:
            self._await_one()
        self._left -= 1
        return self._ready.popleft()

    def _await_one(self) -> None:
        """:raises StopIteration: none became ready in time."""
        try:
            item = self._arrivals.next()
        except BaseException as error:
            left = self._left
            self._close()
            if error is not self._limit:
                raise
            self._ready.extend(_late(self._others, self._given))
            self._left = min(left, len(self._ready))
            if not self._left:
                raise StopIteration from None
        else:
            self._given.append(item)
            self._ready.append(item)


def iwait(objects: Iterable[W], timeout: float | None = None, count: int | None = None) -> _IWait[W]:
    """Yield ``objects`` (greenlets, events ...: anything with ``rawlink``) as they become ready.

    What is ready already comes first, at once, without a switch.

    :param timeout: stop after so many seconds.
    :param count: stop after so many objects.
    """
    return _IWait(objects, timeout, count)


@overload
def wait(objects: None = None, timeout: float | None = None, count: int | None = None) -> bool: ...


@overload
def wait(objects: Iterable[W], timeout: float | None = None, count: int | None = None) -> list[W]: ...


def wait(objects: Iterable[Any] | None = None, timeout: float | None = None, count: int | None = None) -> Any:
    """The list of ``objects`` that became ready, in that order; without objects, :meth:`hubbub.hub.Hub.join`."""
    if objects is None:
        return get_hub().join(timeout=timeout)
    ready, others, wanted = _sorted_out(objects, timeout, count)
    if len(ready) < wanted:
        ready += _gathered(others, wanted - len(ready), timeout)
    return ready[:wanted]


def _gathered(objects: list[Any], enough: int, timeout: float | None) -> list[Any]:
    """``enough`` of ``objects``, as they become ready; fewer if the time runs out first. The greenlet is woken once."""
    waiter = Waiter()  # a variable, by which hubbub.inspect tells since when
    arrived: list[Any] = []

    def arrive(item: Any) -> None:  # events and the like may be set in other threads
        try:
            arrived.append(item)
            if len(arrived) >= enough and not waiter.done:
                waiter.wake()
        except BaseException:  # raised by a signal handler
            if len(arrived) >= enough and not waiter.done:
                waiter.wake()
            raise

    limit = None
    try:
        for item in objects:
            item.rawlink(arrive)
        limit = Timeout.start_new(timeout) if timeout is not None else None
        waiter.wait()
    except Timeout as error:
        if error is not limit:
            raise
        arrived += _late(objects, arrived)
    finally:
        if limit is not None:
            limit.cancel()
        _unlink(objects, arrive)
    return arrived


def joinall(
    greenlets: Iterable[W], timeout: float | None = None, raise_error: bool = False, count: int | None = None
) -> list[W]:
    """Wait for ``greenlets`` to end; the list of those that did, in that order.

    :param raise_error: raise the error of the first that fails.
    """
    if not raise_error:
        return wait(greenlets, timeout, count)
    done = []
    with iwait(greenlets, timeout, count) as ready:
        for item in ready:
            task: Any = item
            if not task.successful():
                task.get()
            done.append(item)
    return done


def killall(
    greenlets: Iterable[Any], exception: Any = GreenletExit, block: bool = True, timeout: float | None = None
) -> None:
    """Kill all of ``greenlets``.

    :raises Timeout: ``block`` is true and not all have ended in ``timeout`` seconds.
    """
    victims = listed(greenlets, "greenlets")
    for victim in victims:
        if not isinstance(victim, greenlet):
            raise TypeError(f"a greenlet is needed, not {victim!r}")
    victims = [victim for victim in victims if not victim.dead]
    for victim in victims:
        kill(victim, exception)
    if not (timeout is None or isinstance(timeout, Timeout)):
        as_seconds(timeout)
    if block and victims:
        limit = Timeout.start_new(timeout)
        try:
            joinall([victim for victim in victims if isinstance(victim, Greenlet)])
        finally:
            limit.cancel()


def wait_any(objects: Iterable[Any], timeout: float | None = None) -> Any:
    """Wait until one of ``objects`` is ready, and return it. Nothing is taken from any of them.

    :param objects: greenlets, events, results, semaphores, queues (anything with ``rawlink``), and sockets or other
        things with ``fileno()``, which are ready when they can be read.
    :param timeout: seconds, or None for no limit.
    :returns: the first that is ready, in the order given if several are; None when the time ran out first.
    :raises TypeError: one of them cannot be waited for.
    :raises ValueError: there are none.
    """
    candidates = listed(objects, "objects to wait for")
    if not candidates:
        raise ValueError("wait_any needs at least one object to wait for")
    for item in candidates:
        if not (hasattr(item, "rawlink") or hasattr(item, "fileno")):
            raise TypeError(f"cannot wait for {item!r}: it has neither rawlink() nor fileno()")
    for item in candidates:
        if hasattr(item, "rawlink") and item.ready():
            return item
    return _Race(candidates).run(timeout)


class _Race:
    def __init__(self, candidates: list[Any]) -> None:
        self._candidates = candidates
        self._waiter = Waiter()
        self._watchers: list[Any] = []

    def run(self, timeout: float | None) -> Any:
        linked: list[Any] = []
        try:
            for item in self._candidates:
                if hasattr(item, "rawlink"):
                    item.rawlink(self._won)
                    linked.append(item)
                else:
                    watcher = get_hub().loop.io(item.fileno(), READ)
                    self._watchers.append(watcher)
                    watcher.start(self._won, item)
            self._waiter.wait(timeout)
        finally:
            for item in linked:
                item.unlink(self._won)
            for watcher in self._watchers:
                watcher.close()
        winner, self._waiter.value = self._waiter.value, None  # the hub still holds the waiter
        return winner

    def _won(self, item: Any) -> None:
        if not self._waiter.done:
            self._waiter.wake(item)
