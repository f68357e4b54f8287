"""Runs a script or module on a patched standard library: ``python -m hubbub_monkey [options] script args``."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from hubbub import plugins

from hubbub_monkey import _plan
from hubbub_monkey.exceptions import PatchError
from hubbub_monkey.patching import patch_all
from hubbub_monkey.report import Report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. The script runs as ``__main__`` with its own arguments.

    :param arguments: those after the program's name; by default those of the process.
    """
    options, rest = _split(list(sys.argv[1:] if arguments is None else arguments))
    parser = _parser()
    known = parser.parse_args(options)
    if not rest and known.module is None:
        parser.error("nothing to run: name a script, or a module with -m")
    try:
        report = patch_all(**{name: getattr(known, name) for name in _names()})
    except PatchError as error:
        parser.error(str(error))
    if known.report:
        print(_brief(report), file=sys.stderr)
    if known.module is not None:
        run_module(known.module, rest)
    else:
        run_script(rest[0], rest[1:])


def _names() -> list[str]:
    return sorted({*plugins.names(plugins.PATCHES), *_plan.KNOWN})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hubbub_monkey",
        usage="%(prog)s [options] (script | -m module) [arguments]",
        description="Make the standard library cooperative, then run a script or module.",
        allow_abbrev=False,
    )
    parser.add_argument("-m", "--module", help="run this module as a script")
    parser.add_argument("--report", action="store_true", help="print what was replaced to stderr")
    group = parser.add_argument_group("modules", "without --no-NAME every installed patch is applied")
    for name in _names():
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our options, and the script with its arguments; or, with ``-m module``, the module's arguments."""
    for index, word in enumerate(arguments):
        if word == "--":
            return arguments[:index], arguments[index + 1 :]
        if word in ("-m", "--module"):
            return arguments[: index + 2], arguments[index + 2 :]
        if word.startswith("--module="):
            return arguments[: index + 1], arguments[index + 1 :]
        if not word.startswith("-"):
            return arguments[:index], arguments[index:]
    return arguments, []


def _brief(report: Report) -> str:
    return str(report)


def run_script(path: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a file as ``python path arguments`` does; its globals."""
    sys.argv[:] = [path, *arguments]
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    return runpy.run_path(path, run_name="__main__")


def run_module(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a module as ``python -m name arguments`` does; its globals."""
    sys.argv[:] = [name, *arguments]
    return runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
