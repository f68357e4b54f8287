"""gevent.resolver on hubbub."""

from hubbub.abc import Resolver as AbstractResolver

__all__ = ["AbstractResolver"]
