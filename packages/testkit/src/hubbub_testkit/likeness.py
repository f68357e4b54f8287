"""What a replacement lacks of its original: attribute by attribute, signature by signature.

A replacement of a standard class must allow every use that the original allows, private uses in the standard library
included. Those cannot be listed, but the attributes of the original can.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import weakref
from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from types import ClassMethodDescriptorType
from typing import Any

__all__ = ["differences"]

_OF_EVERY_CLASS = frozenset(dir(type("Empty", (), {}))) | {
    "__firstlineno__",
    "__slotnames__",
    "__slots__",
    "__static_attributes__",
}
"""Attributes that Python gives to each class, or uses itself: whether a class has them does not matter."""
_ABILITIES: dict[str, Callable[[Any], Any]] = {
    "hashed": hash,
    "copied": copy.copy,
    "deeply copied": copy.deepcopy,
    "pickled": pickle.dumps,
    "referred to weakly": weakref.ref,
    "compared with itself": lambda each: each == each,
    "asked whether it is true": bool,
    "asked for its length": len,
    "gone through": iter,
    "named": repr,
}
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def differences(old: Any, new: Any, samples: tuple[Any, Any] | None = None) -> Iterator[str]:
    """What ``old`` has or accepts and ``new`` does not, each in a few words, which begin with the attribute's name.

    :param samples: an object of each class, to compare the attributes of objects too.
    """
    if isinstance(old, type):
        yield from _of_classes(old, new)
    elif callable(old):
        yield from _of_functions("", old, new)
    elif type(old) is not type(new) and not isinstance(new, type(old)):
        yield f"is of {type(new).__name__}, not of {type(old).__name__}"
    if samples is not None:
        yield from _of_objects(*samples)


def _can(ability: Callable[[Any], Any], each: Any) -> bool:
    try:
        ability(each)
    except (TypeError, pickle.PicklingError, AttributeError):
        return False
    return True


def _of_classes(old: type, new: Any) -> Iterator[str]:
    if not callable(new):
        yield "cannot be called"
        return
    if not isinstance(new, type):
        yield "is no class"
    yield from _of_functions("__init__", old, new)
    for name in sorted(set(dir(old)) - _OF_EVERY_CLASS):
        yield from _of_attributes(name, inspect.getattr_static(old, name), new)


def _of_attributes(name: str, theirs: Any, new: Any) -> Iterator[str]:
    try:
        mine = inspect.getattr_static(new, name)
    except AttributeError:
        yield f"{name} is missing"
        return
    if _kind(theirs) != _kind(mine):
        yield f"{name} is {_kind(mine)}, not {_kind(theirs)}"
    elif _kind(theirs) == "a method":
        yield from _of_functions(name, theirs, mine)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, classmethod | ClassMethodDescriptorType):
        return "a class method"
    if isinstance(value, staticmethod) or inspect.isbuiltin(value):
        return "a static method"
    return "a method" if callable(value) and not isinstance(value, type) else "data"


def _of_objects(old: Any, new: Any) -> Iterator[str]:
    theirs, mine = set(getattr(old, "__dict__", ())), set(dir(new))
    yield from (f"{name} of an object is missing" for name in sorted(theirs - mine))
    for name, ability in _ABILITIES.items():
        if _can(ability, old) != _can(ability, new):
            yield f"can{'not' if _can(ability, old) else ''} be {name}"


# Signatures -----------------------------------------------------------------------------------------------------------


def _of_functions(name: str, old: Any, new: Any) -> Iterator[str]:
    head = f"{name} " if name else ""
    if not callable(new):
        yield f"{head}cannot be called"
        return
    theirs, mine = _signature(old), _signature(new)
    if theirs is not None and mine is not None:
        yield from (head + text for text in _of_signatures(theirs, mine))


def _signature(function: Callable[..., Any]) -> Signature | None:
    """The signature; None for C code that does not state it."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError, AttributeError):
        return None


def _of_signatures(old: Signature, new: Signature) -> Iterator[str]:
    theirs, mine = list(old.parameters.values()), list(new.parameters.values())
    if [each.kind for each in theirs] == [Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD]:
        return  # C code or a wrapper that states no parameters
    yield from dict.fromkeys([*_positions(theirs, mine), *_keywords(theirs, mine), *_demands(theirs, mine)])


def _demands(theirs: list[Parameter], mine: list[Parameter]) -> Iterator[str]:
    required = {each.name for each in theirs if _is_required(each)}
    for position, each in enumerate(mine):
        if _is_required(each) and each.name not in required and not _has_twin(position, theirs):
            yield f"demands {each.name}"


def _positional(parameters: list[Parameter]) -> list[Parameter]:
    return [each for each in parameters if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]


def _positions(theirs: list[Parameter], mine: list[Parameter]) -> Iterator[str]:
    takes_all = any(each.kind is Parameter.VAR_POSITIONAL for each in mine)
    lacks = len(_positional(theirs)) - len(_positional(mine))
    if lacks > 0 and not takes_all:
        yield f"takes {lacks} fewer by position"
    for one, other in zip(_positional(theirs), _positional(mine), strict=False):
        if not _is_required(one) and _is_required(other):
            yield f"demands {other.name}"
        if one.kind is Parameter.POSITIONAL_OR_KEYWORD and other.kind is one.kind and one.name != other.name:
            yield f"calls {one.name} {other.name}"
    if any(each.kind is Parameter.VAR_POSITIONAL for each in theirs) and not takes_all:
        yield "does not take any number by position"


def _keywords(theirs: list[Parameter], mine: list[Parameter]) -> Iterator[str]:
    takes_all = any(each.kind is Parameter.VAR_KEYWORD for each in mine)
    names = {each.name for each in mine if each.kind in _NAMED}
    for each in theirs:
        if each.kind in _NAMED and each.name not in names and not takes_all:
            yield f"does not take {each.name} by name"
    if any(each.kind is Parameter.VAR_KEYWORD for each in theirs) and not takes_all:
        yield "does not take any name"


def _has_twin(position: int, theirs: list[Parameter]) -> bool:
    return position < len(theirs) and _is_required(theirs[position])


def _is_required(parameter: Parameter) -> bool:
    empty = parameter.default is Parameter.empty
    return empty and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
