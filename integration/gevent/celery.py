# /// script
# dependencies = ["celery[redis]>=5.4"]
#
# [tool.hubbub]
# programs = ["redis-server"]
# debian = ["redis-server"]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""celery with its gevent pool and redis for a broker: a thousand tasks that wait, in one native thread."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from trial.servers import HOST, answers, free_port, scratch, server

TASKS = """
import os, threading, time

import gevent
from celery import Celery

url = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
app = Celery("tasks", broker=url, backend=url)

@app.task
def wait(number):
    time.sleep(0.1)
    return number, threading.get_native_id(), gevent.__implementation__
"""
COUNT = 1000

port = free_port()
with scratch({}) as folder:
    import os

    Path(folder, "tasks.py").write_text(TASKS)
    os.environ["REDIS_PORT"] = str(port)
    sys.path.insert(0, str(folder))
    redis = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    worker = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "gevent", "-c", "100", "-l", "warning"]
    with server(redis, lambda: answers(port), folder=folder):
        from celery import group
        from tasks import app, wait

        with server(worker, lambda: app.control.ping(timeout=1), folder=folder):
            begun = time.monotonic()
            found = group(wait.s(number) for number in range(COUNT))().get(timeout=90)
            took = time.monotonic() - begun
assert sorted(number for number, _, _ in found) == list(range(COUNT))
assert {name for _, _, name in found} == {"hubbub"}
threads = {thread for _, thread, _ in found}
assert len(threads) == 1, threads
assert took < COUNT * 0.1 / 4, took
print(f"{COUNT} tasks of 0.1 s each took {took:.1f} s in one native thread")
