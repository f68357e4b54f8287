"""Runs a script or a module in this process as the interpreter would have: it *is* ``__main__``, and stays it.

What outlives its last line finds it there: threads, exit functions, pickle, and :mod:`multiprocessing`, which tells its
children where to find it. :mod:`runpy` takes it away again.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from importlib.util import find_spec, module_from_spec
from types import CodeType, ModuleType
from typing import Any

__all__ = ["NothingToRun", "run_module", "run_script"]


class NothingToRun(ImportError):
    """What was named is no script, or no module that can be run. Nothing has been run of it."""


def run_script(path: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a file as ``python path arguments`` does; or a folder or an archive that has a ``__main__``.

    :returns: its globals.
    :raises NothingToRun: the folder or archive has none.
    """
    sys.argv[:] = [path, *arguments]
    full = os.path.abspath(path)
    importer = pkgutil.get_importer(full)
    if importer is not None:
        sys.path[0] = full
        spec = importer.find_spec("__main__", None)
        if spec is None:
            raise NothingToRun(f"there is no __main__ in {path!r}")
        return _run(module_from_spec(spec), _code_of(spec))
    sys.path[0] = os.path.dirname(os.path.realpath(path))
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
