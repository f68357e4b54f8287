"""The backend that the documentation shows is a complete one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hubbub.abc import Backend
from hubbub_testkit.conformance import LoopConformance

PAGE = Path(__file__).resolve().parents[3] / "docs" / "writing-a-backend.md"


def documented():
    """What the first block of code on the page defines."""
    if not PAGE.exists():
        pytest.skip("the documentation is not part of this distribution")
    block = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    names = {"__name__": "documented_backend"}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


class TestDocumentedLoop(LoopConformance):
    @pytest.fixture
    def backend_class(self):
        return documented()["PollBackend"]


def test_public_names_only():
    """The documented backend needs nothing private of core, and no more methods than the contract demands."""
    if not PAGE.exists():
        pytest.skip("the documentation is not part of this distribution")
    block = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    assert set(re.findall(r"def (\w+)", block)) == Backend.__abstractmethods__
    assert not re.search(r"import _|\._(?!poll\b)\w", block)
