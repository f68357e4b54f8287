"""TCP, TLS, UDP, Unix and HTTP/WSGI servers on hubbub."""

import typing

import hubbub.lowlevel

from hubbub_server.baseserver import BaseServer
from hubbub_server.datagram import DatagramServer
from hubbub_server.http.limits import Limits
from hubbub_server.stream import StreamServer
from hubbub_server.wsgi import WSGIServer

__all__ = ["BaseServer", "DatagramServer", "Limits", "StreamServer", "WSGIServer"]

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-server")
