"""Runs code written for gevent on hubbub."""

from hubbub_gevent.installing import RealGeventImported, install, is_installed

__all__ = ["RealGeventImported", "install", "is_installed"]
