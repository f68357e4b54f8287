"""The examples do what they show."""

from __future__ import annotations

import runpy
import socket as stdlib_socket
import subprocess
import sys
from pathlib import Path

from hubbub.lowlevel import Hub
from hubbub_net import socket
from hubbub_server import StreamServer


def demo(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the demonstration to its end."""
    return subprocess.run(
        [sys.executable, str(root / "examples" / "demo.py"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_echo(hub: Hub, root: Path) -> None:
    """The echo server sends back what it gets."""
    server = StreamServer(("127.0.0.1", 0), runpy.run_path(str(root / "examples" / "echo.py"))["echo"])
    server.start()
    try:
        with socket.create_connection(server.address) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
    finally:
        server.stop()


def test_demo(loop_name: str, root: Path) -> None:
    """The demonstration fetches every page, unharmed, on each loop."""
    done = demo(root, "--loop", loop_name, "--files", "20", "--crawlers", "10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert loop_name in done.stdout


def test_demo_port_in_use(loop_name: str, root: Path) -> None:
    """A port that is taken is named, and the exit status says that the demonstration failed."""
    with stdlib_socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(root, "--loop", loop_name, "--files", "5", "--crawlers", "2", "--port", str(port))
    assert done.returncode != 0
    assert str(port) in done.stdout + done.stderr


def test_demo_unknown_loop(root: Path) -> None:
    """An unknown loop is refused with the names of those that are installed."""
    done = demo(root, "--loop", "nosuch")
    assert done.returncode != 0
    assert "nosuch" in done.stderr
    assert "stdlib" in done.stderr
