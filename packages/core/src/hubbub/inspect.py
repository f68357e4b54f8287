"""What every greenlet is doing: which object it waits for, since when, and from which line.

Nothing is recorded while the program runs. A greenlet that waits is suspended inside one of hubbub's functions, and the
frames tell the rest: the outermost of those functions, and the object it belongs to, is what is waited for; the frame
below it is the user's line. Only the places where greenlets are spawned must be recorded: see :func:`track_spawns`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from greenlet import getcurrent, gettrace, greenlet, settrace

from hubbub._waiter import Waiter
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub, hubs
from hubbub.loop.readiness import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FailedToSwitch",
    "GreenletInfo",
    "assert_switches",
    "blocked",
    "greenlets",
    "report",
    "report_as_json",
    "report_on_signal",
    "track_spawns",
    "tree",
]

_HERE = os.path.dirname(__file__)
_SPAWN_DEPTH = 10


@dataclass(frozen=True)
class GreenletInfo:
    """One greenlet at one moment."""

    name: str
    state: str
    """``running``, ``ready`` (in the run queue), ``waiting``, ``new`` or ``suspended`` (switched away from by hand)."""
    hub: str
    waits_for: str | None
    """The object it waits for, as its repr."""
    operation: str | None
    """The function of hubbub it waits in, for instance ``Queue.get``."""
    seconds: float | None
    """For how long, if the wait tells."""
    function: str | None
    file: str | None
    line: int | None
    """The innermost place outside hubbub."""
    stack: tuple[str, ...]
    """The stack, outermost call first, one ``file:line function`` each."""
    spawned_by: str | None
    """The name of the greenlet that spawned it, if that was tracked."""
    spawned_at: tuple[str, ...]
    """Where it was spawned, if that was tracked; innermost call last."""


def greenlets() -> list[GreenletInfo]:
    """All greenlets that have not ended, of all threads, the hubs themselves left out.

    Finds them among the garbage collector's objects: meant for diagnosis, not for a hot path.
    """
    queued = {id(owner): hub for hub in hubs() for owner in _queued(hub)}
    objects = gc.get_objects()
    frameless = {id(owner): wait for owner, *wait in (*_reads(), *_acquires(objects))}
    known = {id(hub) for hub in hubs()}
    found = []
    for item in objects:
        if isinstance(item, greenlet) and id(item) not in known and not item.dead:
            if item.gr_frame is None and not isinstance(item, Greenlet) and item is not getcurrent():
                continue  # a bare greenlet that never ran, or the main greenlet of a thread without a hub
            info = _describe(item, queued)
            found.append(_completed(info, *frameless[id(item)]) if id(item) in frameless else info)
    return sorted(found, key=lambda info: (info.hub, info.state, info.name))


def _queued(hub: Hub) -> Iterable[Any]:
    for callback in list(hub.loop.ready):
        owner = callback.greenlet if type(callback) is Waiter else getattr(callback, "__self__", None)
        if isinstance(owner, greenlet):
            yield owner


# Waits done in C leave no frame of hubbub's: (greenlet, operation, whose it is, since when).


def _reads() -> Iterator[tuple[Any, str, Any, float]]:
    for hub in hubs():
        for handle in list(hub.loop.handles.values()):
            direction = handle.read
            if direction.user is not None:
                for waiter in (direction.waiter, *(direction.others or ())):
                    yield getattr(waiter, "__self__", None), "Socket.recv", direction.user, direction.since


def _acquires(objects: Iterable[Any]) -> Iterator[tuple[Any, str, Any, float]]:
    for item in objects:
        # The collector takes waiters in garbage apart: what it may have done so far is not known.
        if type(item) is Waiter and getattr(item, "user", None) is not None and not getattr(item, "done", True):
            yield item.greenlet, "Semaphore.acquire", item.user, item.since


def _completed(info: GreenletInfo, operation: str, subject: Any, since: float) -> GreenletInfo:
    """What the frames did not tell; if they did, the outermost of them is what counts."""
    seconds = max(monotonic() - since, 0.0)
    if info.state == "waiting":
        return replace(info, seconds=seconds)
    if info.state != "suspended":
        return info
    return replace(info, state="waiting", operation=operation, waits_for=_subject(None, subject), seconds=seconds)


def _describe(item: greenlet, queued: dict[int, Hub]) -> GreenletInfo:
    hub = item.parent if isinstance(item.parent, Hub) else _hub_of_main(item)
    frame = sys._getframe(1) if item is getcurrent() else item.gr_frame
    state = "running" if item is getcurrent() else "ready" if id(item) in queued else "waiting"
    if isinstance(item, Greenlet) and not item.started and frame is None:
        state = "new"
    outer, user = _split(frame)
    if state == "waiting" and outer is None:
        state = "suspended" if frame is not None else "new"
    subject = outer.f_locals.get("self") if outer is not None and state == "waiting" else None
    operation = outer.f_code.co_qualname if outer is not None and state == "waiting" else None
    site = getattr(item, "__dict__", {}).get("_hubbub_spawn", ((), None))
    return GreenletInfo(
        name=_name(item),
        state=state,
        hub=_hub_name(hub),
        waits_for=_subject(outer, subject) if operation is not None else None,
        operation=operation,
        seconds=_waited(frame) if state == "waiting" else None,
        function=user.f_code.co_qualname if user is not None else None,
        file=user.f_code.co_filename if user is not None else None,
        line=user.f_lineno if user is not None else None,
        stack=tuple(
            f"{entry.filename}:{entry.lineno} {entry.name}"
            for entry in (traceback.extract_stack(frame) if frame else ())
        ),
        spawned_by=site[1],
        spawned_at=site[0],
    )


def _hub_of_main(item: greenlet) -> Hub | None:
    return next((hub for hub in hubs() if hub.main is item), None)


def _hub_name(hub: Hub | None) -> str:
    if hub is None:
        return "none"
    return (hub.name or f"thread {hub.thread_ident:#x}") + (" (destroyed)" if hub.destroyed else "")


def _name(item: greenlet) -> str:
    if isinstance(item, Greenlet):
        return item.name
    return "main" if item.parent is None else f"{type(item).__name__} {id(item):#x}"


def _split(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """From the innermost frame outwards: the outermost of hubbub's own, and the first that is not."""
    outer = None
    while frame is not None and os.path.dirname(frame.f_code.co_filename).startswith(_HERE):
        if frame.f_code is Greenlet.run.__code__:
            return outer, None  # its function is one of hubbub's
        outer, frame = frame, frame.f_back
    return outer, frame


def _subject(outer: FrameType | None, subject: Any) -> str:
    if subject is None and outer is not None:
        return ", ".join(
            f"{name}={outer.f_locals[name]!r}"
            for name in outer.f_code.co_varnames[: outer.f_code.co_argcount]
            if name in outer.f_locals
        )
    try:
        return repr(subject)
    except Exception as error:
        return f"<{type(subject).__name__} whose repr failed with {type(error).__name__}>"


def _waited(frame: FrameType | None) -> float | None:
    while frame is not None and os.path.dirname(frame.f_code.co_filename).startswith(_HERE):
        began = _beginning(frame.f_locals)
        if began is not None:
            return max(monotonic() - began, 0.0)
        frame = frame.f_back
    return None


def _beginning(variables: Mapping[str, Any]) -> float | None:
    # A wait done in C has no frame of its own: what it waits with is a variable of the frame that called it.
    began = variables.get("began")
    if isinstance(began, float):
        return began
    return next((value.since for value in variables.values() if isinstance(value, (Waiter, Direction))), None)


def report(file: TextIO | None = None) -> str:
    """:func:`greenlets` as text for people; also written to ``file``."""
    lines = []
    infos = greenlets()
    for hub in hubs():
        lines.append(f"{hub!r}")
    for info in infos:
        lines.append(_headline(info))
        if info.spawned_at:
            lines.append(f"    spawned by {info.spawned_by} at {info.spawned_at[-1]}")
        lines.extend(f"    {entry}" for entry in info.stack)
    text = "\n".join(lines) + "\n"
    if file is not None:
        file.write(text)
        file.flush()
    return text


def _headline(info: GreenletInfo) -> str:
    words = [f"{info.name}: {info.state}"]
    if info.operation is not None:
        words.append(f"in {info.operation} for {info.waits_for}")
    if info.seconds is not None:
        words.append(f"since {info.seconds:.3f} s")
    if info.function is not None:
        words.append(f"at {info.function} ({info.file}:{info.line})")
    return " ".join(words)


def tree(file: TextIO | None = None) -> str:
    """The greenlets as text, each below the one that spawned it (see :func:`track_spawns`); also written to ``file``.

    One whose spawner is not known, or has ended, stands at the top.
    """
    infos = greenlets()
    alive = {info.name for info in infos}
    children: dict[str | None, list[GreenletInfo]] = {}
    for info in infos:
        parent = info.spawned_by if info.spawned_by in alive and info.spawned_by != info.name else None
        children.setdefault(parent, []).append(info)
    lines: list[str] = []
    # Depth first, without recursion: chains of spawners can be long.
    left = [(0, info) for info in reversed(children.get(None, []))]
    while left:
        depth, info = left.pop()
        indent = "    " * depth
        lines.append(indent + _headline(info))
        if info.spawned_at:
            lines.append(f"{indent}  spawned at {info.spawned_at[-1]}")
        lines.extend(f"{indent}  {entry}" for entry in info.stack)
        left.extend((depth + 1, child) for child in reversed(children.get(info.name, [])))
    text = "\n".join(lines) + "\n"
    if file is not None:
        file.write(text)
        file.flush()
    return text


def blocked(limit: int = 20) -> str:
    """One line for each greenlet that waits, at most ``limit`` of them, those of this thread first: what LoopExit
    says."""
    waiting = [info for info in greenlets() if info.state == "waiting"]
    mine = _hub_name(get_hub())
    waiting.sort(key=lambda info: info.hub != mine)
    lines = [_headline(info) for info in waiting[:limit]]
    if len(waiting) > limit:
        lines.append(f"... and {len(waiting) - limit} more")
    return "\n".join(lines)


def report_as_json() -> str:
    """:func:`greenlets` as a JSON array of objects with the fields of :class:`GreenletInfo`."""
    return json.dumps([asdict(info) for info in greenlets()])


def report_on_signal(
    signalnum: int = getattr(signal, "SIGUSR1", signal.SIGTERM), file: TextIO | None = None, as_json: bool = False
) -> None:
    """Write the report to ``file`` (``sys.stderr``) whenever the process gets ``signalnum``. Main thread only.

    :raises ValueError: not in the main thread (:func:`signal.signal`).
    """

    def arrived(number: int, frame: FrameType | None) -> None:
        stream = file if file is not None else sys.stderr
        if as_json:
            stream.write(report_as_json() + "\n")
            stream.flush()
        else:
            report(stream)

    signal.signal(signalnum, arrived)


def track_spawns(on: bool = True) -> None:
    """Remember of every greenlet from now on who spawned it, and where. Costs some microseconds each."""
    Greenlet.spawn_hook = staticmethod(_remember_spawn) if on else None


def _remember_spawn(new: Greenlet) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and os.path.dirname(frame.f_code.co_filename).startswith(_HERE):
        frame = frame.f_back
    stack = traceback.extract_stack(frame, _SPAWN_DEPTH) if frame is not None else ()
    places = tuple(f"{entry.filename}:{entry.lineno} {entry.name}" for entry in stack)
    new.__dict__["_hubbub_spawn"] = (places, _name(getcurrent()))


class FailedToSwitch(AssertionError):
    """A block under :func:`assert_switches` kept the thread for too long."""


@contextmanager
def assert_switches(max_blocking_time: float | None = None, hub_only: bool = False) -> Iterator[None]:
    """The block must let others run.

    :param max_blocking_time: seconds: no stretch without a switch may be longer; None: there must be one switch.
    :param hub_only: only switches to the hub count.
    :raises FailedToSwitch: it did not. Not raised over an error of the block itself.
    """
    hub = get_hub()
    previous = gettrace()
    switches = 0
    longest = 0.0
    last = monotonic()

    def switched(event: Any, args: Any) -> None:
        nonlocal switches, longest, last
        if previous is not None:
            previous(event, args)
        if event in ("switch", "throw") and (not hub_only or args[1] is hub):
            switches += 1
            now = monotonic()
            if args[0] is not hub:  # the hub's own time is not the block's
                longest = max(longest, now - last)
            last = now

    settrace(switched)
    try:
        yield
    finally:
        settrace(previous)
    longest = max(longest, monotonic() - last)
    if max_blocking_time is None:
        if not switches:
            raise FailedToSwitch("the block did not let any other greenlet run")
    elif longest > max_blocking_time:
        raise FailedToSwitch(f"the block kept the thread for {longest:.3f} s, longer than {max_blocking_time} s")
