"""What the tasks of asyncio's event loops wait for, for :mod:`hubbub.inspect`. asyncio is not imported for this."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from greenlet import greenlet

from hubbub._reports import name_of, text_of
from hubbub._weak import instances

__all__ = ["TaskInfo", "tasks"]

_LONGEST_CHAIN = 20


@dataclass(frozen=True)
class TaskInfo:
    """One task of asyncio at one moment."""

    name: str
    state: str
    """``waiting``, ``ready`` (about to be run), ``running``, or ``in a call`` (a function that it has called
    waits in the middle)."""
    event_loop: str
    """Its event loop, as its repr."""
    waits_for: tuple[str, ...]
    """What it awaits, then what that waits for, and so on: names of tasks and greenlets, the repr of anything else."""
    stack: tuple[str, ...]
    """The coroutines, outermost first, one ``file:line function`` each."""


def tasks() -> list[TaskInfo]:
    """All tasks that have not ended, of the event loops of all threads. For diagnosis: it looks through all objects."""
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is None or not hasattr(asyncio, "all_tasks"):
        return []
    found = []
    for loop in instances(asyncio.AbstractEventLoop):
        try:
            found += [_describe(task, loop, asyncio) for task in asyncio.all_tasks(loop)]
        except Exception as error:  # half made, or changed by another thread meanwhile
            found.append(TaskInfo("?", f"not to be described: {type(error).__name__}", type(loop).__name__, (), ()))
    return sorted(found, key=lambda info: (info.event_loop, info.name))


def _describe(task: Any, loop: Any, asyncio: Any) -> TaskInfo:
    coroutine = task.get_coro()
    waits_for = tuple(_chain(task, asyncio))
    if getattr(coroutine, "cr_running", False):
        state = "running" if asyncio.current_task(loop) is task else "in a call"
    else:
        state = "waiting" if waits_for else "ready"
    return TaskInfo(text_of(task.get_name()), state, name_of(loop), waits_for, tuple(_stack(coroutine)))


def _chain(task: Any, asyncio: Any) -> Iterator[str]:
    """What a task waits for, task by task, down to something that is not a task."""
    for _ in range(_LONGEST_CHAIN):
        awaited = getattr(task, "_fut_waiter", None)
        if awaited is None:
            return
        if not isinstance(awaited, asyncio.Task):
            yield _behind(awaited)
            return
        yield f"task {text_of(awaited.get_name())}"
        task = awaited


def _behind(future: Any) -> str:
    """The greenlet or other object that a future stands for; else the future itself."""
    source = getattr(future, "source", None)  # futures of hubbub-asyncio have one
    if source is None:
        return name_of(future)
    return f"greenlet {text_of(getattr(source, 'name', source))}" if isinstance(source, greenlet) else name_of(source)


def _stack(coroutine: Any) -> Iterator[str]:
    while coroutine is not None:
        frame = _first(coroutine, "cr_frame", "gi_frame", "ag_frame")
        if frame is None:
            return
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        coroutine = _first(coroutine, "cr_await", "gi_yieldfrom", "ag_await")


def _first(item: Any, *names: str) -> Any:
    return next((value for value in (getattr(item, name, None) for name in names) if value is not None), None)
