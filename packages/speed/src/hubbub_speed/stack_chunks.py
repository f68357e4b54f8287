"""A bounded cache of the memory that CPython gives each greenlet for its Python frames.

CPython 3.11 and later has a data stack per thread, and so per greenlet, in chunks of 16 KiB, which it gets from mmap(2)
and gives back with munmap(2). That is most of the time that creating, running and dropping a greenlet takes. With the
cache installed, a freed chunk is kept for the next greenlet.
"""

from __future__ import annotations

import sys
import sysconfig
from dataclasses import dataclass

from hubbub_speed._extension import extension

__all__ = ["Statistics", "install", "statistics", "uninstall"]

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Statistics:
    """The state of the cache."""

    kept: int
    """How many bytes the cache holds now."""
    limit: int
    """How many bytes it may hold; 0 while it is not installed."""
    hits: int
    """How many chunks came from the cache since the process began."""
    misses: int
    """How many chunks had to be asked for from the system while the cache was installed."""


def install(max_bytes: int = 64 * _MEBIBYTE) -> None:
    """Install the cache in this process, or change the limit of the one that is installed.

    May be called at any time and from any thread, with greenlets alive. A forked child keeps the cache.

    :param max_bytes: how many bytes the cache may hold; chunks above that go back to the system.
    :raises ValueError: ``max_bytes`` is negative or more than 2**63 - 1.
    :raises RuntimeError: this is not CPython, or a free-threaded build of it.
    """
    if not 0 <= max_bytes < 2**63:
        raise ValueError(f"max_bytes must be from 0 to 2**63 - 1, not {max_bytes}")
    _refuse_what_is_unsafe(sys.implementation.name, bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
    extension.lib.hs_install(max_bytes)


def uninstall() -> bool:
    """Give the cache's memory back and remove the cache. Does nothing if it is not installed.

    :returns: False if another allocator has been installed over it; then the cache stays there, and keeps nothing.
    """
    return bool(extension.lib.hs_uninstall())


def statistics() -> Statistics:
    """The state of the cache now."""
    numbers = extension.ffi.new("struct hs_statistics *")
    extension.lib.hs_read_statistics(numbers)
    return Statistics(numbers.kept, numbers.limit, numbers.hits, numbers.misses)


def _refuse_what_is_unsafe(implementation: str, free_threaded: bool) -> None:
    if implementation != "cpython":
        raise RuntimeError(f"hubbub-speed speeds up CPython; this is {implementation}: uninstall hubbub-speed")
    if free_threaded:
        raise RuntimeError("hubbub-speed is not for free-threaded builds of CPython: uninstall hubbub-speed")
