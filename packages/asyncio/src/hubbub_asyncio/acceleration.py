"""For a native accelerator of :class:`hubbub_asyncio.HubEventLoop`: which methods it has in C, and what they know.

The methods are marked where they are written (:func:`twin`). They are the reference: a method in C works on the same
objects and does the same, so it may be set in their place at any time.

An accelerator is found by the entry point ``methods`` in the group ``hubbub.asyncio_accelerators``. That names a
function, which is called with :data:`PARTS` and returns the methods by class and name, or None if it has nothing for
them. It was made for one :data:`LAYOUT`, and refuses another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from hubbub import plugins
from hubbub.exceptions import PluginUnavailable
from hubbub.lowlevel import accelerators_wanted

__all__ = ["GROUP", "LAYOUT", "PARTS", "TWINS", "accelerate", "known_to_c", "slow_down", "twin"]

GROUP: Final = "hubbub.asyncio_accelerators"
"""The entry-point group."""
LAYOUT: Final = 1
"""The version of the attributes, and of what the methods promise one another."""
PARTS: dict[str, Any] = {"layout": LAYOUT}
"""The classes and functions that an accelerator knows, by name."""
TWINS: dict[Callable[..., Any], str] = {}
"""The methods that an accelerator replaces, and the C file of hubbub-asyncio-speed that has the twin."""

_T = TypeVar("_T", bound=Callable[..., Any])
_replaced: dict[tuple[type, str], Any] = {}
"""What stood in the place of the methods in C, while those are set."""


def twin(source: str) -> Callable[[_T], _T]:
    """Mark a method that an accelerator replaces.

    :param source: the C file that has the twin.
    """

    def mark(method: _T) -> _T:
        TWINS[method] = source
        return method

    return mark


def known_to_c(thing: _T) -> _T:
    """Mark a class whose objects C makes or reads, or a function that it calls."""
    PARTS[thing.__name__] = thing
    return thing


def accelerate() -> bool:
    """Set the methods in C, if they are installed and wanted (``HUBBUB_ACCELERATORS``). Each new event loop calls this.

    :returns: whether they are set.
    :raises ImportError: they are installed but broken.
    """
    if _replaced:
        return True
    if not accelerators_wanted() or "methods" not in plugins.names(GROUP):
        return False
    try:
        bind = plugins.load(GROUP, "methods")
    except PluginUnavailable:
        return False  # there are none for this Python, by design
    methods: Mapping[tuple[type, str], Any] | None = bind(PARTS)
    if methods is None:
        return False
    for (cls, name), method in methods.items():
        before = cls.__dict__[name]
        if before is not method:  # else another thread has set it just now
            _replaced[cls, name] = before
            setattr(cls, name, method)
    return True


def slow_down() -> None:
    """Set the methods in Python again, until a new event loop calls :func:`accelerate`. For tests."""
    while _replaced:
        (cls, name), method = _replaced.popitem()
        setattr(cls, name, method)
