"""gevent.selectors on hubbub."""

from __future__ import annotations

from errno import EBADF, EINVAL
from typing import TYPE_CHECKING, Any

from hubbub.hub import get_hub
from hubbub_net import selectors as _cooperative

__all__ = ["DefaultSelector", "GeventSelector"]

__implements__: list[str] = ["DefaultSelector"]


if TYPE_CHECKING:
    from selectors import SelectSelector as _Selector
else:
    _Selector = _cooperative.DefaultSelector  # its class depends on the system


class GeventSelector(_Selector):
    """:class:`hubbub_net.selectors.DefaultSelector`."""

    def __init__(self, hub: Any = None) -> None:
        super().__init__()
        self._hub = hub

    @property
    def hub(self) -> Any:
        """The hub of this thread, unless another was given."""
        return self._hub or get_hub()

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        """:meth:`selectors.BaseSelector.register`.

        :raises ValueError: also if the descriptor is closed.
        """
        try:
            return super().register(fileobj, events, data)
        except OSError as error:
            # EINVAL: the number is that of the selector's own descriptor, which got the number of one that was closed.
            if error.errno in (EBADF, EINVAL):
                raise ValueError(f"Invalid file descriptor: {fileobj!r}") from error
            raise


DefaultSelector = GeventSelector


def __getattr__(name: str) -> Any:
    return getattr(_cooperative, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_cooperative)})
