"""Has the extension learn the layout of the event loop's classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from hubbub_asyncio_speed._extension import extension

__all__ = ["asyncio_methods"]


def asyncio_methods(parts: Mapping[str, Any]) -> Mapping[tuple[type, str], Any] | None:
    """The methods in C, by the class and the name of the Python method that each takes the place of.

    :param parts: ``hubbub_asyncio.acceleration.PARTS``.
    :returns: None, with a RuntimeWarning, if they were compiled for other classes than hubbub-asyncio has.
    """
    try:
        if parts["layout"] != extension.LAYOUT:
            raise TypeError(f"layout {extension.LAYOUT}, not {parts['layout']}")
        return extension.bind(parts)
    except (TypeError, AttributeError) as error:  # AttributeError: a class has not the slot that is used
        warnings.warn(
            "hubbub-asyncio-speed was compiled for other classes than the installed hubbub-asyncio has "
            f"({error}): its event loop runs in Python; to have it in C again: pip install --upgrade --force-reinstall "
            "hubbub-asyncio hubbub-asyncio-speed (in a checkout: pip install -e packages/asyncio-speed)",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
