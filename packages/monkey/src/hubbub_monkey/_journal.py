"""What is replaced at present, and the two elementary operations: set a name, and put it back.

One journal per process. Changes are made under :data:`lock`.
"""

from __future__ import annotations

import importlib
import warnings
from _thread import RLock
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hubbub_monkey.exceptions import PatchWarning
from hubbub_monkey.report import MISSING, Replacement

__all__ = ["Applied", "applied", "current", "lock", "original", "originals", "replaced", "restore", "substitute"]

lock = RLock()


@dataclass
class Applied:
    """A patch in force: its replacements, and a function that undoes its other effects."""

    name: str
    replacements: list[Replacement] = field(default_factory=list)
    ending: Callable[[], None] | None = None


applied: dict[str, Applied] = {}
"""The patches in force, oldest first."""

originals: dict[str, dict[str, Any]] = {}
"""``{module: {name: what was there before any patch}}``."""


def _owner(module: str, name: str) -> tuple[Any, str]:
    """The module or class that has ``name``, and the last part of the name."""
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, last


def current(module: str, name: str) -> Any:
    """The present value, as the owner's dictionary has it: descriptors stay descriptors."""
    owner, last = _owner(module, name)
    return vars(owner).get(last, MISSING)


def _put(module: str, name: str, value: Any) -> None:
    owner, last = _owner(module, name)
    if value is MISSING:
        if last in vars(owner):
            delattr(owner, last)
    else:
        setattr(owner, last, value)


def substitute(replacement: Replacement) -> None:
    """Set the new value and remember the original."""
    _put(replacement.module, replacement.name, replacement.new)
    originals.setdefault(replacement.module, {}).setdefault(replacement.name, replacement.old)


def restore(patch: Applied) -> None:
    """Undo all of a patch, whatever was patched after it."""
    if patch.ending is not None:
        patch.ending()
        patch.ending = None
    while patch.replacements:
        _restore_one(patch.replacements.pop())
    applied.pop(patch.name, None)


def _restore_one(gone: Replacement) -> None:
    later = _later(gone)
    if later is not None:
        holder, index = later
        over = holder.replacements[index]
        holder.replacements[index] = Replacement(over.module, over.name, gone.old, over.new, over.patch, over.provider)
        return
    if current(gone.module, gone.name) is not gone.new:
        warnings.warn(
            f"{gone.module}.{gone.name} was changed by somebody else since it was patched; the original is back",
            PatchWarning,
            stacklevel=2,
        )
    _put(gone.module, gone.name, gone.old)
    if not any(True for _ in replaced(gone.module, gone.name)):
        names = originals[gone.module]
        names.pop(gone.name, None)
        if not names:
            del originals[gone.module]


def _later(gone: Replacement) -> tuple[Applied, int] | None:
    """The replacement of the same name that was set over ``gone``."""
    for patch in applied.values():
        for index, item in enumerate(patch.replacements):
            if (item.module, item.name) == (gone.module, gone.name) and item.old is gone.new:
                return patch, index
    return None


def replaced(module: str, name: str | None = None) -> list[Replacement]:
    """The replacements in force in a module, or those of one name."""
    return [
        item
        for patch in applied.values()
        for item in patch.replacements
        if item.module == module and (name is None or item.name == name)
    ]


def original(module: str, name: str) -> Any:
    """What was there before any patch; what is there now if it is not patched.

    :raises AttributeError: the module has no such name.
    :raises ImportError: there is no such module.
    """
    names = originals.get(module, {})
    if name in names:
        if names[name] is MISSING:
            raise AttributeError(f"module {module!r} had no attribute {name!r} before it was patched")
        return names[name]
    owner, last = _owner(module, name)
    return getattr(owner, last)
