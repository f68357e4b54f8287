"""What the tests of core share."""

from __future__ import annotations

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
