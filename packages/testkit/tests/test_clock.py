"""The loop with the jumping clock."""

from __future__ import annotations

import pytest
from hubbub_testkit.clock import VirtualClockLoop
from hubbub_testkit.conformance import LoopConformance


class TestVirtualClockLoop(LoopConformance):
    real_time = False

    @pytest.fixture
    def backend_class(self):
        return VirtualClockLoop
