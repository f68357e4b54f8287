"""The C table on libev: the promises are hubbub_testkit.table's."""

from __future__ import annotations

import pytest
from hubbub_loop_libev import _libev
from hubbub_testkit.table import TableSuite

SELECT, POLL = 1, 2


def needs(bit: int) -> pytest.MarkDecorator:
    """Skips what this build of libev lacks."""
    return pytest.mark.skipif(not _libev.lib.hb_backends() & bit, reason="not in this build of libev")


class TestTable(TableSuite):
    extension = _libev


@needs(POLL)
class TestPoll(TableSuite):
    extension = _libev
    flags = POLL


@needs(SELECT)
class TestSelect(TableSuite):
    extension = _libev
    flags = SELECT
