"""Run by test_cpython.py: the interpreter's own tests, with what they test replaced by hubbub's.

Arguments: names for unittest. ``HUBBUB_LOOP`` chooses the loop.
"""

from __future__ import annotations

import importlib
import socket
import sys
import unittest
from typing import Any

import hubbub
from hubbub.abc import Resolver
from hubbub_net import patches


class Direct(Resolver):
    """Asks the system, in this thread: the tests count threads."""

    getaddrinfo: Any = staticmethod(socket.getaddrinfo)
    gethostbyname: Any = staticmethod(socket.gethostbyname)
    gethostbyname_ex: Any = staticmethod(socket.gethostbyname_ex)
    gethostbyaddr: Any = staticmethod(socket.gethostbyaddr)
    getnameinfo: Any = staticmethod(socket.getnameinfo)
    getfqdn: Any = staticmethod(socket.getfqdn)

    def close(self) -> None:
        """Nothing is held."""

    def reinit(self) -> None:
        """Nothing is held."""


def patch() -> None:
    """Set what the four patches say."""
    for description in (patches.socket, patches.ssl, patches.select, patches.selectors):
        for module, attributes in description.replacements().items():
            for path, value in attributes.items():
                *owners, name = path.split(".")
                owner: Any = importlib.import_module(module)
                for step in owners:
                    owner = getattr(owner, step)
                setattr(owner, name, value)


if __name__ == "__main__":
    hubbub.configure(resolver=Direct)
    hubbub.get_hub()  # now, so that its descriptors do not take numbers that a test has just closed
    patch()
    unittest.main(module=None, argv=["tests", *sys.argv[1:]])
