# /// script
# dependencies = ["flask-socketio>=5.5", "simple-websocket>=1", "websocket-client>=1.7", "requests>=2.31"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""Flask-SocketIO on pywsgi, in its gevent mode: twenty clients over WebSocket and polling get their echo."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import socketio
from flask import Flask
from flask_socketio import SocketIO, emit
from trial.overlap import overlap
from trial.servers import HOST, answers, await_true, free_port

app = Flask(__name__)
server = SocketIO(app, async_mode="gevent")


@server.on("say")
def say(words: str) -> None:
    """The echo."""
    server.sleep(0.2)
    emit("said", words)


def client(number: int, transport: str) -> str:
    """Connect, say something, and wait for the echo."""
    with socketio.SimpleClient() as connection:
        connection.connect(f"http://{HOST}:{port}", transports=[transport])
        assert connection.transport == transport, connection.transport
        connection.emit("say", f"{transport} {number}")
        event, words = connection.receive(timeout=20)
        assert event == "said"
        return str(words)


port = free_port()
gevent.spawn(server.run, app, host=HOST, port=port)
await_true(lambda: answers(port))
assert server.server.eio.async_mode == "gevent"
for transport in ("websocket", "polling"):
    done = overlap(lambda number, transport=transport: client(number, transport))
    assert done.results == [f"{transport} {number}" for number in range(20)], done.results
print(f"websocket and polling: {done}")
