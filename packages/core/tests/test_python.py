"""What is said on Pythons for which hubbub is not made."""

import subprocess
import sys
import sysconfig

import pytest
from hubbub import _python

PRETEND = """
import sys, sysconfig, warnings
real = sysconfig.get_config_var
if {free_threaded}:
    sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else real(name)
    sys._is_gil_enabled = lambda: {gil}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import hubbub
    import hubbub.hub, hubbub._python
for warning in caught:
    print(warning.category.__name__, warning.filename, warning.message)
hubbub.spawn(hubbub.sleep, 0).get()
print(hubbub.to_thread(lambda: "works"))
"""


def said(free_threaded, gil):
    """What importing hubbub warns of, and then its working."""
    program = PRETEND.format(free_threaded=free_threaded, gil=gil)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.skipif(bool(_python.shortcomings()), reason="hubbub is not made for this Python")
def test_nothing_to_say():
    """On CPython with the GIL importing hubbub says nothing."""
    assert said(free_threaded=False, gil=True) == ["works"]


@pytest.mark.parametrize(("gil", "words"), [(False, "PYTHON_GIL=1"), (True, "one thread runs at a time")])
def test_free_threaded(gil, words):
    """On a free-threaded build importing hubbub warns once, at the import, and hubbub works without accelerators."""
    warning, works = said(free_threaded=True, gil=gil)
    assert warning.startswith("UnsupportedPythonWarning <string> ")
    assert words in warning
    assert works == "works"


def test_other_implementation(monkeypatch):
    """On another implementation the warning names it."""
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    assert "hubbub is made for CPython. On pypy" in _python.shortcomings()


def test_a_build_without_the_question(monkeypatch):
    """A free-threaded build that does not tell whether the GIL is on counts as having it."""
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1)
    assert "one thread runs at a time" in _python.shortcomings()
