"""The names of :mod:`zope.interface` that the facade uses, with the types that it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["Attribute", "Interface", "implementer"]

T = TypeVar("T")

if TYPE_CHECKING:
    Attribute: Callable[[str], Any]

    class Interface:
        """The base class of interfaces."""

    def implementer(*interfaces: type[Interface]) -> Callable[[T], T]:
        """Decorates a class that implements these interfaces."""
        raise NotImplementedError

else:
    from zope.interface import Attribute, Interface, implementer
