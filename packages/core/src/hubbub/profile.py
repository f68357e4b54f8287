"""A sampling profiler that knows greenlets: which run, and which wait, where, and in what.

A native thread looks at the hubs many times a second. What a thread runs at that moment is charged with the time since
the last look. Less often, as that takes longer, the thread looks at the greenlets that wait, and charges each with the
time since it last did so; if they are many, some that are taken by chance stand for all. Nothing is recorded in
between, so the program pays for the looks alone. They are spaced so that they take less than a hundredth of the time:
where a look costs more than usual, there are fewer than were asked for. ``hubbub flame PID`` does this from outside.

The thread needs the GIL to look, so what runs for less than some tenths of a millisecond between two waits of a hub is
seen less often than it happens: :mod:`hubbub.timeline` sees all of it. The interpreter's switch interval is short while
a profiler looks; see :func:`sys.setswitchinterval`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import thread_time
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from hubbub._describe import GreenletInfo, bound_to, some_greenlets
from hubbub._flame import as_speedscope, as_svg
from hubbub._frames import frame_of, is_own_file, split
from hubbub._identity import Reduce, refuse_copies
from hubbub._originals import monotonic
from hubbub._reports import text_of
from hubbub._sidethread import SideThread
from hubbub._waiter import Waiter
from hubbub._workers import threads_at_work
from hubbub.greenlet import Greenlet
from hubbub.hub import Hub, hubs
from hubbub.snapshot import greenlet_in, runner_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Profile", "Profiler", "Stack"]

_SHARE_RUNNING, _SHARE_WAITING = 0.006, 0.003
"""The parts of the time that looking at what runs, and at greenlets that wait, may take."""
_MOST_WAITING = 200
"""Of how many greenlets that wait a look describes the stack."""
_FIRST_PAUSE = 1.0
"""Seconds before the first look at greenlets that wait. It is made earlier if the profiler ends before."""
_LONGEST_PAUSE = 0.1
"""Seconds between two looks at what runs, if that was asked for more often."""
_LEAST_PAUSE = 0.1
"""Seconds between two looks at greenlets that wait."""

_ALONE, _BESIDE_OTHERS = 0.000001, 0.0005
"""Seconds: the switch interval while a profiler looks, without and beside other native threads that may compute."""

Stack = tuple[str, ...]


@dataclass
class Profile:
    """What a :class:`Profiler` has seen. A stack begins with what the greenlet was given to run."""

    seconds: float = 0.0
    """How long it has looked."""
    looks: int = 0
    """How often it has looked at what runs."""
    wait_looks: int = 0
    """How often it has looked at what waits."""
    cost: float = 0.0
    """Seconds of CPU that looking has taken."""
    running: dict[Stack, float] = field(default_factory=dict)
    """Seconds by stack in which a greenlet had its thread: it computed, or blocked the thread."""
    waiting: dict[Stack, float] = field(default_factory=dict)
    """Seconds by stack in which greenlets waited, summed over all of them. The last entry is what they waited in."""

    def as_dict(self) -> dict[str, Any]:
        """The same as values that JSON knows."""
        stacks = {name: [[*stack, spent] for stack, spent in found.items()] for name, found in self._both()}
        return {**vars(self), **stacks}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Self:
        """What :meth:`as_dict` has returned."""
        stacks = {
            name: {tuple(entry[:-1]): float(entry[-1]) for entry in told[name]} for name in ("running", "waiting")
        }
        return cls(**{**told, **stacks})

    def _both(self) -> tuple[tuple[str, dict[Stack, float]], ...]:
        return ("running", self.running), ("waiting", self.waiting)

    def as_speedscope(self) -> dict[str, Any]:
        """For https://www.speedscope.app, as values that JSON knows: one profile of what ran, one of what waited."""
        return as_speedscope(self._both())

    def as_svg(self) -> str:
        """Two flame graphs in one picture that needs nothing else: a click widens a frame."""
        return as_svg(self._both())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file: a picture if the name ends with ``.svg``, else for speedscope."""
        name = os.fspath(path)
        text = self.as_svg() if name.endswith(".svg") else json.dumps(self.as_speedscope())
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)


class Profiler:
    """``with Profiler() as profiler: ...``, then ``profiler.profile``. Looks at all hubs of the process.

    :param rate: how many times a second it looks at what runs, at most.
    :param waits: whether it looks at what waits too.
    :raises ValueError: ``rate`` is not between 0 and 1,000.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self, rate: float = 100.0, *, waits: bool = True) -> None:
        if not 0 < rate <= 1000:
            raise ValueError(f"rate must be more than 0 and at most 1000 times a second, not {rate!r}")
        self.rate = rate
        self.profile: Profile = Profile()
        self._waits = waits
        self._thread: SideThread | None = None

    def start(self) -> None:
        """Begin.

        :raises RuntimeError: it has begun already, or no thread can be started.
        """
        if self._thread is not None:
            raise RuntimeError("a profiler can be started once")
        thread = self._thread = SideThread(lambda: self.look_while(thread.pause), "the profiler")
        thread.start()

    def stop(self) -> Profile:
        """End, and return what it has seen."""
        if self._thread is not None:
            self._thread.stop()
        return self.profile

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def look_while(self, pause: Callable[[float], bool]) -> Profile:
        """Look until ``pause``, called with the seconds to the next look, returns False. For native threads."""
        with _prompt_looks():
            return self._look_while(pause)

    def _look_while(self, pause: Callable[[float], bool]) -> Profile:
        profile, period = self.profile, 1 / self.rate
        began = last = last_waits = monotonic()
        next_waits = began + _FIRST_PAUSE
        before = thread_time()
        spent_on_waits = 0.0
        going = True
        while going:
            ahead = (profile.cost - spent_on_waits) / _SHARE_RUNNING - (last - began)
            going = pause(max(period, min(ahead, _LONGEST_PAUSE)))
            now = monotonic()
            self._look_at_running(now - last)
            last = now
            if self._waits and (now >= next_waits or not (going or profile.wait_looks)):
                looked = thread_time()
                self._look_at_waiting(now - last_waits)
                took = thread_time() - looked
                last_waits, spent_on_waits = now, spent_on_waits + took
                next_waits = now + max(_LEAST_PAUSE, took / _SHARE_WAITING)
            profile.cost = thread_time() - before
        profile.seconds = last - began
        self._spread(profile.seconds / (last_waits - began) if last_waits > began else 1.0)
        return profile

    def _spread(self, factor: float) -> None:
        """Charge what waits with the time since the last look at it, in which nobody has looked, too."""
        waiting = self.profile.waiting
        for stack in waiting:
            waiting[stack] *= factor

    def _look_at_running(self, spent: float) -> None:
        self.profile.looks += 1
        for hub in hubs():
            if not hub.loop.in_poll:
                stack = _next_stack(hub) or _running_stack(hub)
                if stack is not None:
                    _charge(self.profile.running, stack, spent)

    def _look_at_waiting(self, spent: float) -> None:
        self.profile.wait_looks += 1
        waiting = self.profile.waiting
        found, each = some_greenlets(_MOST_WAITING)
        for info in found:
            if info.state == "waiting":
                _charge(waiting, _waiting_stack(info), spent * each)


@contextmanager
def _prompt_looks() -> Iterator[None]:
    """Let the profiler have the GIL soon after it asks for it.

    A thread gets the GIL when another releases it, or after the switch interval, 5 ms. A hub that runs for less than
    that between two polls would only ever be seen in its polls. With a short interval it is seen where it computes.
    Other native threads that compute would then switch too often, so if there are any the interval is longer.
    """
    before = sys.getswitchinterval()
    alone = threads_at_work() <= 1
    mine = min(before, _ALONE if alone else _BESIDE_OTHERS)
    sys.setswitchinterval(mine)
    try:
        yield
    finally:
        if abs(sys.getswitchinterval() - mine) < 1e-6:  # nobody has set another one meanwhile
            sys.setswitchinterval(before)


def _charge(stacks: dict[Stack, float], stack: Stack, spent: float) -> None:
    stacks[stack] = stacks.get(stack, 0.0) + spent


def _next_stack(hub: Hub) -> Stack | None:
    """If the hub is between two turns: the stack of the greenlet that runs next, to which the time is charged.

    A poll that does not wait releases the GIL, unless hubbub-speed is installed. So a thread that waits for the GIL
    mostly gets it there, and would never see what the hub's thread does otherwise.
    """
    loop = hub.loop
    if loop.told is not False:
        return None
    try:
        following = loop.ready[0]
    except IndexError:
        return None
    owner = following.greenlet if type(following) is Waiter else bound_to(following)
    frame = owner.gr_frame if isinstance(owner, Greenlet) else None
    return None if frame is None else (_root_of(owner) or text_of(owner), *_calls(split(frame)[1]))


def _root_of(owner: Any) -> str | None:
    name = getattr(getattr(owner, "_run", None), "__qualname__", None)
    return name if isinstance(name, str) else None


def _calls(frame: FrameType | None) -> Iterator[str]:
    """A stack, outermost call first, without lines, so that the same calls are the same entries."""
    entries = []
    while frame is not None:
        code = frame.f_code
        entries.append(f"{code.co_qualname} ({os.path.basename(code.co_filename)}:{code.co_firstlineno})")
        frame = frame.f_back
    return reversed(entries)


def _running_stack(hub: Hub) -> Stack | None:
    frame = frame_of(hub.thread_ident)
    if frame is None:
        return None
    owner = greenlet_in(frame)
    return (_root_of(owner) or runner_of(frame, hub), *_calls(frame))


def _waiting_stack(info: GreenletInfo) -> Stack:
    places = [entry.rpartition(" ") for entry in info.stack]
    users = [
        f"{function} ({os.path.basename(place)})"
        for place, _, function in places
        if not is_own_file(place.rpartition(":")[0])
    ]
    kind = (info.waits_for or "").lstrip("<").partition(" ")[0].partition("=")[0]
    waits = info.operation or "a wait"
    return (info.runs or info.name, *users, waits if not kind or kind in waits else f"{waits} ({kind})")
