"""What the tests of core share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import hubbub
import pytest
from hubbub.lowlevel import Hub


@pytest.fixture
def any_hub() -> Iterator[Hub]:
    """A fresh hub on the default loop, for what does not depend on the loop."""
    hubbub.get_hub().destroy()
    yield hubbub.get_hub()
    hubbub.get_hub().destroy()


@pytest.fixture
def no_children() -> None:
    """For what waits for any child: those that earlier tests have not waited for are gone first."""
    limit = time.monotonic() + 10
    try:
        while time.monotonic() < limit:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                time.sleep(0.01)
    except ChildProcessError:
        return
    pytest.fail("an earlier test has left a child that does not end")


@pytest.fixture
def quiet(hub: Hub) -> Hub:
    """The hub, printing no failures."""
    hub.exception_stream = None
    return hub
