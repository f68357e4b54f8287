# /// script
# dependencies = ["locust>=2.32"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# seconds = 180
# ///
"""locust without its page, against a server of hubbub's: alone, and as a master with two workers."""

from __future__ import annotations

import csv
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from trial.servers import HOST, free_port, python_server, scratch

SERVER = """
import sys

from hubbub_server import WSGIServer

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

WSGIServer(("127.0.0.1", int(sys.argv[1])), application).serve_forever()
"""
USERS = """
import gevent
from locust import FastHttpUser, HttpUser, constant, events, task

assert gevent.__implementation__ == "hubbub"

class Plain(HttpUser):
    wait_time = constant(0.05)

    @task
    def hello(self):
        with self.client.get("/", catch_response=True) as answer:
            if answer.text != "hello":
                answer.failure("wrong answer")

class Fast(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def fast(self):
        with self.client.get("/fast", catch_response=True) as answer:
            if answer.text != "hello":
                answer.failure("wrong answer")
"""


def command(folder: Path, *options: str) -> list[str]:
    """A locust."""
    return [sys.executable, "-m", "locust", "-f", str(folder / "users.py"), "--headless", "-L", "WARNING", *options]


def attack(folder: Path, name: str, url: str, *options: str) -> None:
    """One run of locust to its end."""
    load = ["-H", url, "-u", "20", "-r", "20", "-t", "4s", "--csv", name, "--only-summary", "--exit-code-on-error", "1"]
    done = subprocess.run(
        command(folder, *load, *options), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def requests_of(folder: Path, name: str) -> int:
    """How many requests the run made. Each of the two users has made some, and none has failed."""
    with Path(folder, f"{name}_stats.csv").open(newline="") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert int(rows["/"]["Request Count"]) > 20, rows
    assert int(rows["/fast"]["Request Count"]) > 20, rows
    assert rows["Aggregated"]["Failure Count"] == "0", rows
    return int(rows["Aggregated"]["Request Count"])


with scratch({}) as folder, python_server(SERVER) as port:
    (folder / "users.py").write_text(USERS)
    url = f"http://{HOST}:{port}"
    attack(folder, "alone", url)
    alone = requests_of(folder, "alone")
    master = str(free_port())
    with ExitStack() as workers:
        for _ in range(2):
            join = command(folder, "--worker", "--master-host", HOST, "--master-port", master)
            worker = subprocess.Popen(join, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            workers.callback(worker.wait)
            workers.callback(worker.terminate)
        attack(folder, "together", url, "--master", "--master-bind-port", master, "--expect-workers", "2")
    together = requests_of(folder, "together")
print(f"{alone} requests alone, {together} by two workers of a master, none failed")
