"""The watchdog that notices a blocked hub."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import hubbub
import pytest
from hubbub import sleep, spawn
from hubbub.monitor import BlockingDetector


def hog(found: threading.Event) -> None:
    end = time.monotonic() + 10
    while not found.is_set() and time.monotonic() < end:
        pass


def test_a_blocking_call_is_reported_with_its_stack(hub):
    """What keeps the hub from polling is reported once, with the stack of the culprit."""
    reports, found = [], threading.Event()

    def report(blocking):
        reports.append(blocking)
        found.set()

    with BlockingDetector(0.02, report):
        sleep(0)
        hog(found)
        sleep(0)
    assert len(reports) == 1
    assert reports[0].hub is hub
    assert reports[0].seconds >= 0.02
    assert any("hog" in entry for entry in reports[0].stack)


def test_waiting_is_not_blocking(hub):
    """A hub that waits for events is left in peace."""
    reports = []
    with BlockingDetector(0.01, reports.append):
        sleep(0.08)
    assert reports == []


def test_the_default_report_goes_to_the_exception_stream(hub):
    """Without a function of the user's the report is written where failures are."""
    found = threading.Event()

    class Stream(io.StringIO):
        def write(self, text):
            found.set()
            return super().write(text)

    hub.exception_stream = Stream()
    with BlockingDetector(0.02):
        sleep(0)
        hog(found)
    assert "has not polled" in hub.exception_stream.getvalue()


def test_bad_limits_are_refused(hub):
    """A limit of nothing is an error at the door."""
    with pytest.raises(ValueError, match="more than 0"):
        BlockingDetector(0)


def test_the_report_names_greenlet_line_and_system_call(hub):
    """A report says which greenlet ran which line, and on Linux which system call it was in."""
    reports, found = [], threading.Event()

    def report(blocking):
        reports.append(blocking)
        found.set()

    def sleeper():
        time.sleep(0.3)

    with BlockingDetector(0.02, report):
        culprit = spawn(sleeper)
        culprit.join()
    assert found.is_set()
    (blocking,) = reports
    assert blocking.greenlet == culprit.name
    assert blocking.line.endswith(" sleeper")
    if sys.platform == "linux":
        assert "system call" in blocking.native
    assert f"{culprit.name} runs {blocking.line}" in str(blocking)


def test_reports_are_limited(hub):
    """Stretches that come too soon after a report are counted, and the next report tells how many."""
    reports = []
    detector = BlockingDetector(0.01, reports.append, interval=3600)
    detector._noticed(1.0)
    detector._noticed(1.0)
    detector._noticed(1.0)
    assert [found.skipped for found in reports] == [0]
    detector.interval = 0
    detector._noticed(1.0)
    assert [found.skipped for found in reports] == [0, 2]
    assert "2 more" in str(reports[-1])
    with pytest.raises(ValueError, match="interval"):
        BlockingDetector(1, interval=-1)


def test_a_deadlock_is_seen_beside_a_watchdog(hub):
    """The watchdog's thread wakes nobody: what waits for ever gets its LoopExit."""
    with BlockingDetector(1), pytest.raises(hubbub.LoopExit):
        hubbub.Event().wait()


@pytest.mark.parametrize(
    ("value", "says"), [("0.02", "sleeper"), ("soon", "HUBBUB_BLOCKING=soon"), ("-1", "more than")]
)
def test_the_variable(value, says):
    """HUBBUB_BLOCKING watches every hub without any code; a value that is none is reported, and changes nothing."""
    code = (
        "import hubbub, time\ndef sleeper(): time.sleep(0.3)\nhubbub.spawn(sleeper).join()\n"
        "print('went on')\nhubbub.get_hub().destroy()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HUBBUB_BLOCKING": value},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert says in done.stderr
    assert done.stdout == "went on\n"


def test_c_code_that_keeps_the_gil():
    """If C code keeps the GIL no watchdog can run; faulthandler then writes the stacks of all native threads."""
    code = (
        "import ctypes, hubbub\ndef stuck(): ctypes.PyDLL(None).sleep(3)\nhubbub.sleep(0.3)\nhubbub.spawn(stuck).join()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HUBBUB_BLOCKING": "0.1"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "Timeout (0:00:02" in done.stderr
    assert "in stuck" in done.stderr
