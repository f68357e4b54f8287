"""The log files of a process that the command line names."""

from __future__ import annotations

import argparse
from typing import Any

from hubbub_server._outlet import Outlet, standard_outlets
from hubbub_server.events import EventLog

__all__ = ["Logs"]


class Logs:
    """The log files of a process, each opened once however many logs go there."""

    def __init__(self) -> None:
        self.files: dict[str, Outlet] = {}

    def open(self, name: str) -> Any:
        """What a log option means: "-" stderr, "none" nothing, else a file that is appended to.

        One that cannot be opened is complained of, and tried again later: it is no reason not to serve.
        """
        if name == "-":
            return "default"
        if name == "none":
            return None
        if name not in self.files:
            self.files[name] = Outlet(path=name, name=repr(name))
        return self.files[name]

    def events(self, options: argparse.Namespace) -> EventLog | None:
        """The stream of events that the options ask for, or None."""
        target = None if options.events is None else self.open(options.events)
        if target is None:
            return None
        log = EventLog(target, options.event_format)
        if isinstance(target, Outlet):
            target.notice = log.lost_line
        return log

    def reopen(self) -> None:
        """The files were moved away: go on in new ones."""
        for outlet in self.files.values():
            outlet.reopen()

    @property
    def waiting(self) -> bool:
        """Whether there is something that :meth:`pump` may get rid of."""
        return any(outlet.waiting for outlet in (*self.files.values(), *standard_outlets()))

    def pump(self) -> None:
        """Write what could not be written before."""
        for outlet in (*self.files.values(), *standard_outlets()):
            if outlet.waiting:
                outlet.pump()

    def finish(self) -> None:
        """The same for the last time, with a little patience."""
        for outlet in (*self.files.values(), *standard_outlets()):
            outlet.finish(0.5)
