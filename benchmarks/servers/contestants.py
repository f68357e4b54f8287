"""The servers that are compared, each a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVE = Path(__file__).with_name("serve.py")
IN_C = {"bjoern", "fastwsgi"}
"""Servers that answer one request after the other, whatever it waits for."""
WITH_WORKER = {"gunicorn_gevent", "gunicorn_gthread"}
"""Those whose work is done in a child process."""


@dataclass(frozen=True)
class Contestant:
    """A library, in the environment of one interpreter."""

    server: str
    python: str
    loop: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.server} {self.loop}".strip()

    @contextmanager
    def running(self, program: str, *options: str) -> Iterator[Server]:
        """The server, until the block ends."""
        settings = {"HUBBUB_LOOP": self.loop} if self.loop else {}
        process = subprocess.Popen(
            [self.python, str(SERVE), self.server, program, *options],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Server(process, self.server)
        finally:
            if self.server in IN_C:
                process.kill()  # while they wait they keep the GIL, so that no thread of theirs sees the end of input
            process.communicate(timeout=30)


class Server:
    """A running contestant."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._name = name
        self.port = int(self._read())
        self._await_listener()

    def _await_listener(self) -> None:
        """Some say their port before they listen."""
        for _ in range(500):
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"nothing listens on port {self.port}")

    def _read(self) -> Any:
        assert self._process.stdout is not None  # it was asked for
        return json.loads(self._process.stdout.readline())

    def usage(self) -> dict[str, float]:
        """What it has used so far: ``cpu`` and ``kernel`` in seconds, ``memory`` in bytes.

        Of a server that cannot be asked, or has a worker, it is the kernel's count, in hundredths of a second.
        """
        pid = self._process.pid
        if self._name in WITH_WORKER:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        if self._name in IN_C | WITH_WORKER:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user, kernel = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
            return {"cpu": user + kernel, "kernel": kernel, "memory": int(fields[21]) * os.sysconf("SC_PAGE_SIZE")}
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        used: dict[str, float] = self._read()
        return used
