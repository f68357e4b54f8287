"""The version of a package, from the metadata of its distribution."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

__all__ = ["version_attribute"]


def version_attribute(package: str, distribution: str) -> Callable[[str], str]:
    """Make the ``__getattr__`` of a package whose ``__version__`` is read when somebody asks for it.

    :param package: its import name, for the error when it lacks another attribute.
    :param distribution: the name under which it was installed.
    :returns: a function that raises AttributeError for every other name, and
        :exc:`importlib.metadata.PackageNotFoundError` where the metadata is not installed.
    """

    def attribute(name: str) -> str:
        if name != "__version__":
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return version(distribution)

    return attribute
