"""What PyInstaller has to know: its entry point ``pyinstaller40`` leads here."""

from __future__ import annotations

import os

__all__ = ["hook_folders"]


def hook_folders() -> list[str]:
    """Where the hooks are."""
    return [os.path.dirname(__file__)]
