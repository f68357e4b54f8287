"""Attributes that each greenlet has for itself, as :class:`threading.local`."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from greenlet import getcurrent, greenlet

from hubbub._identity import Reduce, refuse_copies

__all__ = ["local"]


class local:
    """Each greenlet sees its own attributes; a subclass's ``__init__`` runs anew in each, with the same arguments."""

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    __slots__ = ("__weakref__", "_local__arguments", "_local__dicts")

    def __new__(cls, *args: Any, **kwargs: Any) -> local:
        """Remember the arguments for the greenlets to come."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        dicts: WeakKeyDictionary[greenlet, dict[str, Any]] = WeakKeyDictionary()
        dicts[getcurrent()] = {}
        object.__setattr__(self, "_local__arguments", (args, kwargs))
        object.__setattr__(self, "_local__dicts", dicts)
        return self

    def __getattribute__(self, name: str) -> Any:
        mine = _attributes(self)
        if name == "__dict__":
            return mine
        if name in mine and not _is_data_descriptor(type(self), name):
            return mine[name]
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        mine = _attributes(self)
        if _is_data_descriptor(type(self), name):
            object.__setattr__(self, name, value)
        else:
            mine[name] = value

    def __delattr__(self, name: str) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        mine = _attributes(self)
        if _is_data_descriptor(type(self), name):
            object.__delattr__(self, name)
        elif name in mine:
            del mine[name]
        else:
            raise AttributeError(name)


def _attributes(owner: local) -> dict[str, Any]:
    """The current greenlet's attributes of ``owner``, made on its first access."""
    dicts = object.__getattribute__(owner, "_local__dicts")
    current = getcurrent()
    mine: dict[str, Any] | None = dicts.get(current)
    if mine is None:
        fresh: dict[str, Any] = {}
        mine = dicts.setdefault(current, fresh)
        if mine is fresh:  # no signal handler in between was the first
            args, kwargs = object.__getattribute__(owner, "_local__arguments")
            try:
                type(owner).__init__(owner, *args, **kwargs)
            except BaseException:
                dicts.pop(current, None)  # the next access tries again
                raise
    return mine


def _is_data_descriptor(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in base.__dict__:
            return hasattr(type(base.__dict__[name]), "__set__")
    return False
