# /// script
# dependencies = ["gevent-websocket>=0.10", "websocket-client>=1.7"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""gevent-websocket's handler on pywsgi: twenty clients get their echo, and plain requests their answer."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import time
import urllib.request

from gevent.pywsgi import WSGIServer
from geventwebsocket.handler import WebSocketHandler
from trial.overlap import overlap
from websocket import create_connection


def application(environ, start_response):
    """An echo for web sockets, a greeting for others."""
    socket = environ.get("wsgi.websocket")
    if socket is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
    while (message := socket.receive()) is not None:
        time.sleep(0.2)
        socket.send(message)
    return []


def client(number: int) -> str:
    """One connection that says something and waits for the echo."""
    connection = create_connection(f"ws://127.0.0.1:{server.server_port}/", timeout=20)
    connection.send(f"client {number} " + "x" * 1000)
    answer = connection.recv()
    connection.close()
    return answer.split(" x")[0]


server = WSGIServer(("127.0.0.1", 0), application, handler_class=WebSocketHandler, log=None)
server.start()
done = overlap(client)
assert done.results == [f"client {number}" for number in range(20)], done.results
with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=20) as answer:
    assert answer.read() == b"hello"
server.stop()
print(f"web sockets: {done}")
