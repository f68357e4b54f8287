"""gevent._socket3 on hubbub."""

from __future__ import annotations

from hubbub_gevent.socket import SocketType, fromfd, socket, socketpair

__all__ = ["SocketType", "fromfd", "socket", "socketpair"]
