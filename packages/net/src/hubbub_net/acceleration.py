"""For a native accelerator of TLS: which methods it has in C, and what they know.

The methods are marked where they are written (:func:`twin`). They are the reference: a method in C works on the same
objects and does the same, so it may be set in their place at any time.

An accelerator is found by the entry point ``methods`` in the group ``hubbub.net_accelerators``. That names a function,
which is called with :data:`PARTS` and returns the methods by class and name, or None if it has nothing for them. It was
made for one :data:`LAYOUT`, and refuses another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from hubbub import plugins
from hubbub.exceptions import PluginUnavailable
from hubbub.lowlevel import accelerators_wanted

__all__ = ["GROUP", "LAYOUT", "MIRRORED", "PARTS", "TWINS", "accelerate", "known_to_c", "mirrored", "slow_down", "twin"]

GROUP: Final = "hubbub.net_accelerators"
"""The entry-point group."""
LAYOUT: Final = 1
"""The version of the attributes, and of what the methods promise one another."""
PARTS: dict[str, Any] = {"layout": LAYOUT}
"""The classes, functions and numbers that an accelerator knows, by name."""
TWINS: dict[Callable[..., Any], str] = {}
"""The methods that an accelerator replaces, and the C file of hubbub-net-speed that has the twin."""
MIRRORED: dict[Callable[..., Any], str] = {}
"""What stays in Python while methods in C do its work themselves, and their C file."""

_T = TypeVar("_T", bound=Callable[..., Any])
_replaced: dict[tuple[type, str], Any] = {}
"""What stood in the place of the methods in C, while those are set."""
_sought = False
"""Whether there was a look for them already."""


def twin(source: str) -> Callable[[_T], _T]:
    """Mark a method that an accelerator replaces.

    :param source: the C file that has the twin.
    """

    def mark(method: _T) -> _T:
        TWINS[method] = source
        return method

    return mark


def mirrored(source: str) -> Callable[[_T], _T]:
    """Mark a method that stays in Python; methods in C do its work themselves instead of calling it.

    :param source: the C file that does it.
    """

    def mark(method: _T) -> _T:
        MIRRORED[method] = source
        return method

    return mark


def known_to_c(thing: _T) -> _T:
    """Mark a class whose objects C reads, or a function that it calls."""
    PARTS[thing.__name__] = thing
    return thing


def accelerate() -> bool:
    """Set the methods in C, if they are installed and wanted (``HUBBUB_ACCELERATORS``). Connections call this.

    :returns: whether they are set.
    :raises ImportError: they are installed but broken.
    """
    global _sought
    if _replaced or _sought:
        return bool(_replaced)
    methods = _found()
    _sought = True
    for (cls, name), method in methods.items():
        before = cls.__dict__[name]
        if before is not method:  # else another thread has set it just now
            _replaced[cls, name] = before
            setattr(cls, name, method)
    return bool(_replaced)


def _found() -> Mapping[tuple[type, str], Any]:
    if not accelerators_wanted() or "methods" not in plugins.names(GROUP):
        return {}
    try:
        bind = plugins.load(GROUP, "methods")
    except PluginUnavailable:
        return {}  # there are none for this Python, by design
    methods: Mapping[tuple[type, str], Any] | None = bind(PARTS)
    return methods or {}


def slow_down() -> None:
    """Set the methods in Python again, until a new connection calls :func:`accelerate`. For tests."""
    global _sought
    _sought = False
    while _replaced:
        (cls, name), method = _replaced.popitem()
        setattr(cls, name, method)
