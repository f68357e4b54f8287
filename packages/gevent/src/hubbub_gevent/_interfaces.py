"""gevent._interfaces on hubbub."""

from __future__ import annotations

from zope.interface import Interface  # type: ignore[import-untyped]  # no types

__all__ = ["ICallback", "ILoop", "IWatcher"]


class ILoop(Interface):  # type: ignore[misc]  # zope.interface has no types
    """An event loop: see :class:`hubbub.abc.Loop`."""


class IWatcher(Interface):  # type: ignore[misc]  # see above
    """A watcher: see :class:`hubbub.abc.Watcher`."""


class ICallback(Interface):  # type: ignore[misc]  # see above
    """A call to come: see :class:`hubbub.abc.Callback`."""
