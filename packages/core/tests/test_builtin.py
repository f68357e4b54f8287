"""Functions that stand for builtin ones."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import time

import hubbub.os
import hubbub.thread
import hubbub.time
import pytest
from hubbub._builtin import as_builtin

FUNCTIONS = [hubbub.time.sleep, hubbub.os.close, hubbub.thread.get_ident]


@as_builtin
def here(_, first, second=2):
    """A function."""
    return first, second


def test_as_an_attribute_of_a_class():
    """Reached through an instance of a class that has it, it gets the arguments of the call and no others."""

    class Holder:
        function = here

    assert Holder().function(1) == (1, 2)
    assert Holder.function(1, second=3) == (1, 3)


def test_looks():
    """Its name, text and signature are those of the function, without the first parameter."""
    assert (here.__name__, here.__qualname__, here.__module__, here.__doc__) == (
        "here",
        "here",
        __name__,
        "A function.",
    )
    assert str(inspect.signature(here)) == "(first, second=2)"
    assert inspect.isroutine(here)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_by_name(function, protocol):
    """It is pickled by the name of its module, as a builtin function is: multiprocessing can be given it."""
    assert pickle.loads(pickle.dumps(function, protocol)) is function


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copied(copied):
    """A copy is the same function."""
    assert copied(hubbub.time.sleep) == hubbub.time.sleep


def test_the_real_ones(hub):
    """sleep, close and waitpid, as attributes of a class, do what they do by themselves."""

    class Holder:
        sleep, close, waitpid = hubbub.time.sleep, hubbub.os.close, hubbub.os.waitpid

    began = time.monotonic()
    Holder().sleep(0.01)
    assert time.monotonic() - began >= 0.01
    reading, writing = os.pipe()
    Holder().close(writing)
    assert os.read(reading, 1) == b""
    Holder().close(reading)
    with pytest.raises(ChildProcessError):
        Holder().waitpid(-1, os.WNOHANG)
