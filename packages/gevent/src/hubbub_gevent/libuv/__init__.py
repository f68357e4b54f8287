"""gevent.libuv on hubbub."""

__all__: list[str] = []
