"""Attributes that each greenlet has for itself, as :class:`threading.local`.

The attributes are in a dict by the greenlet's ``id``, beside a weak reference to the greenlet. After its end another
greenlet may get its ``id``, so its entry goes with it. Code that runs between two steps (a signal handler, a
destructor, another thread) finds an entry whole or not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias
from weakref import ref

from greenlet import getcurrent, greenlet

from hubbub._identity import Reduce, refuse_copies
from hubbub._standin import StandIn
from hubbub._twins import known_to_c, mirrored, twin

__all__ = ["attributes_of", "local"]

_Entry: TypeAlias = "tuple[ref[greenlet], dict[str, Any]]"


class local:
    """Each greenlet sees its own attributes; a subclass's ``__init__`` runs anew in each, with the same arguments."""

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    __slots__ = ("__weakref__", "_local__arguments", "_local__entries", "_local__last")

    def __new__(cls, *args: Any, **kwargs: Any) -> local:
        """Remember the arguments for the greenlets to come."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError("Initialization arguments are not supported")
        self = object.__new__(cls)
        _set_arguments(self, (args, kwargs))
        _set_entries(self, {})
        _set_last(self, None)
        _add_entry(self, _whose())
        return self

    @twin("local.c")
    def __getattribute__(self, name: str) -> Any:
        mine = _attributes(self)
        if name == "__dict__":
            return mine
        if name in mine and not _is_data_descriptor(type(self), name):
            return mine[name]
        return object.__getattribute__(self, name)

    @twin("local.c")
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "__dict__":
            raise AttributeError(f"{type(self).__name__!r} object attribute '__dict__' is read-only")
        mine = _attributes(self)
        if _is_data_descriptor(type(self), name):
            object.__setattr__(self, name, value)
        else:
            mine[name] = value

    @twin("local.c")
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


_slots: dict[str, Any] = dict(vars(local))
_set_arguments: Callable[[local, Any], None] = _slots["_local__arguments"].__set__
_get_arguments: Callable[[local], Any] = _slots["_local__arguments"].__get__
_set_entries: Callable[[local, dict[int, _Entry]], None] = _slots["_local__entries"].__set__
_get_entries: Callable[[local], dict[int, _Entry]] = _slots["_local__entries"].__get__
_set_last: Callable[[local, _Entry | None], None] = _slots["_local__last"].__set__
"""Sets the entry that methods in C have used last; it is in the dict too."""


def attributes_of(owner: local, greenlet: greenlet) -> dict[str, Any] | None:
    """The attributes of ``greenlet`` in ``owner``; None if the greenlet has never used ``owner``."""
    entry = _get_entries(owner).get(id(greenlet))
    return entry[1] if entry is not None and entry[0]() is greenlet else None


@known_to_c
def _attributes(owner: local) -> dict[str, Any]:
    """The current greenlet's attributes of ``owner``, made on its first access."""
    current = getcurrent()
    mine = attributes_of(owner, current)
    return mine if mine is not None else _first_access(owner, current)


def _whose() -> greenlet:
    """The current greenlet; in a stand-in its hub."""
    current = getcurrent()
    return current.hub if isinstance(current, StandIn) else current


def _first_access(owner: local, current: greenlet) -> dict[str, Any]:
    if isinstance(current, StandIn):  # a stand-in has the attributes of its hub
        mine = attributes_of(owner, current.hub)
        return _add_entry(owner, current, mine if mine is not None else _first_access(owner, current.hub))[0]
    mine, fresh = _add_entry(owner, current)
    if fresh:  # no signal handler has made the entry meanwhile
        args, kwargs = _get_arguments(owner)
        try:
            type(owner).__init__(owner, *args, **kwargs)
        except BaseException:
            _drop_entry(owner, id(current))  # the next access tries again
            raise
    return mine


def _add_entry(owner: local, current: greenlet, mine: dict[str, Any] | None = None) -> tuple[dict[str, Any], bool]:
    """Make an entry for ``current`` unless there is one; return its attributes, and whether they are new.

    :param mine: the attributes of a new entry; None: an empty dict.
    """
    key, entries, the_owner = id(current), _get_entries(owner), ref(owner)

    def forget(_: Any, drop: Callable[[local, int], None] = _drop_entry) -> None:
        owner = the_owner()
        if owner is not None:
            drop(owner, key)

    new: _Entry = (ref(current, forget), {} if mine is None else mine)
    found = entries.setdefault(key, new)
    if found is not new and found[0]() is not current:  # an error has kept the entry of an ended greenlet
        found = entries[key] = new
    return found[1], found is new


def _drop_entry(owner: local, key: int) -> None:
    if _get_entries is not None:  # at exit this name may be gone before the owner, and nothing needs the entry any more
        _get_entries(owner).pop(key, None)
        _set_last(owner, None)


@mirrored("local.c")
def _is_data_descriptor(cls: type, name: str) -> bool:
    for base in cls.__mro__:
        if name in base.__dict__:
            kind = type(base.__dict__[name])
            return hasattr(kind, "__set__") or hasattr(kind, "__delete__")
    return False
