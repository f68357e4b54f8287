"""Has the extension learn the layout of the server's classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from hubbub_server_speed._extension import extension

__all__ = ["usual"]


def usual(parts: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """The class of accelerators, to be called with the server's parser of heads.

    :param parts: ``hubbub_server.acceleration.PARTS``.
    :returns: None, with a RuntimeWarning, if it was compiled for other classes than the installed hubbub-server has.
    """
    try:
        if parts["layout"] != extension.LAYOUT:
            raise TypeError(f"layout {extension.LAYOUT}, not {parts['layout']}")
        return extension.bind(parts)
    except (TypeError, AttributeError) as error:  # AttributeError: a class has not the slot that is used
        warnings.warn(
            f"hubbub-server-speed was compiled for other classes than the installed hubbub-server has ({error}): "
            "requests are served in Python; to have them served in C again: pip install --upgrade --force-reinstall "
            "hubbub-server hubbub-server-speed (in a checkout: pip install -e packages/server-speed)",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
