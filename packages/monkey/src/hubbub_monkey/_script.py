"""Runs a script or a module in this process as the interpreter would have: it *is* ``__main__``, and stays it.

What outlives its last line finds it there: threads, exit functions, pickle, and :mod:`multiprocessing`, which tells its
children where to find it. :mod:`runpy` takes it away again.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec, module_from_spec
from types import CodeType, ModuleType, TracebackType
from typing import Any

__all__ = ["NothingToRun", "as_the_program", "run_module", "run_script"]


class NothingToRun(ImportError):
    """What was named is no script, or no module that can be run. Nothing has been run of it."""


@contextmanager
def as_the_program() -> Iterator[None]:
    """For the block that runs what the process was started for: an error that ends it is shown as the interpreter would
    show it, from the script's own first line on.

    It ends the process as before, and is shown by the :func:`sys.excepthook` that the script has set.
    """
    try:
        yield
    except BaseException as error:
        first = _first_of_script(error)
        if first is not error.__traceback__:
            _show_from(error, first)
        raise


def _show_from(error: BaseException, first: TracebackType | None) -> None:
    """Have the interpreter, when ``error`` ends it, show it from ``first`` on."""
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> Any:
        sys.excepthook = hook
        if value is error:
            value.__traceback__ = sys.last_traceback = traceback = first
        return hook(kind, value, traceback)

    sys.excepthook = show


def _first_of_script(error: BaseException) -> TracebackType | None:
    """Where the script's part of the traceback begins; None if no line of it was run. All, if the error is ours."""
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code is _run.__code__:
            return place.tb_next
        place = place.tb_next
    return None if isinstance(error, SyntaxError) else error.__traceback__


def run_script(path: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a file as ``python path arguments`` does; or a folder or an archive that has a ``__main__``.

    :returns: its globals.
    :raises NothingToRun: the folder or archive has none.
    """
    sys.argv[:] = [path, *arguments]
    full = os.path.abspath(path)
    importer = pkgutil.get_importer(full)
    if importer is not None:
        _put_on_path(full, always=True)
        spec = importer.find_spec("__main__", None)
        if spec is None:
            raise NothingToRun(f"there is no __main__ in {path!r}")
        return _run(module_from_spec(spec), _code_of(spec))
    _put_on_path(os.path.dirname(os.path.realpath(path)))
    module = ModuleType("__main__")
    module.__file__ = full
    module.__package__ = None
    if full.endswith(".pyc"):
        compiled = SourcelessFileLoader("__main__", full)
        module.__loader__, code = compiled, compiled.get_code("__main__")
    else:
        source = SourceFileLoader("__main__", full)
        module.__loader__, code = source, source.source_to_code(source.get_data(full), full)
    return _run(module, code)


def run_module(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a module, or the ``__main__`` of a package, as ``python -m name arguments`` does.

    :returns: its globals.
    :raises NothingToRun: there is none, or it has no code in Python.
    """
    sys.argv[:] = [name, *arguments]
    spec = _spec_of(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _spec_of(f"{name}.__main__")
        if spec is None:
            raise NothingToRun(f"the package {name} has no __main__")
    if spec is None:
        raise NothingToRun(f"there is no module {name}")
    code = _code_of(spec)
    sys.argv[0] = spec.origin or name
    return _run(module_from_spec(spec), code)


def _put_on_path(folder: str, always: bool = False) -> None:
    """Put a folder in the place of the one that this program was found in. With ``-P`` there is no such place."""
    if not sys.flags.safe_path:
        sys.path[0] = folder
    elif always:
        sys.path.insert(0, folder)


def _spec_of(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None  # a package above it is missing
        raise


def _code_of(spec: ModuleSpec) -> CodeType:
    code: CodeType | None = getattr(spec.loader, "get_code", lambda _: None)(spec.name)
    if code is None:
        raise NothingToRun(f"{spec.name} has no code in Python to run")
    return code


def _run(module: ModuleType, code: CodeType | None) -> dict[str, Any]:
    assert code is not None  # only modules written in C have none
    sys.modules["__main__"] = module
    module.__name__ = "__main__"
    exec(code, module.__dict__)
    return module.__dict__
