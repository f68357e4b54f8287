"""Discovery of loops, resolvers, patches and accelerators by entry point. Nothing is loaded before it is asked for.

Loading may happen in any thread and at any time, so a fork waits for it: see :data:`importing`.
"""

from __future__ import annotations

import builtins
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from hubbub._importing import importing
from hubbub.exceptions import PluginError

__all__ = [
    "ACCELERATORS",
    "LOOPS",
    "PATCHES",
    "RESOLVERS",
    "check_interpreter",
    "distribution",
    "forget",
    "importing",
    "load",
    "names",
    "provider",
]

LOOPS = "hubbub.loops"
RESOLVERS = "hubbub.resolvers"
PATCHES = "hubbub.patches"
ACCELERATORS = "hubbub.accelerators"

_DISTRIBUTIONS = {
    (LOOPS, "stdlib"): "hubbub",
    (LOOPS, "libev"): "hubbub-loop-libev",
    (LOOPS, "libuv"): "hubbub-loop-libuv",
    (RESOLVERS, "pool"): "hubbub",
    (RESOLVERS, "thread"): "hubbub-dns",
    (RESOLVERS, "block"): "hubbub-dns",
    (RESOLVERS, "dnspython"): "hubbub-dns[dnspython]",
    (RESOLVERS, "ares"): "hubbub-dns[ares]",
    (PATCHES, "socket"): "hubbub-net",
    (PATCHES, "ssl"): "hubbub-net",
    (PATCHES, "select"): "hubbub-net",
    (PATCHES, "selectors"): "hubbub-net",
    ("hubbub.applications", "asgi"): "hubbub-asyncio",
    ("hubbub.asyncio_accelerators", "methods"): "hubbub-asyncio-speed",
    ("hubbub.net_accelerators", "methods"): "hubbub-net-speed",
    ("hubbub.server_accelerators", "usual"): "hubbub-server-speed",
    (ACCELERATORS, "methods"): "hubbub-speed",
    (ACCELERATORS, "stack_chunks"): "hubbub-speed",
}


def check_interpreter(what: str) -> None:
    """Refuse ``what`` while the interpreter ends: some modules are gone then, and one cannot tell which.

    :raises RuntimeError: it is ending; from CPython 3.13 on PythonFinalizationError.
    """
    if sys.is_finalizing():
        error: type[RuntimeError] = getattr(builtins, "PythonFinalizationError", RuntimeError)
        raise error(f"the interpreter is ending: {what} cannot be had any more")


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """The entry points of all of hubbub's groups. Looking through the installed packages takes some milliseconds."""
    check_interpreter("plug-ins")
    with importing:  # this imports the parsers of package metadata
        groups = entry_points()
    return tuple(
        entry for group in groups.groups if group.startswith("hubbub.") for entry in groups.select(group=group)
    )


@cache
def _group(group: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in _installed():
        if entry.group != group:
            continue
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"two packages provide {entry.name!r} in {group}: "
                f"{_origin(other)} and {_origin(entry)}; uninstall one of them"
            )
    return found


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'an unnamed package'} ({entry.value})"


def forget() -> None:
    """Drop what discovery has cached: after packages were installed or removed while running."""
    _installed.cache_clear()
    _group.cache_clear()


def names(group: str) -> tuple[str, ...]:
    """The names installed in an entry-point group, sorted.

    :param group: for instance :data:`LOOPS`.
    """
    return tuple(sorted(_group(group)))


def distribution(group: str, name: str) -> str:
    """The distribution that provides ``name``, or an empty string if none does or its own name is unknown."""
    entry = _group(group).get(name)
    return entry.dist.name if entry is not None and entry.dist is not None else ""


def provider(group: str, name: str) -> str:
    """The distribution to install for a well-known name, or an empty string."""
    return _DISTRIBUTIONS.get((group, name), "")


def load(group: str, name: str) -> Any:
    """The object behind ``name`` in ``group``. An ImportError of the plugin itself reaches the caller.

    :raises PluginError: nothing installed has that name; the message lists what is there and what to install.
    """
    check_interpreter("plug-ins")
    entry = _group(group).get(name)
    if entry is None:
        kind = group.rpartition(".")[2]
        have = ", ".join(names(group)) or "none"
        package = provider(group, name)
        advice = f"; install it with: pip install '{package}'" if package else ""
        raise PluginError(f"no {name!r} among the installed {kind} ({have}){advice}")
    with importing:
        return entry.load()
