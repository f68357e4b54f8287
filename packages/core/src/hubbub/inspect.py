"""What every greenlet is doing: which object it waits for, since when, and from which line.

Nothing is recorded while the program runs. A greenlet that waits is suspended inside one of hubbub's functions, and its
frames tell the rest: the outermost of those functions, and the object it belongs to, is what it waits for; the frame
that called it is the user's line. Only the places where greenlets are spawned must be recorded: see
:func:`track_spawns`.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO
from weakref import ref

from greenlet import getcurrent, gettrace, settrace

from hubbub._describe import GreenletInfo, greenlets, hub_name, name_of_greenlet
from hubbub._frames import count_as_own, is_own_file, stack_of
from hubbub._goto import goto
from hubbub._originals import monotonic
from hubbub._reports import complain, name_of
from hubbub._tasks import TaskInfo, tasks
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, get_hub, get_hub_if_exists, hubs
from hubbub.timeline import last_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "FailedToSwitch",
    "GreenletInfo",
    "TaskInfo",
    "assert_switches",
    "blocked",
    "count_as_own",
    "goto",
    "greenlets",
    "report",
    "report_as_json",
    "report_on_signal",
    "stack_of",
    "tasks",
    "track_spawns",
    "tree",
]

_SPAWN_DEPTH = 10


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
    for hub in hubs():
        lines += _last_moments(hub)
    text = "\n".join(lines) + "\n"
    if file is not None:
        file.write(text)
        file.flush()
    return text


def _last_moments(hub: Hub) -> list[str]:
    events = last_events(hub)
    return [f"the last events of {hub_name(hub)}:", *events] if events else []


def _task_headline(task: TaskInfo) -> str:
    line = f"task {task.name} of {task.event_loop}: {task.state}"
    if task.waits_for:
        line += " for " + ", which waits for ".join(task.waits_for)
    outside = [entry for entry in task.stack if not is_own_file(entry.partition(":")[0])]
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
    mine = hub_name(get_hub_if_exists())
    waiting.sort(key=lambda info: info.hub != mine)
    lines = [_headline(info) for info in waiting[:limit]]
    if len(waiting) > limit:
        lines.append(f"... and {len(waiting) - limit} more")
    all_tasks = tasks()
    lines += map(_task_headline, all_tasks[:limit])
    if len(all_tasks) > limit:
        lines.append(f"... and {len(all_tasks) - limit} more tasks")
    own = get_hub_if_exists()
    if own is not None:
        lines += _last_moments(own)
    return "\n".join(lines)


Hub.describe_blocked = staticmethod(blocked)


def report_as_json() -> str:
    """:func:`greenlets` as a JSON array of objects with the fields of :class:`GreenletInfo`."""
    return json.dumps([asdict(info) for info in greenlets()])


def report_on_signal(
    signalnum: int = getattr(signal, "SIGUSR1", signal.SIGTERM),
    file: TextIO | None = None,
    as_json: bool = False,
    *,
    c_stack: bool = False,
) -> None:
    """Write the report to ``file`` (``sys.stderr``) whenever the process gets ``signalnum``. Main thread only.

    :param c_stack: also the C stack of the main thread, by :func:`faulthandler.dump_c_stack`. ``file`` needs a
        descriptor then. A call in C that does not look for signals delays all of it until it returns.
    :raises ValueError: not in the main thread (:func:`signal.signal`).
    :raises RuntimeError: this CPython knows no C stacks: 3.14 and later do.
    """
    dump: Callable[[TextIO], None] | None = getattr(faulthandler, "dump_c_stack", None)
    if c_stack and dump is None:
        raise RuntimeError("C stacks are known to CPython 3.14 and later; py-spy dump --native and gdb read them too")

    def arrived(number: int, frame: FrameType | None) -> None:
        stream: Any = file if file is not None else sys.stderr
        try:
            if as_json:
                stream.write(report_as_json() + "\n")
                stream.flush()
            else:
                report(stream)
            if c_stack and dump is not None:
                dump(stream)
        except Exception as error:  # the code that the signal interrupted must not fail because of the report
            complain("the report on a signal", error)

    signal.signal(signalnum, arrived)


def track_spawns(on: bool = True) -> None:
    """Remember of every greenlet from now on which one spawned it, and where. Costs some microseconds each."""
    Greenlet.spawn_hook = staticmethod(_remember_spawn) if on else None


def _remember_spawn(new: Greenlet) -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_own_file(frame.f_code.co_filename):
        frame = frame.f_back
    spawner = getcurrent()
    new.__dict__["_hubbub_spawn"] = (stack_of(frame, _SPAWN_DEPTH), name_of_greenlet(spawner))
    new.__dict__["_hubbub_spawner"] = ref(spawner)


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
