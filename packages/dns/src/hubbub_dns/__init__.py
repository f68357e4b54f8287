"""Resolvers for hubbub: thread, dnspython, c-ares and blocking."""

__all__: list[str] = []
