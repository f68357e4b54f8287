"""gevent._socket3 on hubbub."""

from __future__ import annotations

from hubbub_net.socket import socket

from hubbub_gevent.socket import SocketType, fromfd, socketpair

__all__ = ["SocketType", "fromfd", "socket", "socketpair"]
