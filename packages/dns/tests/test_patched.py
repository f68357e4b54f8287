"""The resolvers in a program whose standard library is patched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hubbub_monkey
hubbub_monkey.patch_all()
import socket, sys, threading
import hubbub
from hubbub import plugins

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))

def serve():
    while True:
        query, peer = server.recvfrom(512)
        end = query.index(b"\\0", 12) + 5
        record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4\\xc0\\0\\2\\1"
        server.sendto(query[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + query[12:end] + record, peer)

kind = sys.argv[1]
cls = plugins.load(plugins.RESOLVERS, kind)
asking = kind in ("dnspython", "ares")
resolver = cls([server.getsockname()], cache=None) if asking else cls()
hubbub.get_hub().resolver = resolver
threading.Thread(target=serve, daemon=True).start()
name = "www.test" if asking else "localhost"
found = []
threads = [threading.Thread(target=lambda: found.append(socket.gethostbyname(name))) for _ in range(10)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(set(found))
resolver.close()
print(socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4])
"""


@pytest.mark.parametrize("kind", ["thread", "dnspython", "ares", "block"])
def test_patched(loop_name: str, kind: str) -> None:
    """With everything patched before a resolver is loaded, patched socket functions and threads get their answers."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind],
        env=os.environ | {"HUBBUB_LOOP": loop_name},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    address = "192.0.2.1" if kind in ("dnspython", "ares") else "127.0.0.1"
    assert done.stdout.splitlines() == [f"{{'{address}'}}", f"('{address}', 80)"], done.stderr
