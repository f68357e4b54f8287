"""Has the extension learn the layout of the server's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubbub.lowlevel import bound_to

from hubbub_server_speed._extension import extension

__all__ = ["usual"]


def usual(parts: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    """The class of accelerators, to be called with the server's parser of heads.

    :param parts: ``hubbub_server.acceleration.PARTS``.
    :returns: None, with a RuntimeWarning, if it was compiled for other classes than the installed hubbub-server has.
    """
    made: Callable[[Any], Any] | None = bound_to(parts, extension, "hubbub-server", "requests are served")
    return made
