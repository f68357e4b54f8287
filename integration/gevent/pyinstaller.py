# /// script
# dependencies = ["pyinstaller>=6.11", "pycares>=5,<6"]
#
# [tool.hubbub]
# seconds = 300
# ///
"""A program that imports gevent, frozen by PyInstaller: an echo server on native loops, with look-ups by c-ares."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from trial.servers import scratch

ECHO = """
import gevent.monkey

gevent.monkey.patch_all()

import socket
import gevent
from gevent.server import StreamServer

def echo(connection, address):
    for line in connection.makefile("rb"):
        connection.sendall(line.upper())

server = StreamServer(("127.0.0.1", 0), echo)
server.start()
hub = gevent.get_hub()
found = socket.getaddrinfo("localhost", server.server_port, socket.AF_INET)[0][4][0]
words = server.server_port, type(hub.loop).name, type(hub.resolver).__module__, found, gevent.__implementation__
print(*words, flush=True)
server.serve_forever()
"""
INSTALLED = "import hubbub_gevent\nhubbub_gevent.install()\n"


def freeze(folder: Path, name: str, source: str, *options: str) -> Path:
    """Freezes a program; its file."""
    script = folder / f"{name}.py"
    script.write_text(source)
    places = [f"--{place}path={folder / place}" for place in ("work", "dist", "spec")]
    command = [
        sys.executable,
        "-m",
        "PyInstaller",
        "--log-level",
        "WARN",
        "--noconfirm",
        *options,
        *places,
        str(script),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist" / name / name


def ask(program: Path, loop: str, **environment: str) -> str:
    """What the server says of itself after it has answered."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HUBBUB", "GEVENT"))}
    variables = plain | {"HUBBUB_LOOP": loop, "GEVENT_RESOLVER": "ares"} | environment
    with subprocess.Popen(
        [program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables
    ) as server:
        try:
            port, _, said = server.stdout.readline().partition(" ")
            with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as client:
                client.sendall(b"frozen\n")
                assert client.recv(100) == b"FROZEN\n"
        finally:
            server.kill()
            rest = server.stdout.read()
    assert not rest, rest
    return said.strip()


with scratch({}) as folder:
    installed = freeze(folder, "installed", INSTALLED + ECHO)
    # As it is: the facade is put in place by the environment variable.
    unchanged = freeze(folder, "unchanged", ECHO, "--hidden-import", "hubbub_gevent")
    for loop in ("libev", "libuv"):
        expected = f"{loop} gevent.resolver.ares 127.0.0.1 hubbub"
        assert ask(installed, loop) == expected
        assert ask(unchanged, loop, HUBBUB_GEVENT="1") == expected
print("two echo servers, frozen, on libev and libuv with c-ares")
