"""A profile as two short tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hubbub._command.text import duration, table
from hubbub.profile import Profile, Stack

__all__ = ["hottest"]

_MOST = 10


def hottest(profile: Profile) -> str:
    """What ran most, by greenlet and function, and what was waited in most."""
    head = (
        f"{duration(profile.seconds)}, {profile.looks} looks at what runs, {profile.wait_looks} at what waits; "
        f"looking took {profile.cost / profile.seconds if profile.seconds else 0:.2%} of the time\n"
    )
    return "\n".join(
        [
            head,
            _ranked(profile.running, ("RAN", "SHARE", "GREENLET", "IN"), lambda stack: (stack[0], stack[-1])),
            _ranked(profile.waiting, ("WAITED", "SHARE", "GREENLET", "IN"), lambda stack: (stack[0], stack[-1])),
        ]
    )


def _ranked(stacks: Mapping[Stack, float], headings: tuple[str, ...], key: Callable[[Stack], tuple[str, str]]) -> str:
    spent: dict[tuple[str, str], float] = {}
    for stack, seconds in stacks.items():
        spent[key(stack)] = spent.get(key(stack), 0.0) + seconds
    total = sum(spent.values())
    rows = [
        (duration(seconds), f"{seconds / total:.0%}" if total else "-", *names)
        for names, seconds in sorted(spent.items(), key=lambda item: -item[1])[:_MOST]
    ]
    return table(headings, rows)
