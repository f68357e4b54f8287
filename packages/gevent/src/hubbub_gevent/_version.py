"""The version of the facade. Every interpreter that HUBBUB_GEVENT is set for loads this module: it imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False  # not imported from typing, whose import takes long


def attribute(name: str) -> str:
    """``__getattr__`` of the package: ``__version__``, from the metadata of the distribution."""
    from hubbub.lowlevel import version_attribute  # takes long

    return version_attribute("hubbub_gevent", "hubbub-gevent")(name)
