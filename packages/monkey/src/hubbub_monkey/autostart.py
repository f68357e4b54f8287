"""Patching at the start of the interpreter: ``HUBBUB_MONKEY=1`` in the environment, by ``hubbub_monkey.pth``.

The value ``1`` patches everything; names separated by commas, ``socket,ssl``, patch those; ``0`` or an empty value,
nothing.
"""

from __future__ import annotations

import os

__all__ = ["VARIABLE", "start"]

VARIABLE = "HUBBUB_MONKEY"


def start(value: str | None = None) -> None:
    """Patch as the environment asks.

    :param value: used in place of the variable's value.
    :raises PatchError: a name is unknown; the interpreter prints the error and goes on unpatched.
    """
    text = (os.environ.get(VARIABLE, "") if value is None else value).strip()
    if text in ("", "0"):
        return
    from hubbub_monkey.patching import patch_all, patch_module

    if text == "1":
        patch_all()
    else:
        patch_module(*(name.strip() for name in text.split(",") if name.strip()))
