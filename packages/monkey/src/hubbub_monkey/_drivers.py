"""Libraries that wait in C, but let one choose a way of waiting in Python instead; and multiprocessing.

This module imports none of them: a library that is not loaded yet is patched when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hubbub_monkey._multiprocessing import wait_for_connections, wait_for_semaphores

__all__ = ["DriverPatch", "grpc", "multiprocessing", "psycopg"]


class DriverPatch:
    """A patch of modules that may be imported later. See :class:`hubbub.abc.Patch`.

    :param module: the name of the library that it patches.
    :param choices: by the name of a module, a function that makes it wait in Python, and returns what undoes that.
    """

    requires: tuple[str, ...] = ("select", "selectors", "threading")

    def __init__(self, module: str, choices: Mapping[str, Callable[[Any], Callable[[], None]]]) -> None:
        self.module = module
        self._choices = choices

    def replacements(self) -> dict[str, dict[str, Any]]:
        """Nothing in the standard library."""
        return {}

    def installed(self) -> Callable[[], None]:
        """Patch the modules now, or when they are imported. Returns what undoes it."""
        undo: list[Callable[[], None]] = []
        for name, choose in self._choices.items():
            self._see_to(name, choose, undo)

        def back() -> None:
            while undo:
                undo.pop()()

        return back

    @staticmethod
    def _see_to(name: str, choose: Callable[[Any], Callable[[], None]], undo: list[Callable[[], None]]) -> None:
        if name in sys.modules:
            undo.append(choose(sys.modules[name]))
            return
        finder = _Finder(name, lambda module: undo.append(choose(module)))
        sys.meta_path.insert(0, finder)
        undo.append(finder.remove)


class _Finder(MetaPathFinder):
    """Finds nothing itself, but makes the loader call a function with the module after its import."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls the function afterwards."""
        if fullname != self._name:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(fullname, path, target) if finder is not self else None
            if spec is not None and spec.loader is not None:
                self._extend(spec.loader)
                return spec
        return None

    def _extend(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        loader.exec_module = exec_module

    def remove(self) -> None:
        """Do not look at imports any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)


def _wait_in_python(waiting: Any) -> Callable[[], None]:
    """``psycopg.waiting``: choose its functions that wait by :mod:`select`, not the accelerator, which waits in C."""
    before = waiting.wait
    waiting.wait = waiting.wait_poll if hasattr(waiting, "wait_poll") else waiting.wait_selector

    def back() -> None:
        waiting.wait = before

    return back


psycopg: DriverPatch = DriverPatch("psycopg", {"psycopg.waiting": _wait_in_python})
"""psycopg 3. Without its C accelerator nothing changes."""


def _call_by_future(channel: Any) -> Callable[[], None]:
    """``grpc._channel``: its blocking calls wait in C. Replace them by its futures, which its own thread completes."""
    kinds = [channel._UnaryUnaryMultiCallable, channel._StreamUnaryMultiCallable]
    before = [(kind, name, vars(kind)[name]) for kind in kinds for name in ("__call__", "with_call")]
    for kind in kinds:
        kind.__call__ = _call
        kind.with_call = _with_call

    def back() -> None:
        for kind, name, old in before:
            setattr(kind, name, old)

    return back


def _call(callable: Any, *args: Any, **kwargs: Any) -> Any:
    return _with_call(callable, *args, **kwargs)[0]


def _with_call(callable: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    future = callable.future(*args, **kwargs)
    try:
        return future.result(), future
    except BaseException:
        future.cancel()
        raise


grpc: DriverPatch = DriverPatch("grpc", {"grpc._channel": _call_by_future})
"""gRPC's clients. Its server runs as it is, in native threads."""

multiprocessing: DriverPatch = DriverPatch(
    "multiprocessing",
    {
        f"{package}.{module}": wait
        for package in ("multiprocessing", "multiprocess")
        for module, wait in (("connection", wait_for_connections), ("synchronize", wait_for_semaphores))
    },
)
"""multiprocessing's connections, queues and locks, made from now on; and those of multiprocess, a copy that pickles
more."""
