"""gevent.resolver on hubbub."""

from hubbub_gevent.resolver._base import AbstractResolver as AbstractResolver

__all__: list[str] = []
