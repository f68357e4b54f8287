"""Callbacks that are called once, on the hub that registered them, when something becomes ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sized
from functools import partial
from typing import Any, ClassVar

from hubbub._arguments import check_function
from hubbub._identity import Reduce, refuse_copies
from hubbub._mutex import module_mutex
from hubbub._originals import get_ident
from hubbub._struck import repeatable
from hubbub.hub import Hub, get_hub

__all__ = ["Linkable", "Links", "count_waiting"]


_making = module_mutex()
"""Held while an object gets its first link: two threads that come at once must not make two lists."""


class _Link:
    """One callback. Compared by identity, so that no code of the callback's runs while the list is searched."""

    __slots__ = ("callback", "hub")

    def __init__(self, hub: Hub, callback: Callable[[Any], Any]) -> None:
        self.hub = hub
        self.callback = callback


class Links:
    """The links of one object. May be fired from any thread, with or without a hub."""

    __slots__ = ("_entries", "_source")

    def __init__(self, source: Any) -> None:
        self._source = source
        self._entries: deque[_Link] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(source)`` on this thread's hub at the next :meth:`fire`.

        :raises TypeError: ``callback`` is not callable.
        """
        if not callable(callback):
            check_function(callback, "the callback")
        self._entries.append(_Link(get_hub(), callback))

    def remove(self, callback: Callable[[Any], Any]) -> None:
        """Undo one :meth:`add`, if it has not been called."""
        for entry in list(self._entries):
            if entry.callback == callback:
                try:
                    self._entries.remove(entry)
                except ValueError:
                    pass  # another thread is calling it
                return

    def fire(self) -> None:
        """Have each link called by its hub, soon, if the source is still ready then."""
        for hub in {id(entry.hub): entry.hub for entry in list(self._entries)}.values():
            if hub.thread_ident == get_ident():
                hub.loop.run_callback(self._call, hub)
            elif not hub.loop.destroyed:
                hub.loop.run_callback_threadsafe(self._call, hub)

    @repeatable
    def _call(self, hub: Hub) -> None:
        for entry in list(self._entries):
            if entry.hub is not hub:
                continue
            if not self._source.ready():
                return
            try:
                self._entries.remove(entry)
            except ValueError:
                continue  # an earlier callback has unlinked it
            try:
                entry.callback(self._source)
            except BaseException as error:
                again = partial(entry.callback, self._source)
                context = entry.callback, self._source
                hub.loop.call_failed(context, entry.callback, error, again)


class Linkable:
    """``rawlink`` and ``unlink`` for classes with ``ready``. They fire ``_links``, if not None, when they become ready.

    They set ``_links`` to None in their constructor: finding that on the class takes three times as long. Those that
    greenlets wait for keep their waiters as ``_waiters``.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    _links: Links | None = None

    def ready(self) -> bool:
        """Whether a wait would return at once."""
        raise NotImplementedError(f"{type(self).__name__} must say when it is ready")

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` on the hub, once, when this is ready. Links are called one after the other.

        :raises TypeError: ``callback`` is not callable.
        """
        if self._links is None:
            with _making:
                if self._links is None:
                    self._links = Links(self)
        self._links.add(callback)
        if self.ready():
            self._links.fire()

    def fire_links(self) -> None:
        """Have the links called, each by its hub, as this has become ready. For subclasses with their own ``ready``."""
        if self._links is not None:
            self._links.fire()

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one :meth:`rawlink`, if it has not been called."""
        if self._links is not None:
            self._links.remove(callback)


def count_waiting(item: Linkable) -> int:
    """How many greenlets wait for an event, a result, a semaphore or a lock, and how many links it has."""
    waiters: Sized | None = getattr(item, "_waiters", None)  # made when it is first needed, as the links
    return len(waiters or ()) + len(item._links or ())
