"""gevent.libuv on hubbub."""
