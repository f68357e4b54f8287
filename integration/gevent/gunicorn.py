# /// script
# dependencies = ["gunicorn>=23", "packaging"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""gunicorn with its gevent workers: requests that overlap, and a reload under load that loses none."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import http.client
import os
import signal
import sys
from pathlib import Path

import gevent
import gevent.event
from trial.overlap import overlap
from trial.servers import HOST, answers, await_true, free_port, scratch, server

APPLICATION = """
import os, time

import gevent

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{gevent.__implementation__} {os.getpid()}".encode()]
"""


def ask(port: int, path: str = "/") -> str:
    """One request on a connection of its own."""
    client = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200, answer.status
        return answer.read().decode()
    finally:
        client.close()


def reload(port: int, master: int) -> tuple[int, set[str]]:
    """Requests without a pause while the master replaces its workers; how many, and who has answered."""
    answered: list[str] = []
    stop = gevent.event.Event()

    def client() -> None:
        while not stop.is_set():
            answered.append(ask(port))

    clients = [gevent.spawn(client) for _ in range(8)]
    gevent.sleep(0.5)
    before = set(answered)
    os.kill(master, signal.SIGHUP)
    await_true(lambda: len(set(answered) - before) >= 2, what="new workers answer")
    gevent.sleep(0.5)
    stop.set()
    gevent.joinall(clients, timeout=30, raise_error=True)
    return len(answered), set(answered)


port = free_port()
with scratch({}) as folder:
    Path(folder, "application.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", f"{HOST}:{port}", "--chdir", folder]
    with server([*command, "application:application"], lambda: answers(port), folder=folder) as master:
        # The master listens before its workers are there.
        await_true(lambda: len({ask(port) for _ in range(20)}) == 2, what="both workers answer")
        overlapping = overlap(lambda _: ask(port, "/slow"))
        assert all(answer.startswith("hubbub ") for answer in overlapping.results), overlapping.results
        count, workers = reload(port, master.pid)
assert len(workers) >= 4, workers
print(f"{overlapping}; {count} requests during a reload, none lost, {len(workers)} workers")
