"""What the tests of the kit share."""

from __future__ import annotations

import pytest


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a file with the given text, in this process, with time limits and without caches."""
    monkeypatch.setenv("COLUMNS", "300")  # so that the reasons in the summary are not cut short

    def run(text, *options):
        pytester.makepyfile(test_it=text)
        pytester.makeini("[pytest]\ntimeout = 20\ntimeout_method = signal\n")
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "--tb=line", *options)

    return run
