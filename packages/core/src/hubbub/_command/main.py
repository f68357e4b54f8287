"""The arguments of the command ``hubbub``, and what each of its verbs does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hubbub._command import top, views
from hubbub._command.hottest import hottest
from hubbub._command.reach import Failed, reach
from hubbub._command.text import write
from hubbub._trace import as_trace
from hubbub.profile import Profile

__all__ = ["main"]

_TARGET = "the number of a process, or the path of its control socket"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :returns: the exit status: 0, or 1 if the process cannot be asked.
    """
    options = _parser().parse_args(arguments)
    try:
        options.verb(options)
    except Failed as error:
        sys.stderr.write(f"hubbub: {error}\n")
        return 1
    except BrokenPipeError:  # the reader, ``head`` for instance, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("hubbub", description="Looks into a running program from outside.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, does: Callable[[Any], object], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.add_argument("target", metavar="PID|SOCKET", help=_TARGET)
        made.set_defaults(verb=does)
        return made

    for name, does, text in (
        ("ps", _ps, "every greenlet and task: what it waits for, since when, who holds it, from which line"),
        ("tree", _tree, "the same below hubs, task groups and spawners"),
        ("stacks", _stacks, "the stack of each greenlet and task"),
        ("hubs", _hubs, "the hubs, with their counts; what blocks one, with its stack"),
    ):
        verb(name, does, text).add_argument("--json", action="store_true", help="everything that is known, as JSON")
    ps, stacks = verbs.choices["ps"], verbs.choices["stacks"]
    ps.add_argument("--sort", choices=("since", "age", "name", "state"), default="since", help="default: since")
    ps.add_argument("--limit", type=int, metavar="N", help="at most N greenlets")
    ps.add_argument("--count", action="store_true", help="how many greenlets are at each place, instead of each")
    stacks.add_argument("pattern", nargs="?", default="", help="only of those with this in their name or function")
    flame = verb("flame", _flame, "profile for a while: what runs and what waits, by greenlet")
    flame.add_argument("--seconds", type=float, default=10.0, help="how long; default: 10")
    flame.add_argument("--rate", type=float, default=100.0, help="looks a second; default: 100")
    flame.add_argument("-o", "--output", metavar="FILE", help="NAME.svg: a picture; NAME.json: for speedscope")
    flame.add_argument("--json", action="store_true", help="for speedscope, to the standard output")
    timeline = verb("timeline", _timeline, "record what the hubs do, for https://ui.perfetto.dev")
    timeline.add_argument("--seconds", type=float, default=5.0, help="how long; default: 5")
    timeline.add_argument("-o", "--output", metavar="FILE", help="default: the standard output")
    live = verb("top", _top, "a live table: loads of the hubs, and the greenlets that run and wait most")
    live.add_argument("--seconds", type=float, default=2.0, help="between two looks; default: 2")
    live.add_argument("--rounds", type=int, metavar="N", help="end after N looks")
    execute = verb("exec", _exec, "run code in the process; the repr of its variable `result` is printed")
    execute.add_argument("code")
    execute.add_argument("--allow-exec", action="store_true", help="needed for a process without a control socket")
    return parser


def _snapshot(options: Any) -> Any:
    with reach(options.target) as peer:
        return peer.ask("snapshot")


def _show(options: Any, view: Callable[[Any], str]) -> None:
    snapshot = _snapshot(options)
    write(json.dumps(snapshot) if options.json else view(snapshot))


def _ps(options: Any) -> None:
    if options.count:
        _show(options, views.places)
    else:
        _show(options, lambda snapshot: views.processes(snapshot, options.sort, options.limit))


def _tree(options: Any) -> None:
    _show(options, views.tree)


def _stacks(options: Any) -> None:
    _show(options, lambda snapshot: views.stacks(snapshot, options.pattern))


def _hubs(options: Any) -> None:
    _show(options, views.hubs)


def _flame(options: Any) -> None:
    with reach(options.target) as peer:
        told = peer.ask("profile", options.seconds, rate=options.rate)
    profile = Profile.from_dict(told)
    if options.output is not None:
        profile.save(options.output)
    write(json.dumps(profile.as_speedscope()) if options.json else hottest(profile))


def _timeline(options: Any) -> None:
    with reach(options.target) as peer:
        told = peer.ask("timeline", options.seconds)
    text = json.dumps(as_trace(told))
    if options.output is None:
        write(text)
        return
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(text)
    write(f"{sum(len(events) for _, events in told)} events in {options.output}; open it at https://ui.perfetto.dev")


def _top(options: Any) -> None:
    with reach(options.target) as peer:
        top.run(peer, options.seconds, options.rounds, write)


def _exec(options: Any) -> None:
    with reach(options.target, options.allow_exec) as peer:
        told = peer.ask("exec", code=options.code)
    if told["failure"] is not None:
        raise Failed(told["failure"].rstrip())
    write(told["result"])
