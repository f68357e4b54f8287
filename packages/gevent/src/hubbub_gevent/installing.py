"""Making ``import gevent`` mean hubbub.

A finder in :data:`sys.meta_path` loads this package's modules under gevent's names, as ordinary modules: their
``__name__`` is ``gevent.event``, and ``importlib``, ``runpy``, ``mock.patch`` and import hooks see nothing unusual.
Each module is one object under two names: ``hubbub_gevent.event`` is the same one. Its code comes from where Python has
found this package: a folder, an archive, or a frozen program.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType

TYPE_CHECKING = False  # not imported from typing, whose import takes long
if TYPE_CHECKING:
    from typing import Any

__all__ = ["RealGeventImported", "has_module", "install", "is_installed", "unknown_in"]

# Every interpreter that HUBBUB_GEVENT is set for loads this module at its start, so it imports little. Finders and
# loaders need no base class.
_FACADE = "gevent"
_SELF = "hubbub_gevent"
_TOP = "_gevent"
_OWN = frozenset({"__init__", "__main__", "_gevent", "_pyinstaller", "installing"})


class RealGeventImported(ImportError):
    """The real gevent is in use in this process; hubbub cannot take its place any more."""


def install() -> None:
    """From now on ``import gevent``, and every public submodule, means hubbub, even where gevent is installed too.

    A second call does nothing.

    :raises RealGeventImported: gevent itself was imported before.
    """
    if is_installed():
        return
    found = sys.modules.get(_FACADE)
    if found is not None:
        raise RealGeventImported(
            f"gevent was imported already, from {getattr(found, '__file__', None) or repr(found)}; "
            "call hubbub_gevent.install() before anything imports gevent",
            name=_FACADE,
        )
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_LastWord())


def is_installed() -> bool:
    """Whether ``import gevent`` means hubbub."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def has_module(name: str) -> bool:
    """Whether there is a module ``gevent.<name>``."""
    return _own_spec(name) is not None


def _own_spec(relative: str) -> ModuleSpec | None:
    """Where the code of a facade module is, ``"event"`` or ``"resolver.thread"``; None if there is no such module."""
    if relative.partition(".")[0] in _OWN:
        return None
    return _located(f"{_SELF}.{relative}")


def _located(own: str) -> ModuleSpec | None:
    """The spec that Python itself finds for a module of this package."""
    parent, _, _ = own.rpartition(".")
    if parent == _SELF:
        places: Sequence[str] | None = sys.modules[_SELF].__path__
    else:
        above = _located(parent)
        places = above.submodule_search_locations if above is not None else None
    if places is None:
        return None
    found = PathFinder.find_spec(own, places)
    for finder in sys.meta_path if found is None else ():
        if not isinstance(finder, (_Finder, _LastWord)):
            found = found or finder.find_spec(own, places)
    return found if found is not None and found.loader is not None else None


class _Finder:
    """Finds ``gevent``, ``gevent.X`` and, so that both names mean one object, ``hubbub_gevent.X``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a facade module, or None."""
        top, _, relative = fullname.partition(".")
        if fullname == _FACADE:
            found = _located(f"{_SELF}.{_TOP}")
            return None if found is None else _spec(fullname, found, sys.modules[_SELF].__path__)
        if top not in (_FACADE, _SELF) or not relative:
            return None
        found = _own_spec(relative)
        if found is None:
            return None
        other = f"{_SELF if top == _FACADE else _FACADE}.{relative}"
        if top == _SELF or other in sys.modules:
            return ModuleSpec(fullname, _Alias(other))  # type: ignore[arg-type]  # the import system asks no base class
        return _spec(fullname, found, found.submodule_search_locations)


def _spec(name: str, own: ModuleSpec, locations: Sequence[str] | None) -> ModuleSpec:
    spec = ModuleSpec(name, _FacadeLoader(own), origin=own.origin)  # type: ignore[arg-type]  # see above
    spec.submodule_search_locations = None if locations is None else list(locations)
    spec.has_location = own.has_location
    spec.cached = own.cached
    return spec


class _FacadeLoader:
    """Loads the code of a module of this package under gevent's name, and enters it under its own name too.

    Its methods ignore the name that they are given: they mean that module. Other attributes are those of Python's own
    loader.
    """

    def __init__(self, own: ModuleSpec) -> None:
        self._own = own.name
        self._loader: Any = own.loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module."""

    def get_code(self, fullname: str = "") -> CodeType:
        """Its code."""
        code: CodeType = self._loader.get_code(self._own)
        return code

    def get_source(self, fullname: str = "") -> str | None:
        """Its text, if there is one."""
        source: str | None = self._loader.get_source(self._own)
        return source

    def get_filename(self, fullname: str = "") -> str:
        """Its file."""
        file: str = self._loader.get_filename(self._own)
        return file

    def is_package(self, fullname: str = "") -> bool:
        """Whether it has submodules."""
        return bool(self._loader.is_package(self._own))

    def exec_module(self, module: ModuleType) -> None:
        """Run the code."""
        sys.modules[self._own] = module
        try:
            exec(self.get_code(module.__name__), vars(module))  # with the name, as hooks that replace get_code expect
        except BaseException:
            sys.modules.pop(self._own, None)
            raise
        if "__getattr__" not in vars(module):
            module.__getattr__ = unknown_in(module.__name__)  # type: ignore[method-assign]  # PEP 562
        parent, _, child = self._own.rpartition(".")
        setattr(importlib.import_module(parent), child, module)


def unknown_in(module: str) -> Callable[[str], object]:
    """The ``__getattr__`` of a module: its error says that hubbub's gevent, not gevent itself, lacks the name."""

    def __getattr__(name: str) -> object:
        raise AttributeError(
            f"module {module!r}, which is hubbub's, has no attribute {name!r}; "
            "if gevent 26.9.0 has it, please report that to hubbub",
            name=name,
        )

    return __getattr__


class _Alias:
    """Gives an existing module a second name."""

    def __init__(self, other: str) -> None:
        self._other = other
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module that the other name means."""
        module = importlib.import_module(self._other)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing; the module keeps its first name."""
        module.__spec__ = self._spec


class _LastWord:
    """When no other finder knows a module: an error that says that hubbub's gevent, not gevent itself, lacks it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that a finder after this one finds.

        :raises ModuleNotFoundError: none finds the module.
        """
        if fullname.partition(".")[0] != _FACADE:
            return None
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(
            f"No module named {fullname!r} in hubbub, which takes gevent's place; "
            "if gevent 26.9.0 has it, please report that to hubbub",
            name=fullname,
        )
