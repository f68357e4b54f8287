# /// script
# dependencies = ["apscheduler>=3.11,<4"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""APScheduler's gevent scheduler: an interval, a date, and jobs that wait while others run."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from itertools import pairwise

import gevent
import gevent.monkey

gevent.monkey.patch_all()

from apscheduler.schedulers.gevent import GeventScheduler

ticks: list[float] = []
threads: set[int] = set()
ended: list[int] = []


def tick() -> None:
    """Every 100 ms."""
    ticks.append(time.monotonic())
    threads.add(threading.get_native_id())


def wait(number: int) -> None:
    """A job that waits."""
    time.sleep(0.5)
    ended.append(number)


scheduler = GeventScheduler()
scheduler.add_job(tick, "interval", seconds=0.1)
for number in range(5):
    scheduler.add_job(wait, "date", run_date=datetime.now() + timedelta(seconds=0.2), args=(number,))
runner = scheduler.start()
assert isinstance(runner, gevent.Greenlet), runner
gevent.sleep(2)
scheduler.shutdown()
count = len(ticks)
gevent.sleep(0.3)
assert len(ticks) == count, "it goes on after the end"
assert 10 <= count <= 21, count
assert sorted(ended) == list(range(5)), ended
assert threads == {threading.get_native_id()}, threads
pause = max(later - earlier for earlier, later in pairwise(ticks))
assert pause < 0.5, f"jobs that wait stop others: {pause} s"
print(f"{count} ticks in 2 s beside jobs that wait, longest pause {pause * 1000:.0f} ms")
