"""gevent._interfaces on hubbub."""

from __future__ import annotations

from hubbub_gevent._zope import Interface

__all__ = ["ICallback", "ILoop", "IWatcher"]


class ILoop(Interface):
    """An event loop: see :class:`hubbub.abc.Loop`."""


class IWatcher(Interface):
    """A watcher: see :class:`hubbub.abc.Watcher`."""


class ICallback(Interface):
    """A call to come: see :class:`hubbub.abc.Callback`."""
