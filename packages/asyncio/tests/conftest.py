"""What the tests of this package share."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hubbub.running_loop import separate_running_loops


@pytest.fixture(autouse=True)
def nothing_left():
    """Running loops are separate for the test only; what a test leaves is collected, and warned of, in that test."""
    undo = separate_running_loops(asyncio.events)
    yield
    undo()
    gc.collect()
    assert asyncio._get_running_loop() is None
