"""The hosts file: hosts(5)."""

from __future__ import annotations

import socket
from collections.abc import Generator
from dataclasses import dataclass, field

__all__ = ["Host", "Hosts", "parse"]

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
    """An index of the file: name or address to the words of the lines it stands on."""

    def __init__(self) -> None:
        self._names: dict[bytes, list[list[bytes]]] = {}
        self._addresses: dict[bytes, list[bytes]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, words: list[bytes]) -> None:
        """Note one line: an address and its names."""
        for name in words[1:]:
            self._names.setdefault(name.lower(), []).append(words)
        address = words[0].lower()
        self._addresses.setdefault(_normal(address) if b":" in address else address, words)

    def by_name(self, name: str, family: int) -> Host | None:
        """All addresses of one family that the file has for a name; None if it has none."""
        found: Host | None = None
        for words in self._names.get(name.lower().encode("ascii", "replace"), ()):
            address = _address(words[0], family)
            if address is None:
                continue
            canonical, *aliases = (word.decode("latin-1") for word in words[1:])
            if found is None:
                found = Host(canonical)
            found.aliases += [alias for alias in aliases if alias not in found.aliases]
            if address not in found.addresses:
                found.addresses.append(address)
        return found

    def by_address(self, address: str) -> Host | None:
        """The names of the first line that has this address; None if there is none."""
        words = self._addresses.get(address.lower().encode("ascii", "replace"))
        if words is None:
            return None
        canonical, *aliases = (word.decode("latin-1") for word in words[1:])
        return Host(canonical, aliases, [address])


def parse(text: bytes) -> Generator[None, None, Hosts]:
    """Index a hosts file; yields every few hundred lines. Lines that make no sense are passed over."""
    hosts = Hosts()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition(b"#")[0].split()
        if len(words) > 1:
            hosts.add(words)
        if number % _SLICE == 0:
            yield
    return hosts


def _normal(address: bytes) -> bytes:
    """One spelling for each IPv6 address; what is none stays as it is."""
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address.decode())).encode()
    except (OSError, UnicodeDecodeError, ValueError):
        return address


def _address(word: bytes, family: int) -> str | None:
    """The address if it is one of this family."""
    bare, percent, scope = word.decode("latin-1").partition("%")
    try:
        packed = socket.inet_pton(family, bare)
    except (OSError, ValueError):
        return None
    return socket.inet_ntop(family, packed) + percent + scope
