"""Looking into a program changes nothing: core's own tests pass while callers look into them over and over."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hubbub import plugins

HERE = Path(__file__).parent
PART = ("event", "greenlet", "local", "lock", "queue", "scope", "taskgroup", "timeout", "waitqueue", "thread")
"""In the ordinary run; ``./do stress`` takes all but those named below."""
ALL = int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) >= 1000
OUT_OF_PLACE = {
    "attached",
    "command",
    "control",
    "freed",
    "native_headers",
    "profile",
    "readme",
    "snapshot",
    "timeline",
    "top",
}
"""They look into processes themselves, run none of core, or count what is freed: a look keeps a greenlet that ends
meanwhile until it has passed it."""
BY_NATURE = (
    # They count descriptors or objects of the process, of which a caller has some.
    "descriptor_is_left",
    "destroy_closes",
    "stays_flat",
    "leak_nothing",
    "leave_nothing",
    "many_children",
    "descriptors_left",
    "nothing_is_left_behind",
    "(fileobject and bad_arguments)",
    # They count references, or look whether an object has gone at once: a look holds a greenlet until it has passed it.
    "found_without_a_trace",
    "is_freed",
    "is_collected",
    "freed_with",
    # They measure the CPU time of the process, or count the turns of its native threads.
    "poll_waits_for_a_timer",
    "releases_the_interpreter",
    # Each allocation starts the collector, so it also runs where a caller is answered, and finds objects there.
    "destructors_submit",
)
"""Tests of what a caller is a part of, as expressions of pytest's ``-k``."""
REQUESTS = (
    {"ask": "snapshot"},
    {"ask": "hubs"},
    {"ask": "profile", "seconds": 0.2, "rate": 200},
    {"ask": "about"},
    {"ask": "snapshot"},
)


class Looker:
    """Looks into a process over and over, as ``ps``, ``stacks``, ``top`` and ``flame`` do."""

    def __init__(self, folder):
        self.folder = folder
        self.answers = 0
        self.problems = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def run(self):
        while not self.ended.wait(0.01):
            for path in sorted(self.folder.iterdir()):
                with contextlib.suppress(OSError):  # that process has ended, or has not begun to listen
                    self.look(path)

    def look(self, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(path))
            lines = connection.makefile("rb")
            for request in REQUESTS:
                connection.sendall(json.dumps(request).encode() + b"\n")
                line = lines.readline()
                if line:
                    self.answers += 1
                    told = json.loads(line)
                    if "error" in told:
                        self.problems.append((told["error"], *told.get("traceback", ())))


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("loop", [name for name in ("libev", "stdlib") if name in plugins.names(plugins.LOOPS)])
def test_the_tests_of_core_pass_while_callers_look(loop, tmp_path):
    """The tests pass as ever, and every question is answered."""
    names = sorted(path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")) if ALL else PART
    files = [str(HERE / f"test_{name}.py") for name in names if name not in OUT_OF_PLACE]
    others = ["-k", f"not ({' or '.join(BY_NATURE)})"]
    folder = tmp_path / "sockets"
    folder.mkdir()
    faulthandler.cancel_dump_traceback_later()  # pytest's, for this test: each test inside has its own time limit
    with Looker(folder) as looker:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--hubbub-loop={loop}", *files, *others],
            env={**os.environ, "HUBBUB_CONTROL": f"{folder}/{{pid}}", "HUBBUB_STRESS_SEEDS": "20"},
            capture_output=True,
            text=True,
            timeout=1400,
        )
    assert done.returncode == 0, done.stdout[-5000:]
    assert looker.problems == []
    assert looker.answers > 10
