"""The watchdog that notices a blocked hub."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hubbub import sleep
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
