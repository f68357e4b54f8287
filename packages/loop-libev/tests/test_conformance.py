"""The loop contract on libev: the promises are hubbub_testkit.conformance's."""

from __future__ import annotations

import pytest
from hubbub_loop_libev import LibevLoop
from hubbub_testkit.conformance import LoopConformance


class TestLibevLoop(LoopConformance):
    @pytest.fixture
    def loop_class(self) -> type[LibevLoop]:
        return LibevLoop
