"""Begins what the environment asks for, when the process makes its first hub: ``HUBBUB_CONTROL``, ``HUBBUB_BLOCKING``,
``HUBBUB_TRACK_SPAWNS``, ``HUBBUB_TIMELINE``.

Not at import: ``hubbub ps`` imports hubbub too, in the same environment perhaps. What nobody asks for is not loaded.
"""

from __future__ import annotations

import os

from hubbub._current import hub_made
from hubbub.hub import Hub

__all__ = ["prepare"]

_VARIABLES = ("HUBBUB_CONTROL", "HUBBUB_BLOCKING", "HUBBUB_TRACK_SPAWNS", "HUBBUB_TIMELINE")


def prepare() -> None:
    """Have the first hub begin what the environment asks for."""
    if any(os.environ.get(name) for name in _VARIABLES):
        hub_made.append(_begin)


def _begin(_: Hub) -> None:
    hub_made.remove(_begin)
    path, blocking, track, timeline = (os.environ.get(name) for name in _VARIABLES)
    if path:
        from hubbub.control import serve_from_environment

        serve_from_environment(path)
    if blocking:
        from hubbub.monitor import watch_from_environment

        watch_from_environment(blocking)
    if track and track != "0":
        from hubbub.inspect import track_spawns

        track_spawns()
    if timeline and timeline != "0":
        from hubbub.timeline import record_from_environment

        record_from_environment(timeline)


prepare()
