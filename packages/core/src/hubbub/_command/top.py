"""``hubbub top``: a live table of hubs and greenlets."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hubbub._command.reach import Peer
from hubbub._command.text import duration, shortened, size, table
from hubbub._originals import read, select
from hubbub.profile import Profile

try:
    import termios
    import tty
except ImportError:  # Windows: the table is shown without keys
    pass

__all__ = ["Screen", "run"]

_HELP = "q quit   c by running time   w by waiting time   n by name   s stack of the first   p pause   h this help"
_SORTS = {"c": "running", "w": "waiting", "n": "name"}

Told = Mapping[str, Any]


@dataclass
class Screen:
    """What is shown, and how: changed by keys, drawn as text."""

    by: str = "running"
    paused: bool = False
    shows_stack: bool = False
    shows_help: bool = False
    done: bool = False
    before: Told | None = None
    now: Told | None = None
    profile: Profile = field(default_factory=Profile)
    snapshot: Told | None = None

    def key(self, key: str) -> None:
        """A key was pressed. Unknown ones show the help."""
        if key in ("q", "\x03", "\x04", "\x1b"):
            self.done = True
        elif key in _SORTS:
            self.by = _SORTS[key]
        elif key == "s":
            self.shows_stack = not self.shows_stack
        elif key == "p":
            self.paused = not self.paused
        else:
            self.shows_help = not self.shows_help

    def update(self, told: Told, profile: Profile, snapshot: Told) -> None:
        """Take what the process has told now."""
        if not self.paused:
            self.before, self.now = self.now, told
            self.profile, self.snapshot = profile, snapshot

    def drawn(self, height: int | None = None, terminal: bool | None = None) -> str:
        """The screen as text, at most ``height`` lines."""
        if self.now is None or self.snapshot is None:
            return "waiting for the process ...\n"
        parts = [self._head(self.now, self.snapshot), self._hubs(self.now, terminal), self._greenlets(terminal)]
        if self.shows_stack:
            parts.append("\n".join(["stack of the first:", *(f"    {entry}" for entry in self._first_stack())]) + "\n")
        if self.shows_help:
            parts.insert(0, _HELP + "\n")
        lines = "\n".join(parts).splitlines()
        return "\n".join(lines if height is None else lines[:height]) + "\n"

    def _head(self, now: Told, snapshot: Told) -> str:
        cpu = "-"
        if self.before is not None and now["at"] > self.before["at"]:
            cpu = f"{(now['cpu'] - self.before['cpu']) / (now['at'] - self.before['at']):.0%}"
        memory = size(now["memory"]) if now["memory"] is not None else "-"
        connections = now["descriptors"] if now["descriptors"] is not None else "-"
        words = [
            f"process {snapshot['pid']}",
            f"CPU {cpu}",
            f"memory {memory}",
            f"descriptors {connections}",
            f"greenlets {len(snapshot['greenlets'])}",
            f"tasks {len(snapshot['tasks'])}",
        ]
        if snapshot["cycles"]:
            words.append(f"DEADLOCKS {len(snapshot['cycles'])}")
        if self.paused:
            words.append("(paused)")
        return "   ".join(words) + "\n"

    def _hubs(self, now: Told, terminal: bool | None) -> str:
        before = {hub["thread"]: hub for hub in (self.before or {"hubs": []})["hubs"]}
        past = self.before["at"] if self.before is not None else None
        rows = []
        for hub in now["hubs"]:
            counts = hub["statistics"]
            former = before.get(hub["thread"], {}).get("statistics")
            rows.append(
                (
                    hub["name"],
                    hub["state"],
                    _rate(counts, former, "switches", now["at"], past),
                    _rate(counts, former, "polls", now["at"], past),
                    duration(hub["busy_seconds"]),
                    duration(counts["longest_turn"]),
                    *(str(counts[name]) for name in ("ready", "timers", "descriptors", "waiting", "threads")),
                    hub["running"] or "-",
                )
            )
        headings = ("HUB", "STATE", "SWITCHES/s", "POLLS/s", "LAG", "WORST LAG", "QUEUE", "TIMERS", "FDS", "WAITING")
        return table((*headings, "THREADS", "RUNS"), rows, terminal)

    def _ranked(self) -> list[tuple[str, float, float, str]]:
        """(greenlet, seconds it ran, seconds it waited, in what most), as sorted by the user."""
        ran: dict[str, float] = {}
        waited: dict[str, float] = {}
        places: dict[str, dict[str, float]] = {}
        for spent, stacks in ((ran, self.profile.running), (waited, self.profile.waiting)):
            for stack, seconds in stacks.items():
                spent[stack[0]] = spent.get(stack[0], 0.0) + seconds
                # Where it runs says more than where it waits.
                weight = seconds * (1000 if spent is ran else 1)
                place = places.setdefault(stack[0], {})
                place[stack[-1]] = place.get(stack[-1], 0.0) + weight
        rows = [
            (name, ran.get(name, 0.0), waited.get(name, 0.0), max(place, key=lambda key: place[key]))
            for name, place in places.items()
        ]
        keys: dict[str, Callable[[tuple[str, float, float, str]], Any]] = {
            "running": lambda row: (-row[1], -row[2], row[0]),
            "waiting": lambda row: (-row[2], row[0]),
            "name": lambda row: row[0],
        }
        return sorted(rows, key=keys[self.by])

    def _greenlets(self, terminal: bool | None) -> str:
        total = self.profile.seconds or 1.0
        rows = [
            (shortened(name, 40), f"{ran / total:.1%}", duration(waited), shortened(place, 70))
            for name, ran, waited, place in self._ranked()
        ]
        return table(("GREENLETS THAT RUN", "RUNNING", "WAITED", "MOSTLY IN"), rows, terminal)

    def _first_stack(self) -> tuple[str, ...]:
        ranked = self._ranked()
        if not ranked:
            return ("nothing runs or waits",)
        name = ranked[0][0]
        stacks = [*self.profile.running.items(), *self.profile.waiting.items()]
        return max((pair for pair in stacks if pair[0][0] == name), key=lambda pair: pair[1])[0]


def _rate(counts: Told, former: Told | None, name: str, now: float, past: float | None) -> str:
    if former is None or past is None or now <= past:
        return "-"
    return f"{(counts[name] - former[name]) / (now - past):,.0f}"


def run(peer: Peer, seconds: float, rounds: int | None, write: Callable[[str], object]) -> None:
    """Show the process until the user has enough.

    :param seconds: between two looks; the process is profiled meanwhile.
    :param rounds: how many looks; None: until a key ends it. Without a terminal there is one.
    """
    screen = Screen()
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.name == "posix"
    left = rounds if rounds is not None or terminal else 1
    screen.now = peer.ask("hubs")
    with _raw_keys(terminal) as pressed:
        while left != 0:
            peer.send("profile", seconds)
            while pressed(peer, screen):
                _draw(screen, terminal, write)
            if screen.done:
                return
            profile = Profile.from_dict(peer.receive())
            screen.update(peer.ask("hubs"), profile, peer.ask("snapshot"))
            _draw(screen, terminal, write)
            left = None if left is None else left - 1


def _draw(screen: Screen, terminal: bool, write: Callable[[str], object]) -> None:
    if terminal:
        write("\x1b[H\x1b[2J" + screen.drawn(shutil.get_terminal_size().lines - 1, True).replace("\n", "\r\n"))
        sys.stdout.flush()
    else:
        write(screen.drawn(terminal=False))


@contextmanager
def _raw_keys(terminal: bool) -> Iterator[Callable[[Peer, Screen], bool]]:
    """Keys as they are pressed, on the terminal's other screen; the terminal is put back whatever happens.

    The function waits for the answer or for keys, and gives these to the screen. It returns False when the answer has
    come, or the user has enough.
    """
    if not terminal:
        yield lambda peer, screen: False
        return
    descriptor = sys.stdin.fileno()
    former = termios.tcgetattr(descriptor)

    def pressed(peer: Peer, screen: Screen) -> bool:
        found, _, _ = select([descriptor, peer], [], [])
        if descriptor not in found:
            return False
        for key in read(descriptor, 64).decode(errors="replace") or "q":
            screen.key(key)
        return not screen.done

    try:
        tty.setraw(descriptor)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        sys.stdout.flush()
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, former)
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
