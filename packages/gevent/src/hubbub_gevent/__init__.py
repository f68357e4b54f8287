"""Runs code written for gevent on hubbub."""

__all__: list[str] = []
