"""Which patches there are, which are wanted, and in which order they go."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from typing import Any

from hubbub import plugins
from hubbub.abc import Patch

from hubbub_monkey import _journal
from hubbub_monkey.exceptions import PatchError
from hubbub_monkey.report import Left, Replacement

__all__ = ["ALIASES", "KNOWN", "PROVIDERS", "Step", "check_names", "choose", "plan"]

ALIASES = {"thread": "threading"}
"""Other names for patches."""

KNOWN = ("dns", "os", "queue", "select", "selectors", "signal", "socket", "ssl", "subprocess", "threading", "time")
"""The patches of hubbub's own packages, installed or not."""

PROVIDERS = {"select": "hubbub-net", "selectors": "hubbub-net", "socket": "hubbub-net", "ssl": "hubbub-net"}
"""The packages that bring the patches that no required package has."""

# Modules of core; a test checks that none is missing.
_KEEPERS = ("hubbub.monitor", "hubbub.threading")


@dataclass(frozen=True)
class Step:
    """One patch that is about to be applied, with everything it will set."""

    name: str
    replacements: tuple[Replacement, ...]
    installed: Callable[[], Callable[[], None] | None] | None


def choose(asked: Mapping[str, bool | None]) -> tuple[list[str], list[Left]]:
    """The names of the patches to apply, and of those left out.

    :param asked: by name: True it must be applied, False it must not, None or absent it is applied if installed.
    :raises PatchError: a name is unknown, a patch that must be applied is not installed, or a value is another.
    """
    installed = plugins.names(plugins.PATCHES)
    for name, wish in asked.items():
        if wish not in (True, False, None):
            raise PatchError(f"{name}={wish!r} says nothing: True insists on a patch, False leaves it alone")
    wishes = {ALIASES.get(name, name): wish for name, wish in asked.items()}
    wanted: list[str] = []
    left: list[Left] = []
    for name in sorted({*installed, *KNOWN, *wishes}):
        wish = wishes.get(name)
        if name not in installed:
            if wish or name not in KNOWN:
                raise PatchError(_not_installed(name, installed))
            left.append(Left(name, _not_there(name)))
        elif wish is False:
            left.append(Left(name, "not asked for"))
        else:
            wanted.append(name)
    return wanted, left


def check_names(names: Iterable[object]) -> None:
    """:raises TypeError: one of them is not a string."""
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f'patches are named by text, such as "socket", not by {name!r}')


def _not_there(name: str) -> str:
    package = plugins.provider(plugins.PATCHES, name) or PROVIDERS.get(name, "")
    return f"{package} is not installed" if package else "no installed package brings it"


def _not_installed(name: str, installed: Iterable[str]) -> str:
    text = f"no patch {name!r}: {_not_there(name)}" if name in KNOWN else f"no patch is called {name!r}"
    return f"{text}; installed are: {', '.join(sorted(installed))}"


def plan(names: Iterable[str]) -> list[Step]:
    """Load the patches and see what they would set, without setting anything.

    :raises PatchError: patches that require one another in a circle, or one that cannot be loaded.
    """
    _import_keepers()
    loaded: dict[str, Patch] = {name: plugins.load(plugins.PATCHES, name) for name in names}
    seen: dict[tuple[str, str], Any] = {}
    return [_step(name, loaded[name], seen) for name in _ordered(loaded)]


def _import_keepers() -> None:
    """Import modules that keep originals and would be imported later: they must not find replacements."""
    for name in _KEEPERS:
        import_module(name)
    for name in {"stdlib", os.environ.get("HUBBUB_LOOP", "")} & set(plugins.names(plugins.LOOPS)):
        plugins.load(plugins.LOOPS, name)


def _ordered(patches: Mapping[str, Patch]) -> list[str]:
    graph = {name: sorted(set(patches[name].requires) & patches.keys()) for name in sorted(patches)}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise PatchError(f"patches require one another: {' -> '.join(error.args[1])}") from error


def _step(name: str, patch: Patch, seen: dict[tuple[str, str], Any]) -> Step:
    provider = plugins.distribution(plugins.PATCHES, name)
    found = []
    for module, values in patch.replacements().items():
        for attribute, new in values.items():
            key = module, attribute
            old = seen[key] if key in seen else _journal.current(module, attribute)
            if old is new:
                continue
            seen[key] = new
            found.append(Replacement(module, attribute, old, new, name, provider))
    return Step(name, tuple(found), getattr(patch, "installed", None))
