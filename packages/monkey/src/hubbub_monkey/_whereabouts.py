"""Which objects were made before patching and stay what they are, and what refers to them."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from types import FrameType, GeneratorType
from typing import Any

from hubbub_monkey.report import Replacement

__all__ = ["callers_level", "is_ours", "old_objects", "owners"]

_ASKED = 30
"""The owners of at most so many objects are looked for: each search looks at all objects of the process."""
_SHOWN = 3


_HERE = os.path.dirname(os.path.abspath(__file__))


def callers_level() -> int:
    """The ``stacklevel`` for a warning given by the caller: that of the first frame outside this package."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if os.path.dirname(file) != _HERE and file != contextlib.__file__:
            return level
        frame, level = frame.f_back, level + 1
    return level


def is_ours(module: object) -> bool:
    """Whether a module of this name is hubbub's, or of a package that says so in ``__implementation__``."""
    if not isinstance(module, str):
        return False
    top = module.partition(".")[0]
    return top.partition("_")[0] == "hubbub" or getattr(sys.modules.get(top), "__implementation__", "") == "hubbub"


def old_objects(replacements: Iterable[Replacement], *spared: type) -> Iterator[str]:
    """For each replaced class that has instances outside the standard library, a sentence that names their owners.

    :param spared: classes that are dealt with elsewhere.
    """
    classes = {item.old for item in replacements if isinstance(item.old, type)} - set(spared)
    found: dict[type, list[Any]] = {}
    for item in gc.get_objects():
        if type(item) in classes:
            found.setdefault(type(item), []).append(item)
    titles = {f"{kind.__module__}.{kind.__qualname__}": items for kind, items in found.items()}
    for title, items in sorted(titles.items()):
        if names := owners(items):
            yield f"objects of {title} that were made before patching stay as they are: {names}"


def owners(items: Collection[Any], *others: object) -> str:
    """Names for those that refer to objects; empty if they are all nameless, hubbub's or the standard library's.

    :param others: referrers that do not count.
    """
    known = {id(other) for other in (items, *others)}
    asked = list(islice(items, _ASKED))
    best = [min(_owners(item, known | {id(asked)}, 2), default=(0, ""))[1] for item in asked]
    names = sorted({name for name in best if name})
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _owners(item: Any, others: set[int], depth: int) -> Iterator[tuple[int, str]]:
    """Names of those that refer to an object, each with a number: the lower, the better known is the name."""
    holders = gc.get_referrers(item)
    others = others | {id(holders)}
    for holder in holders:
        if id(holder) in others or isinstance(holder, FrameType | GeneratorType):
            continue
        if isinstance(holder, dict):
            module = sys.modules.get(str(holder.get("__name__")))
            if module is not None and vars(module) is holder:
                if not _exempt(module.__name__):
                    yield 0, f"{module.__name__}.{_key(holder, item)}"
                continue
        kind = type(holder)
        if kind.__module__ != "builtins":
            if not _exempt(kind.__module__):
                key = _key(getattr(holder, "__dict__", {}), item)
                yield 1, f"an object of {kind.__module__}.{kind.__qualname__}" + (f", as {key}" if key else "")
        elif depth:
            yield from ((place + 2, f"{name} ({kind.__name__})") for place, name in _owners(holder, others, depth - 1))


def _exempt(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or is_ours(module)


def _key(names: dict[Any, Any], item: Any) -> str:
    return next((str(key) for key, value in names.items() if value is item), "")
