"""What every greenlet is doing: which object it waits for, since when, and from which line.

Nothing is recorded while the program runs. A greenlet that waits is suspended inside one of hubbub's functions, and its
frames tell the rest: the outermost of those functions, and the object it belongs to, is what it waits for; the frame
that called it is the user's line. Only the places where greenlets are spawned must be recorded: see
:func:`track_spawns`.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from greenlet import getcurrent, gettrace, greenlet, settrace

from hubbub._reports import complain, name_of, text_of
from hubbub._standin import Runner, Seat
from hubbub._tasks import TaskInfo, tasks
from hubbub._waiter import Waiter
from hubbub._weak import instances, snapshot
from hubbub.event import AsyncResult, Event
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub, get_hub_if_exists, hubs
from hubbub.lock import Semaphore
from hubbub.loop.base import BaseLoop, ScheduledCall
from hubbub.loop.readiness import Direction
from hubbub.loop.watchers import BaseWatcher, Timer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FailedToSwitch",
    "GreenletInfo",
    "TaskInfo",
    "assert_switches",
    "blocked",
    "count_as_own",
    "greenlets",
    "report",
    "report_as_json",
    "report_on_signal",
    "stack_of",
    "tasks",
    "track_spawns",
    "tree",
]

_HERE = os.path.dirname(__file__)
_OURS = [_HERE]
"""The folders whose functions count as hubbub's; packages on top of core add theirs."""
_SPAWN_DEPTH = 10
_BOTTOMS = {
    function.__code__
    for function in (Greenlet.run, ScheduledCall.__call__, BaseWatcher._run, Timer._fired, BaseLoop.run)
}
"""The code of hubbub's functions that call a function that they were given."""


@dataclass(frozen=True)
class GreenletInfo:
    """One greenlet at one moment."""

    name: str
    state: str
    """``running``, ``ready`` (in the run queue), ``waiting``, ``new``, ``suspended`` (switched away from by hand),
    ``half made`` (its constructor failed), or why it cannot be described."""
    hub: str
    waits_for: str | None
    """The object it waits for, as its repr."""
    operation: str | None
    """The function of hubbub that it waits in, for instance ``Queue.get``."""
    seconds: float | None
    """How long it has waited, if that is known."""
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
    """All greenlets of all threads that have not ended, and callbacks that wait. Hubs are left out.

    Finds them among the garbage collector's objects: meant for diagnosis, not for a hot path.
    """
    all_hubs = hubs()
    queued = {id(owner) for hub in all_hubs for owner in _queued(hub)}
    frameless = {id(owner): wait for owner, *wait in (*_reads(all_hubs), *_handed_waits(instances(Waiter)))}
    known = {id(item) for hub in all_hubs for item in hub.helpers() if not (isinstance(item, Runner) and item.parked)}
    found = []
    for item in instances(greenlet):
        if id(item) not in known:
            try:
                info = _describe(item, queued)
                if info is not None:
                    found.append(_completed(info, *frameless[id(item)]) if id(item) in frameless else info)
            except Exception as error:  # half made, half torn down, or changed by another thread meanwhile
                found.append(_undescribed(item, error))
    return sorted(found, key=lambda info: (info.hub, info.state, info.name))


def _queued(hub: Hub) -> Iterable[Any]:
    for callback in snapshot(lambda: hub.loop.ready):
        owner = _greenlet_of(callback) if type(callback) is Waiter else getattr(callback, "__self__", None)
        if issubclass(type(owner), greenlet):
            yield owner


def _greenlet_of(waiter: Waiter) -> Any:
    # The collector takes waiters in garbage apart: this one may have lost its attributes already.
    owner = getattr(waiter, "greenlet", None)
    return owner.runner if type(owner) is Seat else owner


# Waits done in C leave no frame of hubbub's: (greenlet, operation, object it waits for, since when).


def _reads(all_hubs: Iterable[Hub]) -> Iterator[tuple[Any, str, Any, float]]:
    for hub in all_hubs:
        for handle in list(hub.loop.handles.values()):
            direction = handle.read
            if direction.user is not None:
                for waiter in (direction.waiter, *(direction.others or ())):
                    yield getattr(waiter, "__self__", None), "Socket.recv", direction.user, direction.since


def _handed_waits(waiters: Iterable[Waiter]) -> Iterator[tuple[Any, str, Any, float]]:
    for item in waiters:
        if getattr(item, "user", None) is not None and not getattr(item, "done", True):
            yield _greenlet_of(item), _operation_in_c(item.user), item.user, item.since


def _operation_in_c(user: Any) -> str:
    known = ((Semaphore, "Semaphore.acquire"), (Event, "Event.wait"), (AsyncResult, "AsyncResult.get"))
    return next((operation for kind, operation in known if issubclass(type(user), kind)), type(user).__name__)


def _completed(info: GreenletInfo, operation: str, subject: Any, since: float) -> GreenletInfo:
    """``info`` with what the frames did not tell. If they told the operation, it stays: it is the outermost one."""
    seconds = max(monotonic() - since, 0.0)
    # A wait in C that cannot go on there is continued in Python.
    told = info.state == "waiting" and not (info.operation or "").startswith("Waiter.")
    if told:
        return replace(info, seconds=seconds)
    if info.state not in ("waiting", "suspended"):
        return info
    return replace(info, state="waiting", operation=operation, waits_for=_subject(None, subject), seconds=seconds)


def _describe(item: greenlet, queued: set[int]) -> GreenletInfo | None:
    """What ``item`` does; None: it has ended, or has nothing to do with hubbub."""
    if isinstance(item, Greenlet) and not hasattr(item, "_state"):
        return _half_made(item)
    if item.dead:
        return None
    current = item is getcurrent()
    frame = sys._getframe(1) if current else item.gr_frame
    if frame is None and not isinstance(item, Greenlet):
        return None  # a raw greenlet that never ran, or the main greenlet of a thread without a hub
    state = "running" if current else "ready" if id(item) in queued else "waiting"
    if isinstance(item, Greenlet) and not item.started and frame is None:
        state = "new"
    outer, user = _split(frame)
    if state == "waiting" and outer is None:
        state = "suspended" if frame is not None else "new"
    waits_in = outer if state == "waiting" else None
    site = getattr(item, "__dict__", {}).get("_hubbub_spawn", ((), None))
    return GreenletInfo(
        name=_name(item),
        state=state,
        hub=_hub_name(_hub_of(item)),
        waits_for=_subject(waits_in, waits_in.f_locals.get("self")) if waits_in is not None else None,
        operation=waits_in.f_code.co_qualname if waits_in is not None else None,
        seconds=_waited(frame) if state == "waiting" else None,
        function=user.f_code.co_qualname if user is not None else None,
        file=user.f_code.co_filename if user is not None else None,
        line=user.f_lineno if user is not None else None,
        stack=stack_of(frame),
        spawned_by=site[1],
        spawned_at=site[0],
    )


def _half_made(item: Greenlet) -> GreenletInfo | None:
    # Its constructor has failed, or the collector has begun to take it apart.
    return None if gc.is_finalized(item) else _blank(item, "half made")


def _undescribed(item: greenlet, error: BaseException) -> GreenletInfo:
    return _blank(item, f"not to be described: {type(error).__name__}")


def _blank(item: greenlet, state: str) -> GreenletInfo:
    name = f"{type(item).__name__} {id(item):#x}"
    return GreenletInfo(name, state, "none", None, None, None, None, None, None, (), None, ())


def stack_of(frame: FrameType | None, limit: int | None = None) -> tuple[str, ...]:
    """The calls that led to ``frame``, outermost first, as ``file:line function``, at most the last ``limit``.

    Reads no source files: they may be gone, and reading them is slow.
    """
    entries: list[str] = []
    while frame is not None and (limit is None or len(entries) < limit):
        entries.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(reversed(entries))


def _hub_of(item: greenlet) -> Hub | None:
    if isinstance(item, Runner):
        return item.hub
    return item.parent if isinstance(item.parent, Hub) else _hub_of_main(item)


def _hub_of_main(item: greenlet) -> Hub | None:
    return next((hub for hub in hubs() if getattr(hub, "main", None) is item), None)


def _hub_name(hub: Hub | None) -> str:
    if hub is None:
        return "none"
    return text_of(hub.name or f"thread {hub.thread_ident:#x}") + (" (destroyed)" if hub.destroyed else "")


def _name(item: greenlet) -> str:
    if isinstance(item, Greenlet):
        return text_of(item.name)
    if isinstance(item, Runner):
        return f"callback of {_hub_name(item.hub)}"
    return "main" if item.parent is None else f"{type(item).__name__} {id(item):#x}"


def _split(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """From the innermost frame outwards: the outermost of hubbub's own, and the first that is not."""
    outer = None
    while frame is not None and _is_ours(frame):
        if frame.f_code in _BOTTOMS:
            return outer, None  # its function is one of hubbub's
        outer, frame = frame, frame.f_back
    return outer, frame


def _is_ours(frame: FrameType) -> bool:
    return os.path.dirname(frame.f_code.co_filename).startswith(tuple(_OURS))


def count_as_own(folder: str) -> None:
    """Have functions of the files in a folder count as hubbub's: what they wait for is what their callers wait for.

    A function waits for the value of its variable ``waits_for``, if it has one; else for ``self``, or its arguments.
    """
    if folder not in _OURS:
        _OURS.append(folder)


def _subject(outer: FrameType | None, subject: Any) -> str:
    if outer is not None and "waits_for" in outer.f_code.co_varnames:
        subject = outer.f_locals.get("waits_for", subject)
    if subject is None and outer is not None:
        variables = outer.f_locals
        names = outer.f_code.co_varnames[: outer.f_code.co_argcount]
        return ", ".join(f"{name}={name_of(variables[name])}" for name in names if name in variables)
    return name_of(subject)


def _waited(frame: FrameType | None) -> float | None:
    while frame is not None and _is_ours(frame):
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
    waits = (value for value in list(variables.values()) if issubclass(type(value), (Waiter, Direction)))
    return next((value.since for value in waits), None)


def report(file: TextIO | None = None) -> str:
    """:func:`greenlets` and :func:`tasks` as text for people; also written to ``file``."""
    lines = []
    infos = greenlets()
    for hub in hubs():
        lines.append(name_of(hub))
    for info in infos:
        lines.append(_headline(info))
        if info.spawned_at:
            lines.append(f"    spawned by {info.spawned_by} at {info.spawned_at[-1]}")
        lines.extend(f"    {entry}" for entry in info.stack)
    for task in tasks():
        lines.append(_task_headline(task))
        lines.extend(f"    {entry}" for entry in task.stack)
    text = "\n".join(lines) + "\n"
    if file is not None:
        file.write(text)
        file.flush()
    return text


def _task_headline(task: TaskInfo) -> str:
    line = f"task {task.name} of {task.event_loop}: {task.state}"
    if task.waits_for:
        line += " for " + ", which waits for ".join(task.waits_for)
    outside = [entry for entry in task.stack if not entry.startswith(tuple(_OURS))]
    return f"{line} at {outside[-1]}" if outside else line


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

    A greenlet whose spawner is not known, or has ended, stands at the outermost level.
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
    shown: set[int] = set()
    while left or len(shown) < len(infos):
        # Names need not differ, so spawners may form a circle, which is shown from any of its greenlets.
        depth, info = left.pop() if left else (0, next(info for info in infos if id(info) not in shown))
        if id(info) in shown:
            continue
        shown.add(id(info))
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
    """One line for each greenlet that waits, at most ``limit`` of them, those of this thread first; then as many tasks.
    LoopExit shows this."""
    waiting = [info for info in greenlets() if info.state == "waiting"]
    mine = _hub_name(get_hub_if_exists())
    waiting.sort(key=lambda info: info.hub != mine)
    lines = [_headline(info) for info in waiting[:limit]]
    if len(waiting) > limit:
        lines.append(f"... and {len(waiting) - limit} more")
    all_tasks = tasks()
    lines += map(_task_headline, all_tasks[:limit])
    if len(all_tasks) > limit:
        lines.append(f"... and {len(all_tasks) - limit} more tasks")
    return "\n".join(lines)


Hub.describe_blocked = staticmethod(blocked)


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
        stream: Any = file if file is not None else sys.stderr
        try:
            if as_json:
                stream.write(report_as_json() + "\n")
                stream.flush()
            else:
                report(stream)
        except Exception as error:  # the code that the signal interrupted must not fail because of the report
            complain("the report on a signal", error)

    signal.signal(signalnum, arrived)


def track_spawns(on: bool = True) -> None:
    """Remember of every greenlet from now on which one spawned it, and where. Costs some microseconds each."""
    Greenlet.spawn_hook = staticmethod(_remember_spawn) if on else None


def _remember_spawn(new: Greenlet) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and os.path.dirname(frame.f_code.co_filename).startswith(_HERE):
        frame = frame.f_back
    new.__dict__["_hubbub_spawn"] = (stack_of(frame, _SPAWN_DEPTH), _name(getcurrent()))


class FailedToSwitch(AssertionError):
    """A block under :func:`assert_switches` kept the thread for too long."""


@contextmanager
def assert_switches(max_blocking_time: float | None = None, hub_only: bool = False) -> Iterator[None]:
    """Check that the block lets other greenlets run.

    :param max_blocking_time: seconds: no stretch without a switch may be longer; None: there must be one switch.
    :param hub_only: only switches to the hub count.
    :raises FailedToSwitch: it did not. An error of the block itself comes first.
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
