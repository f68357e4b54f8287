"""``python -m gevent.monkey``."""

from __future__ import annotations

import sys
from typing import Any

from hubbub_gevent.monkey._patching import patch_all

__all__ = ["main"]

_FLAGS = ("socket", "dns", "time", "select", "thread", "os", "ssl", "subprocess", "signal", "queue")


def main() -> None:
    """``python -m gevent.monkey [--no-NAME ...] [--verbose] [--module] script args``."""
    arguments = sys.argv[1:]
    options: dict[str, Any] = {}
    as_module = verbose = False
    while arguments and arguments[0].startswith("--"):
        word = arguments.pop(0)[2:]
        if word == "verbose":
            verbose = True
        elif word == "module":
            as_module = True
        elif word == "help":
            _help()
            return
        elif word.removeprefix("no-").replace("-", "_") in (*_FLAGS, "sys", "builtins", "Event", "contextvars"):
            options[word.removeprefix("no-").replace("-", "_")] = not word.startswith("no-")
        else:
            sys.exit(f"unknown option --{word}\n\n{_USAGE}")
    if any(options.values()):
        options = {**dict.fromkeys(_FLAGS, False), **options}
    if verbose:
        sys.stderr.write(f"gevent.monkey.patch_all({', '.join(f'{k}={v}' for k, v in options.items())})\n")
    if not arguments:
        _help()
        return
    patch_all(**options)
    from hubbub_monkey.__main__ import NothingToRun, as_the_program, run_module, run_script

    try:
        with as_the_program():
            (run_module if as_module else run_script)(arguments[0], arguments[1:])
    except NothingToRun as error:
        sys.exit(str(error))


_USAGE = f"""gevent.monkey - monkey patch the standard modules to use hubbub under gevent's names.

USAGE: python -m gevent.monkey [MONKEY OPTIONS] [--module] (script|module) [SCRIPT OPTIONS]

MONKEY OPTIONS: --verbose, --[no-]NAME for each of: {", ".join(_FLAGS)}
"""


def _help() -> None:
    sys.stdout.write(_USAGE)
