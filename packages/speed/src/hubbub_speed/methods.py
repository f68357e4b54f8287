"""C versions of the methods of core that run for every switch, wait, event and timer.

They take the place of the Python methods (:mod:`hubbub.acceleration`), work on the same objects and do the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from hubbub.acceleration import LAYOUT, PARTS, replace_methods

from hubbub_speed._extension import methods as extension

__all__ = ["install_methods", "uninstall_methods"]

_LAYOUT = 12
_undo: list[Callable[[], None]] = []


def install_methods() -> bool:
    """Set the methods in C on core's classes, in this process. May be called at any time, and more than once.

    :returns: False, with a RuntimeWarning, if this core is laid out for another version of hubbub-speed.
    """
    if LAYOUT != _LAYOUT:
        warnings.warn(
            f"this hubbub-speed has methods for layout {_LAYOUT} of hubbub's classes, the installed hubbub has layout "
            f"{LAYOUT}: its own methods stay; upgrade both: pip install --upgrade hubbub hubbub-speed",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    if not _undo:
        _undo.append(replace_methods(extension.bind(PARTS)))
    return True


def uninstall_methods() -> None:
    """Put the Python methods back. Does nothing if they are in place."""
    if _undo:
        _undo.pop()()
