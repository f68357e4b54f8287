"""A server is stopped by a signal handler, which waits for what is being served."""

from __future__ import annotations

import os
import signal
import socket as plain
from typing import Any

import hubbub
import pytest
from hubbub import Event, sleep
from hubbub.lowlevel import Hub
from hubbub_server import StreamServer


@pytest.mark.parametrize("where", ["hub", "main greenlet"])
def test_stop_in_a_handler_of_sigterm(hub: Hub, where: str) -> None:
    """``server.stop()`` in a handler of SIGTERM lets connections be served to the end, whoever it has interrupted."""
    begun, seen = Event(), []

    def serve(sock: Any, address: Any) -> None:
        begun.set()
        sleep(0.02)
        sock.sendall(b"done")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    before = signal.signal(signal.SIGTERM, lambda *_: (server.stop(timeout=10), seen.append("stopped")))
    try:
        with plain.create_connection(("127.0.0.1", server.server_port)) as client, hubbub.Timeout(20):
            begun.wait()
            if where == "hub":
                hub.loop.run_callback(os.kill, os.getpid(), signal.SIGTERM)
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            while not seen:
                sleep(0.001)
            client.settimeout(5)
            assert client.recv(10) == b"done"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not server.started
