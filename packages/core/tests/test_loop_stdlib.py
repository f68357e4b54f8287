"""The built-in loops keep the contract."""

from __future__ import annotations

import pytest
from hubbub.loop.stdlib import SelectorLoop, StdlibLoop
from hubbub_testkit.conformance import LoopConformance


class TestStdlibLoop(LoopConformance):
    @pytest.fixture
    def loop_class(self):
        return StdlibLoop


class TestSelectorLoop(LoopConformance):
    @pytest.fixture
    def loop_class(self):
        return SelectorLoop
