"""The C table on libuv: the promises are hubbub_testkit.table's."""

from __future__ import annotations

from hubbub_loop_libuv import _libuv
from hubbub_testkit.table import TableSuite


class TestTable(TableSuite):
    extension = _libuv
