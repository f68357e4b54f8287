# /// script
# dependencies = [
#     "flask-sock>=0.7", "flask-socketio>=5.5", "simple-websocket>=1", "websocket-client>=1.7", "requests>=2.31",
#     "wsproto>=1.2",
# ]
# ///
"""Flask-Sock, Flask-SocketIO, simple-websocket and the server's own WebSockets: twenty clients each."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import time

import simple_websocket
import socketio
from flask import Flask
from flask_sock import Sock
from flask_socketio import SocketIO, emit
from hubbub_server import WSGIServer
from trial.overlap import overlap
from websocket import create_connection

app = Flask(__name__)
sock = Sock(app)
rooms = SocketIO(app, async_mode="threading")


@sock.route("/flask-sock")
def flask_sock(connection) -> None:
    """An echo that takes its time."""
    while True:
        message = connection.receive()
        time.sleep(0.2)
        connection.send(message)


@rooms.on("say")
def say(words: str) -> None:
    """The same for Socket.IO."""
    time.sleep(0.2)
    emit("said", words)


def simple(environ):
    """The same for simple-websocket, without a framework."""
    connection = simple_websocket.Server(environ)
    try:
        while True:
            message = connection.receive()
            time.sleep(0.2)
            connection.send(message)
    except simple_websocket.ConnectionClosed:
        return []


def own(environ):
    """The same for the server's own."""
    connection = environ["hubbub.websocket"]()
    for message in connection:
        time.sleep(0.2)
        connection.send(message)
    return []


def application(environ, start_response):
    """All of them."""
    serve = {"/simple-websocket": simple, "/hubbub": own}.get(environ["PATH_INFO"])
    return app(environ, start_response) if serve is None else serve(environ)


def client(number: int, path: str) -> str:
    """One connection that says something and waits for the echo."""
    connection = create_connection(f"ws://127.0.0.1:{server.server_port}{path}", timeout=20)
    connection.send(f"client {number} " + "x" * 1000)
    said = connection.recv()
    connection.close()
    return said.split(" x")[0]


def member(number: int) -> str:
    """A client of Socket.IO."""
    with socketio.SimpleClient() as connection:
        connection.connect(f"http://127.0.0.1:{server.server_port}", transports=["websocket"])
        assert connection.transport == "websocket", connection.transport
        connection.emit("say", f"client {number}")
        event, words = connection.receive(timeout=20)
        assert event == "said"
        return str(words)


server = WSGIServer(("127.0.0.1", 0), application, log=None)
server.start()
texts = []
for path in ("/flask-sock", "/simple-websocket", "/hubbub", "socket.io"):
    done = overlap(member if path == "socket.io" else lambda number, path=path: client(number, path))
    assert done.results == [f"client {number}" for number in range(20)], (path, done.results)
    texts.append(f"{path.strip('/')}: {done.took:.2f} s")
server.stop(1)
print(f"20 echoes of 0.2 s at once, in one thread: {', '.join(texts)}")
