"""The programs of the tutorial, and those of the page on porting, which all print the same."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HERE = "127.0.0.1"
PYTHON = [sys.executable]


def completed(*command: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A program that has ended by itself."""
    words = [str(word) for word in command]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(words, capture_output=True, text=True, timeout=150, cwd=folder, env=environment)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of files, in a thread of this process."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]  # as the server calls it

        def log_message(self, *args: object) -> None:
            """Nothing is said."""

    with http.server.ThreadingHTTPServer((HERE, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HERE}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_crawler(root: Path, tmp_path: Path) -> None:
    """The crawler finds every page of a site once, and names the links that lead nowhere."""
    for number in range(20):
        links = (
            f'<a href="{number + 1}.html">next</a> <a href="0.html#top">first</a> <a href="http://x.test/">other</a>'
        )
        (tmp_path / f"{number}.html").write_text(links)
    (tmp_path / "index.html").write_text('<a href="0.html">0</a>')
    with served(tmp_path) as start:
        done = completed(*PYTHON, root / "examples" / "tutorial" / "crawler.py", start)
    assert done.stdout == f"22 pages, 1 broken\n{start}20.html: HTTP Error 404: File not found\n", done.stderr
    assert done.returncode == 1


def test_site(root: Path, tmp_path: Path) -> None:
    """The test of the tutorial's web application passes, patched."""
    for name in ("site_app.py", "test_site_app.py"):
        shutil.copy(root / "examples" / "tutorial" / name, tmp_path)
    done = completed(*PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hubbub-monkey", ".", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("asyncio_before", []),
        ("gevent_before", ["-m", "hubbub_gevent"]),
        ("hubbub_after", []),
        ("pool_after", []),
        ("threads_before", []),
        ("threads_before", ["-m", "hubbub_monkey"]),
    ],
)
def test_before_and_after(root: Path, name: str, options: list[str]) -> None:
    """Before and after porting the program prints what servers say, and why others say nothing."""
    with ExitStack() as stack:
        addresses = []
        for number in range(3):
            listener = stack.enter_context(socket.create_server((HERE, 0)))
            threading.Thread(target=greet, args=(listener, number), daemon=True).start()
            addresses.append(f"{HERE}:{listener.getsockname()[1]}")
        free = stack.enter_context(socket.socket())
        free.bind((HERE, 0))  # nobody listens there
        addresses.append(f"{HERE}:{free.getsockname()[1]}")
        done = completed(*PYTHON, *options, root / "examples" / "porting" / f"{name}.py", *addresses)
    expected = ["220 server 0", "220 server 1", "220 server 2", "ConnectionRefusedError"]
    assert done.stdout.splitlines() == [f"{a} {said}" for a, said in zip(addresses, expected, strict=True)], done.stderr


def greet(listener: socket.socket, number: int) -> None:
    """Say something to the first client."""
    sock, _ = listener.accept()
    with sock:
        sock.sendall(b"220 server %d\r\n" % number)


def test_all_programs_are_shown(root: Path) -> None:
    """Every program of the two folders is on its page."""
    for folder, page in (("tutorial", "tutorial.md"), ("porting", "porting.md")):
        text = (root / "docs" / page).read_text()
        for path in (root / "examples" / folder).glob("*.py"):
            compile(path.read_text(), path, "exec")
            assert f"{folder}/{path.name}" in text, path.name
