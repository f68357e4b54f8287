"""What a process tells of itself when it is asked from outside: one JSON object asks, one answers.

Everything is read, nothing is changed, but by ``exec``, which has to be allowed. The answers are made in a native
thread, so they come while the hub computes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from math import isfinite
from typing import Any

from hubbub import snapshot
from hubbub._originals import allocate_lock, monotonic, sleep
from hubbub._reports import name_of
from hubbub._weak import instances
from hubbub.hub import hubs, spawn_raw
from hubbub.profile import Profiler
from hubbub.timeline import Recorder, all_events, recorder_of

__all__ = ["LONGEST_REQUEST", "PROTOCOL", "Refused", "answer"]

PROTOCOL = 1
"""The version of requests and answers."""
LONGEST_REQUEST = 64 * 1024
"""Bytes of one request."""
LONGEST_SECONDS = 600.0
"""How long one request may profile or record."""


class Refused(ValueError):
    """A request that cannot be answered. The text says why, and what would be right."""


Pause = Callable[[float], bool]
"""Waits so many seconds; False at once when the answer is not wanted any more."""


def _pause(seconds: float) -> bool:
    sleep(seconds)
    return True


def answer(request: bytes, allow_exec: bool = False, pause: Pause = _pause) -> bytes:
    """The answer to one request, both as JSON without a line break. Raises nothing.

    :param pause: waits, for answers that take time.
    """
    try:
        asked = _parsed(request)
        if asked["ask"] == "exec" and not allow_exec:
            raise Refused("this process only lets itself be read: start it with allow_exec=True, or --allow-exec")
        told = {"protocol": PROTOCOL, "answer": _ANSWERS[asked["ask"]](asked, pause)}
    except Refused as error:
        told = {"protocol": PROTOCOL, "error": str(error)}
    except Exception as error:
        told = {"protocol": PROTOCOL, "error": f"{type(error).__name__}: {error}", "traceback": _trace(error)}
    return json.dumps(told, default=name_of).encode()


def _trace(error: Exception) -> list[str]:
    return traceback.format_exception(error)


def _parsed(request: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(request)
    except (ValueError, RecursionError) as error:
        raise Refused(f'a request is one line of JSON, such as {{"ask": "snapshot"}}: {error}') from None
    if not isinstance(asked, dict):
        raise Refused(f"a request is a JSON object, not {type(asked).__name__}")
    if not isinstance(asked.get("ask"), str) or asked["ask"] not in _ANSWERS:
        raise Refused(f'"ask" must be one of {", ".join(_ANSWERS)}')
    return asked


def number(asked: dict[str, Any], name: str, default: float, least: float, most: float) -> float:
    """A number of a request.

    :raises Refused: it is none, or out of bounds.
    """
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise Refused(f"{name!r} must be a number")
    if not least <= value <= most:
        raise Refused(f"{name!r} must be between {least:g} and {most:g}")
    return float(value)


def _about(_: dict[str, Any], pause: Pause) -> Any:
    version = ".".join(map(str, sys.version_info[:3]))
    return {"pid": os.getpid(), "program": sys.orig_argv, "python": version, "hubs": len(hubs())}


def _snapshot(_: dict[str, Any], pause: Pause) -> Any:
    return snapshot.take().as_dict()


def _hubs(_: dict[str, Any], pause: Pause) -> Any:
    return {
        "at": monotonic(),
        "cpu": sum(os.times()[:2]),
        "memory": _resident(),
        "descriptors": _open_descriptors(),
        "hubs": [vars(hub) for hub in snapshot.hub_infos()],
    }


def _resident() -> int | None:
    """Bytes of the process in memory; None where /proc does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _open_descriptors() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None


def _profile(asked: dict[str, Any], pause: Pause) -> Any:
    seconds = number(asked, "seconds", 10.0, 0.0, LONGEST_SECONDS)
    rate = number(asked, "rate", 100.0, 1.0, 1000.0)
    end = monotonic() + seconds
    return Profiler(rate).look_while(lambda period: pause(period) and monotonic() < end).as_dict()


def _timeline(asked: dict[str, Any], pause: Pause) -> Any:
    """The events of all hubs: those that are recorded already, and what happens while it records the others."""
    seconds = number(asked, "seconds", 5.0, 0.0, LONGEST_SECONDS)
    size = int(number(asked, "size", 100_000.0, 1.0, 1_000_000.0))
    recorders: list[Recorder] = []
    begun: list[Recorder] = []
    try:
        for hub in hubs():
            recorder = recorder_of(hub)
            if recorder is None:
                recorder = Recorder(hub, size)
                begun.append(recorder)
                recorder.start()
            recorders.append(recorder)
        pause(seconds if begun else 0.0)
        return all_events(recorders)
    finally:
        for recorder in begun:
            recorder.stop()


def _exec(asked: dict[str, Any], pause: Pause) -> Any:
    """Run code in a greenlet of the first hub; the answer is the repr of its variable ``result``."""
    code = asked.get("code")
    if not isinstance(code, str):
        raise Refused('"code" must be text')
    seconds = number(asked, "seconds", 10.0, 0.0, LONGEST_SECONDS)
    try:
        compiled = compile(code, "<hubbub exec>", "exec")
    except SyntaxError as error:
        raise Refused(f"the code is no Python: {error}") from None
    names: dict[str, Any] = {"__name__": "__hubbub__", "instances": instances}
    ended, failure = allocate_lock(), []
    ended.acquire()

    def run() -> None:
        try:
            exec(compiled, names)
        except BaseException as error:
            failure.append("".join(traceback.format_exception(error)))
        finally:
            ended.release()

    first = next(iter(snapshot.ordered_hubs()), None)
    if first is None:
        raise Refused("the process has no hub that could run it")
    first.loop.run_callback_threadsafe(spawn_raw, run)
    if not ended.acquire(True, seconds):
        raise Refused(f"it has not ended in {seconds:g} seconds; it goes on")
    return {"result": name_of(names.get("result")), "failure": failure[0] if failure else None}


_ANSWERS: dict[str, Callable[[dict[str, Any], Pause], Any]] = {
    "about": _about,
    "snapshot": _snapshot,
    "hubs": _hubs,
    "profile": _profile,
    "timeline": _timeline,
    "exec": _exec,
}
