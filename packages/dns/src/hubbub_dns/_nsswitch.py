"""Which services are asked for a name, and what ends the search: the line ``hosts`` of nsswitch.conf(5). No I/O."""

from __future__ import annotations

import re
from collections.abc import Generator
from enum import Enum
from typing import NamedTuple

__all__ = ["DEFAULT", "Plan", "Status", "Step", "parse"]

_LINE = re.compile(r"^[ \t]*hosts:(.*)", re.MULTILINE)
_WORD = re.compile(r"\[([^\]]*)\]?|[^\s\[]+")
_ACTION = re.compile(r"(!?)\s*([a-z]+)\s*=\s*([a-z]+)")
_SERVICES = {"files": ("files",), "dns": ("dns",), "resolve": ("files", "dns")}
"""What stands for each service here. systemd-resolved ("resolve") reads the hosts file itself."""


class Status(Enum):
    """How a service has answered."""

    SUCCESS = "success"
    NOTFOUND = "notfound"
    """The service does not know the name."""
    UNAVAIL = "unavail"
    """The service cannot be asked: no server replies."""
    TRYAGAIN = "tryagain"
    """The service cannot answer now."""


class Step(NamedTuple):
    """One step of the search."""

    services: tuple[str, ...]
    """``files``, ``dns`` or both: the first that knows the name answers."""
    final: frozenset[Status] = frozenset({Status.SUCCESS})
    """The answers that end the search."""


Plan = tuple[Step, ...]
DEFAULT: Plan = (Step(("files",)), Step(("dns",)))


def parse(text: bytes) -> Generator[None, None, Plan]:
    """The steps of the search, in order. Services other than the hosts file and DNS are skipped, with their actions.

    A line that names neither is taken for the default, as this resolver has nothing else to ask.
    """
    yield from ()
    line = _LINE.search(text.decode("utf-8", "replace"))
    steps: list[Step] = []
    known = False
    for word in _WORD.finditer(line[1].partition("#")[0].lower()) if line else ():
        if word[1] is None:
            known = word[0] in _SERVICES
            if known:
                steps.append(Step(_SERVICES[word[0]]))
        elif known:
            steps[-1] = steps[-1]._replace(final=_final(word[1], steps[-1].final))
    plan = tuple(steps)
    return DEFAULT if plan == DEFAULT or not plan else plan


def _final(actions: str, final: frozenset[Status]) -> frozenset[Status]:
    """The answers that end the search, changed by the actions. Actions that make no sense are skipped."""
    statuses = {status.value: status for status in Status}
    for negated, name, action in _ACTION.findall(actions):
        if name not in statuses:
            continue
        meant = frozenset({statuses[name]})
        if negated:
            meant = frozenset(Status) - meant
        if action == "return":
            final |= meant
        elif action in ("continue", "merge"):
            final -= meant
    return final
