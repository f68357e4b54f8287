"""Process-wide settings: what ``configure`` was given, else what the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

from hubbub import plugins
from hubbub._arguments import whole_number
from hubbub.abc import Backend, Loop, Resolver
from hubbub.exceptions import PluginUnavailable

__all__ = [
    "accelerate",
    "accelerated_too",
    "accelerators_wanted",
    "configure",
    "loop_class",
    "resolver_class",
    "setting",
]

LOOP_ORDER = ("libev", "libuv", "stdlib")
"""The loop that is used when none was chosen: the first of these that is installed, and made for this Python."""

RESOLVER_ORDER = ("thread", "pool")
"""The resolver that is used when none was chosen: the first of these that is installed."""


@dataclass
class _Settings:
    loop: str | type[Backend] | type[Loop] | None = None
    resolver: str | type[Resolver] | None = None
    accelerators: bool | None = None
    threadpool_size: int | None = None


_settings = _Settings()
_UNCHANGED: Any = object()
_accelerated: list[str] = []
accelerated_too: list[Callable[[], object]] = []
"""What :func:`accelerate` calls besides: it puts the accelerators of other packages in place."""


def configure(
    *,
    loop: str | type[Loop] | None = _UNCHANGED,
    resolver: str | type[Resolver] | None = _UNCHANGED,
    accelerators: bool | None = _UNCHANGED,
    threadpool_size: int | None = _UNCHANGED,
) -> None:
    """Choose what hubs that are created from now on use.

    An argument that is left out changes nothing; None goes back to the environment's choice.

    :param loop: a name in the entry-point group ``hubbub.loops`` (``HUBBUB_LOOP``), or a class of
        :class:`hubbub.abc.Backend`.
    :param resolver: a name in ``hubbub.resolvers`` (``HUBBUB_RESOLVER``), or a Resolver class.
    :param accelerators: whether installed accelerators are used (``HUBBUB_ACCELERATORS``, 0 or 1); default yes.
    :param threadpool_size: how many threads a hub's pool may have (``HUBBUB_THREADPOOL_SIZE``); default 10.
    :raises TypeError: a value of the wrong type.
    :raises ValueError: ``threadpool_size`` is less than 1.
    :raises PluginError: an unknown name.
    """
    given = {
        "loop": loop,
        "resolver": resolver,
        "accelerators": accelerators,
        "threadpool_size": threadpool_size,
    }
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not _UNCHANGED}
    _check(settings)
    for name, group in (("loop", plugins.LOOPS), ("resolver", plugins.RESOLVERS)):
        if isinstance(settings.get(name), str):
            plugins.load(group, settings[name])
    for name, value in settings.items():
        setattr(_settings, name, value)


def _check(settings: dict[str, Any]) -> None:
    for name in ("loop", "resolver"):
        choice = settings.get(name)
        if not (choice is None or isinstance(choice, (str, type))):
            raise TypeError(f"{name} must be a name or a class, not {choice!r}")
    if not isinstance(settings.get("accelerators"), (bool, NoneType)):
        raise TypeError(f"accelerators must be True, False or None, not {settings['accelerators']!r}")
    if settings.get("threadpool_size") is not None:
        whole_number(settings["threadpool_size"], "threadpool_size", 1)


def setting(name: str, default: str) -> str:
    """A setting as text: configured, or from ``HUBBUB_<NAME>``, or the default."""
    value = getattr(_settings, name)
    return str(value) if value is not None else os.environ.get(f"HUBBUB_{name.upper()}") or default


def loop_class(choice: str | type[Backend] | type[Loop] | None = None) -> type[Backend] | type[Loop]:
    """The class to use: a class of backends, or of loops that make their own backend.

    :raises PluginError: the name is not installed.
    :raises ImportError: the package is installed but broken: there is no silent fall-back.
    """
    choice = choice or _settings.loop or os.environ.get("HUBBUB_LOOP") or _first_available_loop()
    if isinstance(choice, str):
        loaded: type[Backend] = plugins.load(plugins.LOOPS, choice)
        return loaded
    return choice


def resolver_class() -> type[Resolver]:
    """The resolver class to use: the one chosen, else ``thread`` of hubbub-dns, else ``pool``, which is core's own.

    :raises PluginError: the name is not installed.
    :raises ImportError: the package is installed but broken.
    """
    choice = _settings.resolver or os.environ.get("HUBBUB_RESOLVER") or _first_available_resolver()
    if isinstance(choice, str):
        loaded: type[Resolver] = plugins.load(plugins.RESOLVERS, choice)
        return loaded
    return choice


def _first_available_resolver() -> str:
    *better, last = RESOLVER_ORDER
    installed = plugins.names(plugins.RESOLVERS)
    return next((name for name in better if name in installed), last)


def _first_available_loop() -> str | type[Backend]:
    *better, last = LOOP_ORDER
    installed = plugins.names(plugins.LOOPS)
    for name in better:
        if name in installed:
            try:
                loaded: type[Backend] = plugins.load(plugins.LOOPS, name)
            except PluginUnavailable:
                continue  # there is none for this Python: hubbub has warned of that when it was imported
            return loaded
    return last


def accelerators_wanted() -> bool:
    """Whether installed accelerators are to be used, of core and of other packages."""
    return setting("accelerators", "1") not in ("0", "False")


def accelerate() -> None:
    """Put the configured accelerators in place. Who makes a hub calls this first."""
    if not _accelerated and accelerators_wanted():
        for name in plugins.names(plugins.ACCELERATORS):
            try:
                install = plugins.load(plugins.ACCELERATORS, name)
            except PluginUnavailable:
                continue  # as above
            install()
            _accelerated.append(name)
    for others in accelerated_too:
        others()
