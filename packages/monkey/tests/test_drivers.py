"""Libraries that wait in C and can be told to wait in Python, in processes of their own.

Stand-ins with the same names; the real ones are tried by ./do integration.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Python = Callable[..., Any]
FIRST = "import hubbub_monkey\nhubbub_monkey.patch_all()\n"

LATE = "wait = wait_c = print\ndef wait_poll(): pass\n"
SHOW = "import psycopg.waiting as w; print(w.wait is w.wait_poll)\n"


def fake_psycopg(folder: Path) -> None:
    """Stands for psycopg 3 with its accelerator."""
    (folder / "psycopg").mkdir()
    (folder / "psycopg" / "__init__.py").write_text("import psycopg.waiting\n")
    (folder / "psycopg" / "waiting.py").write_text(LATE)


def test_psycopg(python: Python, tmp_path: Path) -> None:
    """psycopg 3 is told to wait in Python when it is imported, and is not imported for that."""
    fake_psycopg(tmp_path)
    assert python(FIRST + "import sys; print('psycopg' in sys.modules)\n" + SHOW).stdout.split() == ["False", "True"]


def test_psycopg_before(python: Python, tmp_path: Path) -> None:
    """The same if it was imported before; unpatch_all puts back what was there, and looks at imports no more."""
    fake_psycopg(tmp_path)
    early = "import sys; before = list(sys.meta_path); import psycopg\n"
    undo = "hubbub_monkey.unpatch_all(); print(before == sys.meta_path)\n"
    assert python(early + FIRST + SHOW + undo + SHOW).stdout.split() == ["True", "True", "False"]
    assert python("import sys; before = list(sys.meta_path)\n" + FIRST + SHOW + undo + SHOW).stdout.split() == [
        "True",
        "True",
        "False",
    ]


def test_psycopg_left(python: Python, tmp_path: Path) -> None:
    """psycopg=False leaves it alone."""
    fake_psycopg(tmp_path)
    assert python("import hubbub_monkey\nhubbub_monkey.patch_all(psycopg=False)\n" + SHOW).stdout == "False\n"


CHANNEL = """
class Future:
    def __init__(self, *args): self.args = args
    def result(self):
        if self.args[0] is None: raise ValueError("refused")
        return self.args
    def cancel(self): print("cancelled")
class _UnaryUnaryMultiCallable:
    def __call__(self, request, timeout=None): return "blocking"
    def with_call(self, request, timeout=None): return "blocking", None
    def future(self, request, timeout=None): return Future(request, timeout)
class _StreamUnaryMultiCallable(_UnaryUnaryMultiCallable):
    def __call__(self, request, timeout=None): return "blocking"
    def with_call(self, request, timeout=None): return "blocking", None
"""


def test_grpc(python: Python, tmp_path: Path) -> None:
    """Blocking calls of gRPC go by its futures, which a call that fails or is given up cancels; until unpatch_all."""
    (tmp_path / "grpc").mkdir()
    (tmp_path / "grpc" / "__init__.py").write_text("from grpc import _channel\n")
    (tmp_path / "grpc" / "_channel.py").write_text(CHANNEL)
    source = """
from grpc import _channel
for kind in (_channel._UnaryUnaryMultiCallable, _channel._StreamUnaryMultiCallable):
    print(kind()(1, timeout=2), type(kind().with_call(1)[1]).__name__)
try: kind()(None)
except ValueError as error: print(error)
hubbub_monkey.unpatch_all()
print(kind()(1), _channel._UnaryUnaryMultiCallable().with_call(1))
"""
    assert python(FIRST + source).stdout.splitlines() == [
        *["(1, 2) Future"] * 2,
        "cancelled",
        "refused",
        "blocking ('blocking', None)",
    ]
