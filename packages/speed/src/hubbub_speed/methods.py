"""C versions of the methods of core that run for every switch, wait, event and timer.

They take the place of the Python methods (:mod:`hubbub.acceleration`), work on the same objects and do the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from hubbub.acceleration import LAYOUT, PARTS, replace_methods

from hubbub_speed._extension import methods as extension

__all__ = ["install_methods", "uninstall_methods"]

_undo: list[Callable[[], None]] = []


def install_methods() -> bool:
    """Set the methods in C on core's classes, in this process. May be called at any time, and more than once.

    :returns: False, with a RuntimeWarning, if they were compiled for other classes than the installed core has.
    """
    if _undo:
        return True
    try:
        if (built := getattr(extension, "LAYOUT", "an older version")) != LAYOUT:
            raise TypeError(f"layout {built}, not {LAYOUT}")
        methods = extension.bind(PARTS)
    except (TypeError, AttributeError) as error:  # AttributeError: a class has not the slot that they use
        warnings.warn(
            f"the methods in hubbub-speed were compiled for other classes than the installed hubbub has ({error}): "
            "hubbub's own, in Python, stay; to have them again: pip install --upgrade --force-reinstall hubbub "
            "hubbub-speed (in a checkout: pip install -e packages/speed)",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    _undo.append(replace_methods(methods))
    return True


def uninstall_methods() -> None:
    """Put the Python methods back. Does nothing if they are in place."""
    if _undo:
        _undo.pop()()
