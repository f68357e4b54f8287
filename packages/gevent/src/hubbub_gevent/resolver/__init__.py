"""gevent.resolver on hubbub."""

from hubbub_gevent.resolver._base import AbstractResolver

__all__ = ["AbstractResolver"]
