"""gevent._abstract_linkable on hubbub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubbub.lowlevel import Linkable, count_waiting

__all__ = ["AbstractLinkable"]

if TYPE_CHECKING:
    _Linkable = object
else:
    _Linkable = Linkable


class AbstractLinkable(_Linkable):
    """What gevent's events, results and semaphores have in common: the number of their waiters and links."""

    hub: Any = None

    def linkcount(self) -> int:
        """The number of waiters and links."""
        return count_waiting(self)  # type: ignore[arg-type]  # see above
