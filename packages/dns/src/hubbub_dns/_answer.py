"""What name servers say of a name, and how it is put together from records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from hubbub_dns._errors import Failure, LookupFailed

__all__ = ["AAAA", "CNAME", "MAX_CHAIN", "PTR", "SOA", "A", "Answer", "Record", "follow"]

A, CNAME, SOA, PTR, AAAA = 1, 5, 6, 12, 28
MAX_CHAIN = 16
"""How many CNAME records are followed at most."""


class Record(NamedTuple):
    """One record of a reply."""

    owner: str
    rtype: int
    ttl: int
    """Seconds."""
    value: str
    """The address or the name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the servers say of one name and type."""

    chain: tuple[str, ...]
    """The name asked for and what its CNAME records lead to, the canonical name last."""
    values: tuple[str, ...]
    """Addresses or names."""
    ttl: float
    """Seconds it may be kept."""
    failure: Failure | None = None
    """NOT_FOUND or NO_DATA if there are no values."""


def follow(
    records: Iterable[Record], chain: tuple[str, ...], rtype: int, ttl: float, exists: bool, negative_ttl: float
) -> Answer:
    """Find the records of ``rtype`` that the last name of ``chain`` has, following CNAME records.

    Records of other owners are not looked at, so a reply cannot bring in what was not asked for.

    :param ttl: the least of the CNAME records that led here.
    :param exists: False when the server says that the name at the end of the chain does not exist.
    :param negative_ttl: how long to keep the answer if there are no such records.
    :raises LookupFailed: the CNAME records are too many, or form a loop.
    """
    wanted: dict[str, list[Record]] = {}
    aliases: dict[str, Record] = {}
    for record in records:
        if record.rtype == rtype:
            wanted.setdefault(record.owner.lower(), []).append(record)
        elif record.rtype == CNAME:
            aliases.setdefault(record.owner.lower(), record)
    while True:
        owner = chain[-1].lower()
        if owner in wanted:
            values = tuple(dict.fromkeys(record.value for record in wanted[owner]))
            return Answer(chain, values, min(ttl, *(record.ttl for record in wanted[owner])))
        if owner not in aliases:
            failure = Failure.NO_DATA if exists else Failure.NOT_FOUND
            return Answer(chain, (), min(ttl, negative_ttl), failure)
        if len(chain) > MAX_CHAIN:
            raise LookupFailed(Failure.NO_RECOVERY)
        alias = aliases[owner]
        chain = (*chain, alias.value)
        ttl = min(ttl, alias.ttl)
