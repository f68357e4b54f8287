# /// script
# dependencies = ["redis>=6"]
#
# [tool.hubbub]
# programs = ["redis-server"]
# debian = ["redis-server"]
# ///
"""examples/redis_workers.py: a hundred jobs for twenty workers, one of them left over by a process that has died."""

import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis
from trial.servers import HOST, answers, await_true, free_port, scratch, server

EXAMPLE = Path(__file__).parents[2] / "examples" / "redis_workers.py"


class Page(BaseHTTPRequestHandler):
    """A page of 100 bytes."""

    def do_GET(self) -> None:
        """Send it."""
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(bytes(100))

    def log_message(self, *args: object) -> None:
        """Be quiet."""


pages = ThreadingHTTPServer((HOST, 0), Page)
threading.Thread(target=pages.serve_forever, daemon=True).start()
jobs = [f"http://{HOST}:{pages.server_port}/{number}" for number in range(100)]
port = free_port()
command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
with scratch({}) as folder, server(command, lambda: answers(port), folder=folder):
    client = redis.Redis(HOST, port, decode_responses=True)
    client.rpush("running", jobs[0])
    client.rpush("jobs", *jobs[1:], "nonsense")
    workers = [sys.executable, "-m", "hubbub_monkey", EXAMPLE, "--redis", f"redis://{HOST}:{port}/0"]
    with server(workers, lambda: client.hlen("sizes") == 101, folder=folder, stop=signal.SIGINT) as process:
        sizes = client.hgetall("sizes")
        assert {sizes[job] for job in jobs} == {"100"}, sizes
        assert sizes["nonsense"].startswith("ValueError"), sizes
        await_true(lambda: client.llen("running") == 0, what="no job is left")
    assert process.returncode == 0, process.returncode
    client.close()
print("100 jobs done by greenlets, one taken over, a bad one told; Ctrl-C ends after the jobs")
