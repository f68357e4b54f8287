"""Event loops with the methods in C, and with those in Python."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import hubbub
import pytest
from hubbub.running_loop import separate_running_loops
from hubbub_asyncio import acceleration


@pytest.fixture(params=["c", "python"])
def methods(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: what it says holds for both."""
    undo = separate_running_loops(asyncio.events)
    acceleration.slow_down()
    hubbub.configure(accelerators=request.param == "c")
    assert acceleration.accelerate() is (request.param == "c")
    yield request.param
    hubbub.configure(accelerators=None)
    acceleration.slow_down()
    undo()
    gc.collect()
