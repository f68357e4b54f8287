"""Runs code written for gevent on hubbub."""

from hubbub_gevent._version import TYPE_CHECKING, attribute
from hubbub_gevent.installing import RealGeventImported, install, is_installed

__all__ = ["RealGeventImported", "install", "is_installed"]

__version__: str
if not TYPE_CHECKING:
    __getattr__ = attribute
