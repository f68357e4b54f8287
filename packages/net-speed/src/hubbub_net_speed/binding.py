"""Has the extension learn the layout of the classes of TLS."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from hubbub_net_speed._extension import extension

__all__ = ["net_methods"]


def net_methods(parts: Mapping[str, Any]) -> Mapping[tuple[type, str], Any] | None:
    """The methods in C, by the class and the name of the Python method that each takes the place of.

    :param parts: ``hubbub_net.acceleration.PARTS``.
    :returns: None, with a RuntimeWarning, if they were compiled for other classes than hubbub-net has.
    """
    try:
        if parts["layout"] != extension.LAYOUT:
            raise TypeError(f"layout {extension.LAYOUT}, not {parts['layout']}")
        return extension.bind(parts)
    except (TypeError, AttributeError) as error:  # AttributeError: a class has not the slot that is used
        warnings.warn(
            "hubbub-net-speed was compiled for other classes than the installed hubbub-net has "
            f"({error}): its TLS runs in Python; to have it in C again: pip install --upgrade --force-reinstall "
            "hubbub-net hubbub-net-speed (in a checkout: pip install -e packages/net-speed)",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
