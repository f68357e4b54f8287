"""Runs a script or module on a patched standard library: ``python -m hubbub_monkey [options] script args``.

With ``--check`` nothing is patched beforehand: the script runs up to its own first call of ``patch_all``, whose report
is printed. The exit status is 1 if that call came too late for anything, or never.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import TracebackType

from hubbub import plugins

from hubbub_monkey import _plan, events
from hubbub_monkey._script import NothingToRun, as_the_program, run_module, run_script
from hubbub_monkey.exceptions import PatchError
from hubbub_monkey.patching import patch_all
from hubbub_monkey.report import Report

__all__ = ["NothingToRun", "as_the_program", "check", "main", "run", "run_module", "run_script"]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. The script runs as ``__main__`` with its own arguments.

    :param arguments: those after the program's name; by default those of the process.
    """
    options, rest = _split(list(sys.argv[1:] if arguments is None else arguments))
    parser = _parser()
    known = parser.parse_args(options)
    if not rest and known.module is None:
        parser.error("nothing to run: name a script, or a module with -m")
    if known.module is None and not os.path.exists(rest[0]):
        parser.error(f"there is no file {rest[0]!r}")
    try:
        if known.check:
            sys.exit(check(known.module, rest))
        _patch(parser, known)
        with as_the_program():
            run(known.module, rest)
    except NothingToRun as error:
        parser.error(str(error))


def _patch(parser: argparse.ArgumentParser, known: argparse.Namespace) -> None:
    try:
        report = patch_all(**{name: getattr(known, name) for name in _names()})
    except PatchError as error:
        parser.error(str(error))
    if known.report:
        print(report, file=sys.stderr)


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
    parser.add_argument("--check", action="store_true", help="run up to the script's own patch_all, print its report")
    group = parser.add_argument_group("modules", "without --no-NAME every installed patch is applied")
    for name in _names():
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None)
    return parser


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """This command's options, and the script with its arguments; or, with ``-m module``, the module's arguments."""
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


class _Patched(BaseException):
    """Ends a script that is being checked; no ``except Exception`` in the script catches it."""


def check(module: str | None, rest: Sequence[str]) -> int:
    """Run a script up to its first call that patches, and print that call's report. Returns the exit status."""
    reports: list[Report] = []

    def stop(event: object) -> None:
        if isinstance(event, events.DidPatchAll):
            reports.append(event.report)
            raise _Patched

    events.subscribers.append(stop)
    try:
        run(module, rest)
    except _Patched as patched:
        place = _caller(patched.__traceback__)
    except SystemExit:
        place = ""
    finally:
        events.subscribers.remove(stop)
    if not reports:
        print("nothing was patched: call hubbub_monkey.patch_all() first, or run it by python -m hubbub_monkey")
        return 1
    print(f"patched at {place}")
    print(reports[0])
    late = [item for item in reports[0].stale if not item.library]
    if late:
        print(
            f"move that call before the import of {', '.join(sorted({item.holder.partition('.')[0] for item in late}))}"
        )
    return 1 if late or reports[0].warnings else 0


def _caller(traceback: TracebackType | None) -> str:
    """File and line of the last frame outside this module."""
    place = ""
    here = os.path.dirname(os.path.abspath(__file__))
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if os.path.dirname(file) != here:
            place = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def run(module: str | None, rest: Sequence[str]) -> None:
    """Run a module with arguments, or a script: the first of ``rest``."""
    if module is not None:
        run_module(module, rest)
    else:
        run_script(rest[0], rest[1:])


if __name__ == "__main__":
    main()
