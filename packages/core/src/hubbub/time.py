"""The cooperative part of :mod:`time`."""

from __future__ import annotations

from hubbub.hub import sleep

__all__ = ["sleep"]
