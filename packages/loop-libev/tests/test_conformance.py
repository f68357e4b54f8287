"""The loop contract on libev: the promises are hubbub_testkit.conformance's."""

from __future__ import annotations

import pytest
from hubbub_loop_libev import LibevBackend
from hubbub_testkit.conformance import LoopConformance


class TestLibevLoop(LoopConformance):
    @pytest.fixture
    def backend_class(self) -> type[LibevBackend]:
        return LibevBackend
