"""gevent.libev on hubbub."""
