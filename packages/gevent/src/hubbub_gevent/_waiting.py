"""``iwait``, ``wait`` and ``joinall``: what is ready already comes at once, before anybody else runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hubbub import greenlet as _greenlet
from hubbub.hub import get_hub

__all__ = ["iwait", "joinall", "wait"]


def _is_ready(item: Any) -> bool:
    ready = getattr(item, "ready", None)
    return callable(ready) and bool(ready())


class _IWait:
    """The iterator of :func:`iwait`; as a context manager it takes its links back at the end of the block."""

    def __init__(self, objects: Iterable[Any], timeout: float | None, count: int | None) -> None:
        ready: list[Any] = []
        others: list[Any] = []
        for item in objects:
            (ready if _is_ready(item) else others).append(item)
        self._ready = iter(ready if count is None else ready[: max(count, 0)])
        self._left = len(others) if count is None else max(count - len(ready), 0)
        self._pending = others
        self._others = _greenlet.iwait(list(others), timeout, self._left)

    def __iter__(self) -> _IWait:
        return self

    def __enter__(self) -> _IWait:
        return self

    def __exit__(self, *error: Any) -> None:
        self._ready, self._pending = iter(()), []
        self._others.__exit__(*error)

    def __next__(self) -> Any:
        for item in self._ready:
            return item
        try:
            item = next(self._others)
        except StopIteration:
            late = self._at_the_end()
            for item in late:
                return item
            raise
        self._pending.remove(item)
        self._left -= 1
        return item

    def _at_the_end(self) -> Iterator[Any]:
        """What became ready in the very turn in which the time ran out, as happens when the hub is late."""
        late = [item for item in self._pending if _is_ready(item)]
        self._ready, self._pending = iter(late[: self._left]), []
        return self._ready


def iwait(objects: Iterable[Any], timeout: float | None = None, count: int | None = None) -> _IWait:
    """Yield ``objects`` (greenlets, events ...: anything with ``rawlink``) as they become ready.

    :param timeout: stop after so many seconds.
    :param count: stop after so many objects.
    """
    return _IWait(objects, timeout, count)


def wait(objects: Iterable[Any] | None = None, timeout: float | None = None, count: int | None = None) -> Any:
    """The list of ``objects`` that became ready, in that order; without objects, :meth:`hubbub.hub.Hub.join`."""
    if objects is None:
        return get_hub().join(timeout=timeout)
    with iwait(objects, timeout, count) as ready:
        return list(ready)


def joinall(
    greenlets: Iterable[Any], timeout: float | None = None, raise_error: bool = False, count: int | None = None
) -> list[Any]:
    """Wait for ``greenlets`` to end; the list of those that did, in that order.

    :param raise_error: raise the error of the first that fails.
    """
    done = []
    with iwait(greenlets, timeout, count) as ready:
        for item in ready:
            if raise_error and not item.successful():
                item.get()
            done.append(item)
    return done
