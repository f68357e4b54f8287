"""Iterators that several threads may share: those of :mod:`threading` from CPython 3.15 on, on any version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from hubbub.thread import LockType as Lock

__all__ = ["concurrent_tee", "serialize_iterator", "synchronized_iterator"]

T = TypeVar("T")
P = ParamSpec("P")


class serialize_iterator(Generic[T]):
    """:class:`threading.serialize_iterator`: one thread at a time takes an item, or calls a generator's methods."""

    __slots__ = ("_iterator", "_lock")

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator: Any = iter(iterable)
        self._lock = Lock()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._lock:
            item: T = next(self._iterator)
            return item

    def send(self, value: Any, /) -> T:
        """What a generator's ``send`` returns.

        :raises AttributeError: the iterator is no generator; so do the other two methods.
        """
        return self._call("send", value)  # type: ignore[no-any-return]  # what the generator yields

    def throw(self, *args: Any) -> T:
        """What a generator's ``throw`` returns."""
        return self._call("throw", *args)  # type: ignore[no-any-return]  # as above

    def close(self) -> Any:
        """What a generator's ``close`` returns."""
        return self._call("close")

    def _call(self, name: str, *args: Any) -> Any:
        with self._lock:
            return getattr(self._iterator, name)(*args)


def synchronized_iterator(func: Callable[P, Iterable[T]]) -> Callable[P, serialize_iterator[T]]:
    """:func:`threading.synchronized_iterator`: ``func``, returning iterators that threads may share."""

    @wraps(func)
    def serialized(*args: P.args, **kwargs: P.kwargs) -> serialize_iterator[T]:
        return serialize_iterator(func(*args, **kwargs))

    return serialized


def concurrent_tee(iterable: Iterable[T], n: int = 2) -> tuple[Iterator[T], ...]:
    """:func:`threading.concurrent_tee`: ``n`` iterators, for a thread each; each gives all items of ``iterable``.

    :raises ValueError: ``n`` is negative.
    """
    if n < 0:
        raise ValueError("n must be a non-negative integer")
    if n == 0:
        return ()
    first = iterable._another() if isinstance(iterable, _Branch) else _Branch(_Source(iterable), _Link())
    return (first, *(first._another() for _ in range(n - 1)))


class _Link(Generic[T]):
    """An item and the link after it; both are set when the first branch asks for the item."""

    __slots__ = ("item", "next")

    item: T

    def __init__(self) -> None:
        self.next: _Link[T] | None = None


class _Source(Generic[T]):
    """The iterator from which all branches take items, one branch at a time."""

    __slots__ = ("_iterator", "_lock")

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterator = iter(iterable)
        self._lock = Lock()

    def fill(self, link: _Link[T]) -> _Link[T]:
        """Put the next item into ``link`` unless another branch has; returns the link after it."""
        with self._lock:
            if link.next is None:
                link.item = next(self._iterator)
                link.next = _Link()
            return link.next


class _Branch(Generic[T]):
    """One of the iterators. It keeps the items that it has not given yet, and no others."""

    __slots__ = ("_link", "_source")

    def __init__(self, source: _Source[T], link: _Link[T]) -> None:
        self._source = source
        self._link = link

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        link = self._link
        self._link = link.next or self._source.fill(link)
        return link.item

    def _another(self) -> _Branch[T]:
        return _Branch(self._source, self._link)
