"""Tells PyInstaller about this package; the entry point ``pyinstaller40`` refers to this module."""

from __future__ import annotations

import os

__all__ = ["hook_folders"]


def hook_folders() -> list[str]:
    """The folders of the hooks."""
    return [os.path.dirname(__file__)]
