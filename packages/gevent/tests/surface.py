"""The public surface of whatever ``gevent`` means.

``python surface.py > surface.txt`` with gevent 26.9.0 makes the table, a line for each name, its kind and parameters;
``python surface.py surface.txt`` with the facade prints where it differs, in such a way that a program could notice.
Names that gevent hands on from the standard library are left out, as are those that begin with an underscore.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODULES = [
    "gevent",
    "gevent.backdoor",
    "gevent.baseserver",
    "gevent.core",
    "gevent.event",
    "gevent.events",
    "gevent.exceptions",
    "gevent.fileobject",
    "gevent.greenlet",
    "gevent.hub",
    "gevent.local",
    "gevent.lock",
    "gevent.monkey",
    "gevent.monkey.api",
    "gevent.os",
    "gevent.pool",
    "gevent.pywsgi",
    "gevent.queue",
    "gevent.resolver",
    "gevent.resolver.ares",
    "gevent.resolver.blocking",
    "gevent.resolver.dnspython",
    "gevent.resolver.thread",
    "gevent.select",
    "gevent.selectors",
    "gevent.server",
    "gevent.signal",
    "gevent.socket",
    "gevent.ssl",
    "gevent.subprocess",
    "gevent.thread",
    "gevent.threading",
    "gevent.threadpool",
    "gevent.time",
    "gevent.timeout",
    "gevent.util",
    "gevent._imap",
    "gevent._semaphore",
    "gevent._hub_local",
    "gevent._abstract_linkable",
]
OF_THE_SYSTEM = {"gevent.os", "gevent.signal", "gevent.socket", "gevent.ssl", "gevent.subprocess"}
"""Modules that list what the standard library's have, on the system at hand."""
_SPECIAL = {"__call__", "__enter__", "__iter__", "__len__", "__next__"}
_C_FUNCTIONS = ("cython_function_or_method", "method_descriptor", "wrapper_descriptor")


def parameters(function: Any) -> str:
    """``a b= c/ *d e!= **f``: required, with a default, by place only, by name only; ``?`` if nothing tells."""
    try:
        found = inspect.signature(function).parameters.values()
    except (AttributeError, TypeError, ValueError):  # the first: a default that names what patching has replaced
        return "?"
    marks = {"POSITIONAL_ONLY": "/", "KEYWORD_ONLY": "!"}
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    return " ".join(
        f"{stars.get(item.kind.name, '')}{item.name}{marks.get(item.kind.name, '')}"
        f"{'' if item.default is item.empty else '='}"
        for item in found
        if item.name not in ("self", "cls")
    )


def kind_of(value: Any) -> str:
    """class, function, module or object."""
    if isinstance(value, type):
        return "class"
    if isinstance(value, types.ModuleType):
        return "module"
    return "function" if inspect.isroutine(value) or type(value).__name__ in _C_FUNCTIONS else "object"


def member_of(cls: type, name: str) -> tuple[str, str]:
    """The kind and the parameters of an attribute of a class."""
    raw, value = inspect.getattr_static(cls, name), getattr(cls, name)
    if isinstance(raw, type):
        return "class", ""
    function = isinstance(raw, (staticmethod, classmethod)) or kind_of(raw) == "function"
    return ("method", parameters(value)) if function and callable(value) else ("attribute", "")


def members(cls: type) -> Iterator[str]:
    """The public attributes that gevent's classes define."""
    for name in sorted(dir(cls)):
        owner = next((base for base in cls.__mro__ if name in vars(base)), object)
        public = not name.startswith("_") or name in _SPECIAL
        if public and owner.__module__.partition(".")[0] == "gevent":
            yield name


def named(module: Any) -> list[str]:
    """The names that a module says are its own; gevent has modules that list none of them."""
    listed = getattr(module, "__implements__", None), getattr(module, "__extensions__", None)
    own = sorted({name for names in listed for name in names or ()})
    return own or list(getattr(module, "__all__", None) or ())


def is_of_gevent(module: Any, value: Any) -> bool:
    """Whether gevent made a value."""
    home = getattr(value, "__module__", None)
    return home is None or home.partition(".")[0] == "gevent"


def lines() -> Iterator[str]:
    """The table."""
    seen = set()
    for path in MODULES:
        module = importlib.import_module(path)
        if path not in OF_THE_SYSTEM and hasattr(module, "__all__"):
            yield f"{path}:* {' '.join(sorted(module.__all__))}".rstrip()
        for name in named(module):
            value = getattr(module, name)
            if name.startswith("_") or isinstance(value, types.ModuleType) or not is_of_gevent(module, value):
                continue
            kind = kind_of(value)
            yield f"{path}:{name} {kind} {parameters(value) if kind != 'object' else ''}".rstrip()
            if kind == "class" and value not in seen:
                seen.add(value)
                for member in members(value):
                    yield " ".join((f"{path}:{name}.{member}", *member_of(value, member))).rstrip()


# The comparison -------------------------------------------------------------------------------------------------------


def split(word: str) -> tuple[str, str, bool]:
    """The name of a parameter, its marks, and whether it has a default."""
    name = word.strip("*/!=")
    return name, word.replace(name, "").replace("=", ""), word.endswith("=")


def refused(theirs: str, ours: str) -> Iterator[str]:
    """What of the calls that ``theirs`` allows ``ours`` does not."""
    if "?" in (theirs, ours):
        return
    wanted, given = ([split(word) for word in words.split() if word[0] != "_"] for words in (theirs, ours))
    any_place, any_name = (any(marks == star for _, marks, _ in given) for star in ("*", "**"))
    places = [item for item in given if item[1] in ("", "/")]
    names = {name for name, marks, _ in given if marks in ("", "!")}
    asked = [item for item in wanted if item[1] in ("", "/")]
    for number, (name, marks, optional) in enumerate(asked):
        if number >= len(places) and not any_place:
            yield f"{name} by its place"
        if not marks and name not in names and not any_name:
            yield f"{name} by its name"
        if number < len(places) and optional and not places[number][2]:
            yield f"no {name}"
    for name, marks, _ in wanted:
        if marks == "!" and name not in names and not any_name:
            yield f"{name} by its name"
    for name, _, optional in places[len(asked) :]:
        if not optional and not any(marks == "*" for _, marks, _ in wanted):
            yield f"a call without {name}"


def difference(line: str) -> str | None:
    """How the facade differs from a line of the table."""
    what, kind, theirs = (*line.split(" ", 2), "", "")[:3]
    path, _, name = what.partition(":")
    owner: Any = importlib.import_module(path)
    if name == "*":
        listed = sorted(line.split()[1:]), sorted(owner.__all__)
        return None if listed[0] == listed[1] else f"{path}.__all__ is {listed[1]}, not {listed[0]}"
    first, _, member = name.partition(".")
    if not hasattr(owner, first):
        return f"{what} is not there"
    value = getattr(owner, first)
    if not member:
        found, ours = kind_of(value), parameters(value) if kind != "object" else ""
    elif not hasattr(value, member):
        return f"{what} is not there"
    else:
        found, ours = member_of(value, member)
    if found != kind and (found, kind) != ("class", "attribute"):
        return f"{what} is {found}, not {kind}"
    missing = list(refused(theirs, ours))
    return f"{what} does not take {', '.join(missing)}" if missing else None


def main() -> None:
    """Print the table, or the differences from one."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 1:
        sys.stdout.writelines(f"{line}\n" for line in lines())
        return
    found = (difference(line) for line in Path(sys.argv[1]).read_text().splitlines())
    sys.stdout.writelines(f"{line}\n" for line in found if line)


if __name__ == "__main__":
    main()
