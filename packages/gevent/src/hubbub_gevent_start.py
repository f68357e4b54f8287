"""What every interpreter runs at its start: ``hubbub_gevent.start`` names it (PEP 829, CPython 3.15), else
``hubbub_gevent.pth``.

Beside the package, so that an interpreter that does not ask for the facade imports nothing else.

PYTEST_DONT_REWRITE: it is imported before pytest, which else warns in every run that it came too late to rewrite it.
"""

import os

__all__ = ["start"]


def start() -> None:
    """Put the facade in place if ``HUBBUB_GEVENT`` asks for it: anything but nothing and ``0``."""
    if os.environ.get("HUBBUB_GEVENT", "").strip() not in ("", "0"):
        from hubbub_gevent import install

        install()
