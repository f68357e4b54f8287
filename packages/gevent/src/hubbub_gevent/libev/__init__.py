"""gevent.libev on hubbub."""

__all__: list[str] = []
