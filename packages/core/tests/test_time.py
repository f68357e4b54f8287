"""The cooperative part of the time module."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

import hubbub
import pytest
from hubbub import time
from hubbub.lowlevel import Hub


def test_sleep(hub: Hub) -> None:
    """sleep lets others run and returns after its time; 0 yields once."""
    seen: list[str] = []
    other = hubbub.spawn(seen.append, "other")
    time.sleep(0)
    assert seen == ["other"]
    begun = monotonic()
    time.sleep(0.01)
    assert monotonic() - begun >= 0.0095
    other.join()


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (-1, ValueError),
        (-1e-9, ValueError),
        (-math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
        (math.inf, OverflowError),
        (1e10, OverflowError),
        (10**30, OverflowError),
    ],
)
def test_wrong_time(hub: Hub, seconds: Any, error: type[Exception]) -> None:
    """What time.sleep refuses is refused, with the same kind of error."""
    with hubbub.fail_after(5), pytest.raises(error):
        time.sleep(seconds)


def test_what_stands_for_a_number(hub: Hub) -> None:
    """An object with __index__ is a number of seconds, as for time.sleep."""

    class Zero:
        def __index__(self) -> int:
            return 0

    time.sleep(Zero())  # type: ignore[arg-type]
