"""Resolvers for hubbub: thread, dnspython, c-ares and blocking."""

import typing

import hubbub.lowlevel

from hubbub_dns.cache import Cache, CacheStatistics, shared_cache
from hubbub_dns.records import query

__all__ = ["Cache", "CacheStatistics", "query", "shared_cache"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-dns")
