"""Finding the application that a command line names, and beginning and ending it."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from hubbub import plugins

__all__ = ["ApplicationError", "adapt", "end", "find_application", "start"]

_APPLICATIONS = "hubbub.applications"
"""The group of entry points of adapters: name to a function that makes a WSGI application of one of another kind."""


class ApplicationError(Exception):
    """The application cannot be had; the text says which part of its name is wrong, and what is there instead."""


def find_application(name: str, factory: bool = False) -> Any:
    """The object that ``module:attribute`` names; ``module`` alone means ``module:application`` or ``module:app``.

    The current directory is searched first.

    :param factory: call what was found, to get the application.
    :raises ApplicationError: there is no such thing, or it is not callable.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            hint = "; leave the .py out" if module_name.endswith(".py") else ""
            raise ApplicationError(
                f"no module {error.name!r} in {here} or on sys.path; the application is written module:attribute,"
                f" and this is {name!r}{hint}"
            ) from None
        raise
    except (ValueError, TypeError):
        raise ApplicationError(f"{name!r} names no module; the application is written module:attribute") from None
    found = _attribute(module, module_name, attribute)
    if not callable(found):
        raise ApplicationError(f"{name!r} is no application: it is {found!r}, which cannot be called")
    if factory:
        found = found()
        if not callable(found):
            raise ApplicationError(f"{name!r}() is no application: it is {found!r}, which cannot be called")
    return found


def adapt(application: Any, kind: str | None) -> Any:
    """The WSGI application that serves ``application``, which is of a ``kind`` such as "asgi", or None for WSGI.

    :raises hubbub.exceptions.PluginError: no package serves such applications.
    :raises ApplicationError: it is of another kind.
    """
    if kind is not None:
        return plugins.load(_APPLICATIONS, kind)(application)
    called = application if inspect.isroutine(application) else type(application).__call__
    if inspect.iscoroutinefunction(called):
        raise ApplicationError(f"{application!r} is asynchronous, and no WSGI application; serve it by --asgi")
    return application


def start(application: Any) -> None:
    """Call the ``startup()`` of an application that has one, before the first request.

    :raises ApplicationError: it failed.
    """
    startup = getattr(application, "startup", None)
    if startup is not None and getattr(application, "wants_request", False):
        try:
            startup()
        except RuntimeError as error:
            raise ApplicationError(f"the application did not start: {error}") from error


def end(application: Any, seconds: float) -> None:
    """Call the ``shutdown(seconds)`` of an application that has one, after the last request."""
    shutdown = getattr(application, "shutdown", None)
    if shutdown is not None and getattr(application, "wants_request", False):
        shutdown(seconds)


def _attribute(module: Any, module_name: str, attribute: str) -> Any:
    names = [attribute] if attribute else ["application", "app"]
    for candidate in names:
        found = module
        try:
            for part in candidate.split("."):
                found = getattr(found, part)
        except AttributeError:
            continue
        return found
    there = sorted(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
    where = getattr(module, "__file__", "built in")
    raise ApplicationError(
        f"the module {module_name!r} ({where}) has no {' or '.join(map(repr, names))};"
        f" callable there: {', '.join(there) or 'nothing'}"
    )
