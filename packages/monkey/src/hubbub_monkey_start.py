"""What every interpreter runs at its start: ``hubbub_monkey.start`` names it (PEP 829, CPython 3.15), else
``hubbub_monkey.pth``.

Beside the package, because importing that takes longer than starting the interpreter.

PYTEST_DONT_REWRITE: it is imported before pytest, which else warns in every run that it came too late to rewrite it.
"""

import os

__all__ = ["start"]


def start() -> None:
    """Patch if ``HUBBUB_MONKEY`` asks for it; see :mod:`hubbub_monkey.autostart`."""
    if os.environ.get("HUBBUB_MONKEY", "").strip() not in ("", "0"):
        from hubbub_monkey import autostart

        autostart.start()
