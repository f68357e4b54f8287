"""For packages that have an accelerator: what it has in C, where it is found, and how it is put in place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from hubbub import plugins
from hubbub._config import accelerated_too, accelerators_wanted
from hubbub._current import all_hubs
from hubbub._twins import Marks
from hubbub.exceptions import PluginUnavailable

__all__ = ["Twins", "bound_to"]

_Marked = TypeVar("_Marked", bound=Callable[..., Any])


class Twins(Marks):
    """The methods of a package that have a twin in C in another package, its accelerator.

    The methods in Python are the reference: one in C works on the same objects and does the same, so it may be set in
    their place at any time. The accelerator is found by the entry point ``methods`` of a group. That names a function,
    which is called with :attr:`parts` and returns the methods by class and name, or None if it has nothing for them.

    :param group: the entry-point group.
    :param layout: the version of the attributes, and of what the methods promise one another. An accelerator that was
        made for another one refuses: see :func:`bound_to`.
    """

    def __init__(self, group: str, layout: int) -> None:
        super().__init__()
        self.parts: Final[dict[str, Any]] = {"layout": layout}
        """The classes, functions and numbers that the accelerator knows, by name."""
        self._group = group
        self._in_python: dict[tuple[type, str], Any] = {}
        self._sought = False

    def known_to_c(self, thing: _Marked) -> _Marked:
        """Mark a class whose slots C reads or writes in place, or a function that C calls."""
        self.parts[thing.__name__] = thing
        return super().known_to_c(thing)

    def accelerate(self) -> bool:
        """Set the methods in C, if they are installed and wanted (``HUBBUB_ACCELERATORS``). Looks for them once.

        :returns: whether they are set.
        :raises ImportError: they are installed but broken.
        """
        if not self._sought and accelerators_wanted():
            methods = self._found()
            self._sought = True
            for (cls, name), method in methods.items():
                before = cls.__dict__[name]
                if before is not method:  # else another thread has set it just now
                    self._in_python[cls, name] = before
                    setattr(cls, name, method)
        return bool(self._in_python)

    def accelerate_with_hubs(self) -> None:
        """Have :meth:`accelerate` called before each hub is made, and now if there are hubs.

        So no later call imports anything, which could wait for the import of another thread.
        """
        accelerated_too.append(self.accelerate)
        if all_hubs:
            self.accelerate()

    def _found(self) -> Mapping[tuple[type, str], Any]:
        if "methods" not in plugins.names(self._group):
            return {}
        try:
            bind = plugins.load(self._group, "methods")
        except PluginUnavailable:
            return {}  # there are none for this Python, by design
        return bind(self.parts) or {}

    def slow_down(self) -> None:
        """Set the methods in Python again, until :meth:`accelerate` is called. For tests."""
        self._sought = False
        while self._in_python:
            (cls, name), method = self._in_python.popitem()
            setattr(cls, name, method)


def bound_to(parts: Mapping[str, Any], extension: Any, package: str, instead: str) -> Any:
    """What the compiled module of an accelerator makes of the parts of a package, if it was compiled for its layout.

    :param parts: with their version as ``layout``.
    :param extension: has the version as ``LAYOUT``, and ``bind(parts)``, which raises TypeError or AttributeError where
        the parts are not as it expects.
    :param package: the distribution whose accelerator it is, such as ``hubbub-net`` of ``hubbub-net-speed``.
    :param instead: what happens without it, for the warning.
    :returns: None, with a RuntimeWarning, if it was compiled for other parts.
    """
    try:
        if parts["layout"] != extension.LAYOUT:
            raise TypeError(f"layout {extension.LAYOUT}, not {parts['layout']}")
        return extension.bind(parts)
    except (TypeError, AttributeError) as error:  # AttributeError: a class has not the slot that is used
        folder = package.removeprefix("hubbub-")
        warnings.warn(
            f"{package}-speed was compiled for other classes than the installed {package} has ({error}): {instead} in "
            f"Python; to have that in C again: pip install --upgrade --force-reinstall {package} {package}-speed "
            f"(in a checkout: pip install -e packages/{folder}-speed)",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
