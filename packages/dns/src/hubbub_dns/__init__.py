"""Resolvers for hubbub: thread, dnspython, c-ares and blocking."""

from hubbub_dns.cache import Cache, CacheStatistics, shared_cache
from hubbub_dns.records import query

__all__ = ["Cache", "CacheStatistics", "query", "shared_cache"]
