"""TCP, TLS, UDP, Unix and HTTP/WSGI servers on hubbub."""

from hubbub_server.baseserver import BaseServer
from hubbub_server.datagram import DatagramServer
from hubbub_server.http.limits import Limits
from hubbub_server.stream import StreamServer
from hubbub_server.wsgi import WSGIServer

__all__ = ["BaseServer", "DatagramServer", "Limits", "StreamServer", "WSGIServer"]
