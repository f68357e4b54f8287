"""The built-in loops keep the contract."""

from __future__ import annotations

import pytest
from hubbub.loop.stdlib import SelectorBackend, StdlibBackend
from hubbub_testkit.conformance import LoopConformance


class TestStdlibLoop(LoopConformance):
    @pytest.fixture
    def backend_class(self):
        return StdlibBackend


class TestSelectorLoop(LoopConformance):
    @pytest.fixture
    def backend_class(self):
        return SelectorBackend
