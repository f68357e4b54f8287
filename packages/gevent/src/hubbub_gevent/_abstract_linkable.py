"""gevent._abstract_linkable on hubbub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubbub.event import Event

__all__ = ["AbstractLinkable"]

if TYPE_CHECKING:
    _Linkable = object
else:
    _Linkable = Event.__mro__[-2]


class AbstractLinkable(_Linkable):
    """What gevent's events, results and semaphores have in common: the number of their waiters and links."""

    hub: Any = None
    _waiters: Any
    _links: Any

    def linkcount(self) -> int:
        """The number of waiters and links."""
        return len(self._waiters or ()) + len(self._links or ())  # each is made when it is first needed
