"""Errors and warnings of patching. This module imports nothing of hubbub."""

from __future__ import annotations

__all__ = ["PatchError", "PatchWarning", "Veto"]


class PatchError(RuntimeError):
    """Patching is impossible as asked; nothing was changed."""


class PatchWarning(RuntimeWarning):
    """Patching was done, and something will not work as hoped."""


class Veto(Exception):
    """Raised by a subscriber (see :mod:`hubbub_monkey.events`) to leave a module unpatched."""
