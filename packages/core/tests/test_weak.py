"""Hubs and pools are counted by some threads while others make and end them."""

import sys
import threading

import hubbub
from hubbub._weak import snapshot
from hubbub._workers import threads_at_work
from hubbub.lowlevel import hubs


def test_counting_while_others_change(hub):
    """hubs() and threads_at_work() never fail because another thread makes or ends a hub or pool meanwhile."""
    stop, errors = threading.Event(), []

    def look():
        try:
            while not stop.is_set():
                hubs()
                threads_at_work()
        except RuntimeError as error:
            errors.append(error)

    def make():
        for _ in range(40):
            thread = threading.Thread(target=lambda: hubbub.get_hub().threadpool)
            thread.start()
            thread.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        makers = [threading.Thread(target=make) for _ in range(3)]
        lookers = [threading.Thread(target=look) for _ in range(2)]
        for thread in makers + lookers:
            thread.start()
        for thread in makers:
            thread.join()
        stop.set()
        for thread in lookers:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []


def test_snapshot_starts_over():
    """A change during the iteration makes a snapshot begin anew."""
    attempts = []

    def items():
        attempts.append(1)
        yield 1
        if len(attempts) < 3:
            raise RuntimeError("Set changed size during iteration")
        yield 2

    assert snapshot(items) == [1, 2]
    assert len(attempts) == 3
