"""The loop contract on libuv: the promises are hubbub_testkit.conformance's."""

from __future__ import annotations

import pytest
from hubbub_loop_libuv import LibuvBackend
from hubbub_testkit.conformance import LoopConformance


class TestLibuvLoop(LoopConformance):
    @pytest.fixture
    def backend_class(self) -> type[LibuvBackend]:
        return LibuvBackend
