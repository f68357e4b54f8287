"""The hosts file: hosts(5). Some have a hundred thousand lines, so the index holds offsets and is built in slices."""

from __future__ import annotations

import socket
from collections.abc import Generator
from dataclasses import dataclass, field

__all__ = ["Host", "Hosts", "parse"]

_LOOPBACK = socket.inet_pton(socket.AF_INET6, "::1")
_MAPPED = b"\0" * 10 + b"\xff" * 2
_SLICE = 500
"""Lines between two pauses: about a millisecond."""


@dataclass(slots=True)
class Host:
    """What the file says of one name or address."""

    canonical: str
    aliases: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    """Numeric; IPv6 ones may have a scope."""


class Hosts:
    """The file's text, and where in it each name and address stands."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        # Offsets, in tuples where a name has several lines: nothing that the garbage collector must visit.
        self._names: dict[bytes, int | tuple[int, ...]] = {}
        self._addresses: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, start: int) -> int:
        """Index the line that begins at an offset; returns the offset of the next line."""
        end = self._text.find(b"\n", start)
        if end < 0:
            end = len(self._text)
        address, *names = self._text[start:end].partition(b"#")[0].lower().split() or [b""]
        for name in dict.fromkeys(names):
            known = self._names.setdefault(name, start)
            if known != start:
                self._names[name] = (*(known if isinstance(known, tuple) else (known,)), start)
        if names:
            self._addresses.setdefault(_normal(address) if b":" in address else address, start)
        return end + 1

    def _words(self, start: int) -> list[str]:
        end = self._text.find(b"\n", start)
        line = self._text[start : end if end >= 0 else None]
        return line.partition(b"#")[0].decode("latin-1").split()

    def has(self, name: str) -> bool:
        """Whether the file has this name at all."""
        return name.lower().encode("ascii", "replace") in self._names

    def by_name(self, name: str, family: int, alone: bool = False) -> Host | None:
        """All addresses of one family that the file has for a name; None if it has none.

        :param alone: only this family is wanted. Then, as in glibc, ``::1`` and IPv4 addresses written as IPv6 ones
            count for IPv4, and an address comes as often as the file has it.
        """
        known = self._names.get(name.lower().encode("ascii", "replace"), ())
        found: Host | None = None
        for start in known if isinstance(known, tuple) else (known,):
            word, canonical, *aliases = self._words(start)
            address = _address(word, family)
            if address is None and alone and family == socket.AF_INET:
                address = _as_ipv4(word)
            if address is None:
                continue
            if found is None:
                found = Host(canonical)
            found.aliases += [alias for alias in aliases if alias not in found.aliases]
            if alone or address not in found.addresses:
                found.addresses.append(address)
        return found

    def by_address(self, address: str) -> Host | None:
        """The names of the first line that has this address; None if there is none."""
        start = self._addresses.get(address.lower().encode("ascii", "replace"))
        if start is None:
            return None
        _, canonical, *aliases = self._words(start)
        return Host(canonical, aliases, [address])


def parse(text: bytes) -> Generator[None, None, Hosts]:
    """Index a hosts file; yields every few hundred lines. Lines that make no sense are skipped."""
    hosts = Hosts(text)
    start = lines = 0
    while start < len(text):
        start = hosts.add(start)
        lines += 1
        if lines % _SLICE == 0:
            yield
    return hosts


def _normal(address: bytes) -> bytes:
    """An IPv6 address in its normal spelling; anything else unchanged."""
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address.decode())).encode()
    except (OSError, UnicodeDecodeError, ValueError):
        return address


def _as_ipv4(word: str) -> str | None:
    try:
        packed = socket.inet_pton(socket.AF_INET6, word)
    except (OSError, ValueError):
        return None
    if packed == _LOOPBACK:
        return "127.0.0.1"
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed.startswith(_MAPPED) else None


def _address(word: str, family: int) -> str | None:
    """The address in its normal spelling if ``word`` is one of this family, else None."""
    bare, percent, scope = word.partition("%")
    try:
        packed = socket.inet_pton(family, bare)
    except (OSError, ValueError):
        return None
    return socket.inet_ntop(family, packed) + percent + scope
