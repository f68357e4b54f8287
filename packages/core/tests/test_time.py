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
    ("seconds", "error"), [(-1, ValueError), (-1e-9, ValueError), (math.nan, ValueError), ("1", TypeError)]
)
def test_wrong_time(hub: Hub, seconds: Any, error: type[Exception]) -> None:
    """What time.sleep refuses is refused, with the same kind of error."""
    with pytest.raises(error):
        time.sleep(seconds)
