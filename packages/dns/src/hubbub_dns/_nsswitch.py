"""In which order the hosts file and the servers are asked: the line ``hosts`` of nsswitch.conf(5). No I/O."""

from __future__ import annotations

import re
from collections.abc import Generator

__all__ = ["parse"]

_LINE = re.compile(r"^[ \t]*hosts:(.*)", re.MULTILINE)
_ACTIONS = re.compile(r"\[[^\]]*\]|#.*")
_SERVERS = ("dns", "resolve")


def parse(text: bytes) -> Generator[None, None, bool]:
    """Whether the servers come before the hosts file. Other services, and actions in brackets, are passed over."""
    yield from ()
    line = _LINE.search(text.decode("utf-8", "replace"))
    services = _ACTIONS.sub(" ", line[1]).split() if line else []
    known = [service for service in services if service in (*_SERVERS, "files")]
    return "files" in known and known[0] in _SERVERS
