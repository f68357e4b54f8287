"""``python -m hubbub_server`` and ``hubbub-serve``: serve a WSGI application."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence

import hubbub
from hubbub.exceptions import PluginError

from hubbub_server._application import ApplicationError
from hubbub_server._init import become_init
from hubbub_server._outlet import complain, guard_standard_streams
from hubbub_server._settings import SettingsError, read_settings
from hubbub_server._upgrade import was_offered

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    if arguments is None:
        _take_process()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = read_settings(given, os.environ)
        if settings.options.show_config:
            sys.stdout.write(str(settings))
            return 0
        return _run(settings.options, given, arguments is None)
    except SettingsError as error:
        complain(f"hubbub-serve: {error}")
        return 2
    except KeyboardInterrupt:
        return 130  # as shells have it for SIGINT


def _run(options: argparse.Namespace, given: list[str], own_process: bool) -> int:
    """Do what the options say; the exit status.

    :param own_process: whether the process is the server's.
    """
    try:
        _choose(options)
        patched = _wants_patching(options)
        if _is_supervised(options):
            from hubbub_server._supervisor import Supervisor

            itself = [sys.executable, "-m", "hubbub_server", *given]
            return Supervisor(options, _command(given, patched), itself).run()
        if was_offered():
            raise ApplicationError("no workers are asked for any more; an upgrade keeps them, start anew instead")
        if own_process and not options.check:
            become_init()
        if patched:
            command = _command(given, True)
            os.execv(command[0], command)
        from hubbub_server._serving import Serving, check

        if options.check:
            check(options)
            return 0
        return Serving(options).run()
    except (ApplicationError, PluginError, OSError, ValueError) as error:
        complain(f"hubbub-serve: {error}")
        return 1


def _is_supervised(options: argparse.Namespace) -> bool:
    """Whether this process only watches others that serve."""
    wanted = options.workers is not None or options.reload or options.status is not None
    return wanted and options.control is None and not options.check


def _take_process() -> None:
    """This process is the server's: make it one that its log cannot end, nor a signal that only asks for a change."""
    guard_standard_streams()
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        # What they ask for is done anyway by a process that is about to begin. It is asked again once it listens. When
        # it takes over from another they are blocked, and wait.
        if hasattr(signal, name) and not was_offered():
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _choose(options: argparse.Namespace) -> None:
    """Set the loop and the resolver, here and for the processes started from here."""
    hubbub.configure(loop=options.loop, resolver=options.resolver)
    for name, value in (("HUBBUB_LOOP", options.loop), ("HUBBUB_RESOLVER", options.resolver)):
        if value is not None:
            os.environ[name] = value


def _wants_patching(options: argparse.Namespace) -> bool:
    """Whether the process that serves is to be started under hubbub-monkey.

    :raises ApplicationError: asked for and not installed.
    """
    if options.monkey is False:
        return False
    installed = importlib.util.find_spec("hubbub_monkey") is not None
    if options.monkey and not installed:
        raise ApplicationError("--monkey needs the package hubbub-monkey")
    return installed


def _command(given: list[str], patched: bool) -> list[str]:
    """The command line of a process that serves, patched from its start or not."""
    start = [sys.executable, "-m", "hubbub_monkey"] if patched else [sys.executable]
    return [*start, "-m", "hubbub_server", "--no-monkey", *[word for word in given if word != "--monkey"]]


if __name__ == "__main__":
    sys.exit(main())
