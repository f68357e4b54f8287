"""Everything that patching puts in is compared with what it replaces, private attributes included."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Python = Callable[..., Any]

DIFFERENCES = """
import hubbub_monkey, sys
report = hubbub_monkey.patch_all()
from hubbub_testkit.likeness import differences
first, last = {}, {}
for item in report.replacements:
    first.setdefault((item.module, item.name), item.old)
    last[item.module, item.name] = item.new
FACTORIES = {"allocate", "allocate_lock", "Lock", "_allocate_lock", "poll", "_set_sentinel"}
ARGUMENTS = {"Popen": [["true"]], "_DeleteDummyThreadOnDel": None}
for (module, name), old in first.items():
    new = last[module, name]
    if repr(old) == "(nothing)":
        print(f"{module}.{name}: is new")
        continue
    samples, arguments = None, ARGUMENTS.get(name, [])
    if arguments is not None and (isinstance(old, type) or name in FACTORIES):
        try: samples = old(*arguments), new(*arguments)
        except TypeError: pass
    found = list(differences(old, new, samples))
    if samples is not None and not isinstance(old, type):
        found += differences(*map(type, samples))
    if name == "Popen":
        for each in samples: each.wait()
    for text in found: print(f"{module}.{name}: {text}")
"""

EXCEPTIONS = {
    r"socket\.socket: _real_close (calls _ss _close|does not take _ss by name)": "there for the class's own use",
    r"ssl\.SSLContext\.sslsocket_class: _real_connect .*": "called by the class's own methods only",
    r"subprocess\.Popen: _(execute_child|get_handles) does not take .* by name": "called by position only",
    r"threading\.(_active_limbo|_shutdown_locks)_lock: is of .*": "a lock of another kind is what is wanted",
    r"threading\._active: is of Active.*": "a table of another kind is what is wanted",
    r"threading\._DeleteDummyThreadOnDel: .*": "called once, for its effect: a function will do",
    r"_threading_local\.local: (_local__impl is missing|cannot be copied)": "as the one that is written in C",
    r"selectors\.\w+: can be pickled": "more than the original can",
    r"_?(thread|threading)\.\w+: __exit__ .*": "called with three arguments by the interpreter",
    r"\w+\.\w+: can be (referred to weakly|asked for its length|gone through)": "more than the original can",
}
"""What differs, and why that is no fault."""


def test_replacements_are_like_what_they_replace(python: Python) -> None:
    """What an original has, takes and can, its replacement has, takes and can, but for what is listed with a reason."""
    found = python(DIFFERENCES).stdout.splitlines()
    unexplained = [line for line in found if not any(re.fullmatch(each, line) for each in EXCEPTIONS)]
    assert unexplained == []
    assert found  # the comparison looks at something


BINDINGS = """
import types
import hubbub_monkey

report = hubbub_monkey.patch_all()
builtin = [item for item in report.replacements if isinstance(item.old, types.BuiltinFunctionType)]
public = [item for item in builtin if not item.module.startswith("_") and not item.name.startswith("_")]
print(len(public) > 8)
for item in public:
    if hasattr(type(item.new), "__get__") and item.new.__get__(object(), object) is not item.new:
        print(f"{item.module}.{item.name} turns into a method")
"""


def test_builtins_do_not_turn_into_methods(python: Python) -> None:
    """What replaces a public builtin function is no method where it is an attribute of somebody's class."""
    assert python(BINDINGS).stdout == "True\n"
