"""Has the extension learn the layout of the classes of TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubbub.lowlevel import bound_to

from hubbub_net_speed._extension import extension

__all__ = ["net_methods"]


def net_methods(parts: Mapping[str, Any]) -> Mapping[tuple[type, str], Any] | None:
    """The methods in C, by the class and the name of the Python method that each takes the place of.

    :param parts: ``hubbub_net.acceleration.PARTS``.
    :returns: None, with a RuntimeWarning, if they were compiled for other classes than hubbub-net has.
    """
    methods: Mapping[tuple[type, str], Any] | None = bound_to(parts, extension, "hubbub-net", "its TLS runs")
    return methods
