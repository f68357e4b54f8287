"""``python -m hubbub_monkey``."""

from __future__ import annotations

import py_compile
import zipapp
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., Any]

SCRIPT = """
import sys, time
import hubbub.time
print(__name__, sys.argv, time.sleep is hubbub.time.sleep)
"""


def test_script(python: Python, tmp_path: Path) -> None:
    """A script runs as __main__ with its own arguments, options among them, on patched modules."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    done = python("", "-m", "hubbub_monkey", "tool.py", "--no-time", "-x")
    assert done.stdout == "__main__ ['tool.py', '--no-time', '-x'] True\n"


def test_module(python: Python, tmp_path: Path) -> None:
    """-m runs a module."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    done = python("", "-m", "hubbub_monkey", "-m", "tool", "-m")
    assert done.stdout == f"__main__ ['{tmp_path / 'tool.py'}', '-m'] True\n"


def test_leave_out(python: Python, tmp_path: Path) -> None:
    """--no-NAME leaves a module alone."""
    (tmp_path / "tool.py").write_text(SCRIPT)
    assert python("", "-m", "hubbub_monkey", "--no-time", "tool.py").stdout == "__main__ ['tool.py'] False\n"


OUTLIVES = """
import atexit, multiprocessing, pickle, threading, __main__

class Thing:
    pass

def child(connection):
    connection.send("child")

def outlive(gate):
    gate.wait(10)
    import __main__
    print(__main__.Thing is Thing, pickle.loads(pickle.dumps(Thing)) is Thing)
    receiver, sender = multiprocessing.Pipe(False)
    multiprocessing.get_context("spawn").Process(target=child, args=(sender,)).start()
    print(receiver.recv())

if __name__ == "__main__":
    gate = threading.Event()
    atexit.register(lambda: print(__import__("__main__").Thing is Thing))
    threading.Thread(target=outlive, args=(gate,)).start()
    gate.set()
"""


@pytest.mark.parametrize("words", [("tool.py",), ("-m", "tool")])
def test_the_script_stays_main(python: Python, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Threads and exit functions that outlive the script's last line find it as __main__; so do child processes."""
    (tmp_path / "tool.py").write_text(OUTLIVES)
    assert python("", "-m", "hubbub_monkey", *words).stdout == "True True\nchild\nTrue\n"


MAIN = """
import sys
print(__name__, __file__, __package__, __spec__ and __spec__.name, type(__loader__).__name__)
print(sys.argv, sys.path[0], sys.modules[__name__].__dict__ is globals())
"""


@pytest.mark.parametrize("kind", ["file", "compiled", "folder", "archive", "module", "package"])
def test_main_is_as_the_interpreter_makes_it(python: Python, tmp_path: Path, kind: str) -> None:
    """What a script finds in itself, and on its path, is what it finds without hubbub."""
    (tmp_path / "pack").mkdir()
    for name in ("tool.py", "pack/__main__.py"):
        (tmp_path / name).write_text(MAIN)
    py_compile.compile(str(tmp_path / "tool.py"), str(tmp_path / "tool.pyc"))
    zipapp.create_archive(tmp_path / "pack", tmp_path / "pack.pyz")
    words = {
        "file": ["tool.py"], "compiled": ["tool.pyc"], "folder": ["pack"], "archive": ["pack.pyz"],
        "module": ["-m", "tool"], "package": ["-m", "pack"],
    }[kind]  # fmt: skip
    assert python("", "-m", "hubbub_monkey", *words, "-x").stdout == python("", *words, "-x").stdout


SAFE = """
import sys
print(sys.path)
"""


@pytest.mark.parametrize("kind", ["file", "folder", "module"])
def test_safe_path(python: Python, tmp_path: Path, kind: str) -> None:
    """With -P the path is the one that a script finds without hubbub: nothing on it is lost, nor comes to it."""
    (tmp_path / "pack").mkdir()
    for name in ("tool.py", "pack/__main__.py"):
        (tmp_path / name).write_text(SAFE)
    words = {"file": ["tool.py"], "folder": ["pack"], "module": ["-m", "this"]}[kind]
    assert python("", "-P", "-m", "hubbub_monkey", *words).stdout == python("", "-P", *words).stdout


FAILS = """
import sys
{before}
def inner():
    {failure}
inner()
"""


@pytest.mark.parametrize(
    ("before", "failure"),
    [
        ("", "1 / 0"),
        ("", "raise KeyboardInterrupt"),
        ("", "raise SystemExit('enough')"),
        ("", "raise SystemExit(3)"),
        ("", "this is no line of Python"),
        ("", "exec('this is none')"),
        ("", "import nosuch"),
        ("", "class Quiet(BaseException): pass\n    raise Quiet from ValueError('a cause')"),
        ("", "from runpy import run_path; run_path('nosuch')"),
        ("sys.excepthook = lambda kind, value, tb: print(kind, tb.tb_lineno, value.__traceback__ is tb)", "1 / 0"),
        ("import atexit; atexit.register(lambda: print(sys.last_traceback.tb_lineno, sys.excepthook))", "1 / 0"),
    ],
)
def test_errors_are_shown_as_the_interpreter_shows_them(
    python: Python, tmp_path: Path, before: str, failure: str
) -> None:
    """An error that ends a script is shown with the script's own frames, by the script's hook, with the same status."""
    (tmp_path / "tool.py").write_text(FAILS.format(before=before, failure=failure))
    shown = []
    for words in (["tool.py"], ["-m", "hubbub_monkey", "tool.py"]):
        done = python("", *words, status=None)
        shown.append((done.returncode, done.stdout.partition(" at 0x")[0], done.stderr))
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "nosuch"], "there is no module nosuch"),
        (["-m", "nosuch.below"], "there is no module nosuch.below"),
        (["-m", "empty"], "the package empty has no __main__"),
        (["-m", "math"], "math has no code in Python to run"),
        (["empty"], "there is no __main__ in 'empty'"),
    ],
)
def test_nothing_that_can_be_run(python: Python, tmp_path: Path, words: list[str], said: str) -> None:
    """A module or a folder that cannot be run is said in one line."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").touch()
    for options in ([], ["--check"]):
        done = python("", "-m", "hubbub_monkey", *options, *words, status=2)
        assert done.stderr.splitlines()[-1] == f"python -m hubbub_monkey: error: {said}"


def test_a_module_that_is_missing_in_a_script(python: Python, tmp_path: Path) -> None:
    """What a script fails to import is the script's error, with its traceback."""
    (tmp_path / "tool.py").write_text("import nosuch\n")
    done = python("", "-m", "hubbub_monkey", "-m", "tool", status=1)
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'nosuch'"


def test_script_folder(python: Python, tmp_path: Path) -> None:
    """The script's folder comes first on the module path."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside.py").write_text("print('beside')\n")
    (tmp_path / "sub" / "tool.py").write_text("import beside\n")
    assert python("", "-m", "hubbub_monkey", "sub/tool.py").stdout == "beside\n"


def test_report(python: Python, tmp_path: Path) -> None:
    """--report prints what was replaced to stderr."""
    (tmp_path / "tool.py").write_text("")
    done = python("", "-m", "hubbub_monkey", "--report", "tool.py")
    assert "time.sleep: time.sleep -> hubbub.time.sleep" in done.stderr
    assert done.stdout == ""


def test_exit_status(python: Python, tmp_path: Path) -> None:
    """The exit status is the script's."""
    (tmp_path / "tool.py").write_text("raise SystemExit(7)\n")
    python("", "-m", "hubbub_monkey", "tool.py", status=7)


def test_nothing_to_run(python: Python) -> None:
    """Without a script the command says what it needs; its help lists the modules."""
    assert "nothing to run" in python("", "-m", "hubbub_monkey", status=2).stderr
    help_text = python("", "-m", "hubbub_monkey", "--help").stdout
    assert "--no-socket" in help_text
    assert "--no-time" in help_text


def test_no_such_script(python: Python) -> None:
    """A script that does not exist is said in one line, before anything is patched."""
    for option in ("--report", "--check"):
        done = python("", "-m", "hubbub_monkey", option, "nosuch.py", status=2)
        assert done.stderr.splitlines()[-1] == "python -m hubbub_monkey: error: there is no file 'nosuch.py'"
        assert done.stdout == ""


def test_unknown_option(python: Python) -> None:
    """An unknown option is an error, not a script's name."""
    assert "--no-scoket" in python("", "-m", "hubbub_monkey", "--no-scoket", "x.py", status=2).stderr
