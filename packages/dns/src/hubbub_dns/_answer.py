"""The answer to a question, and how it is put together from the records of replies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from hubbub_dns._errors import Failure, LookupFailed

__all__ = ["AAAA", "CNAME", "HOST_NAME", "MAX_CHAIN", "PTR", "SOA", "A", "Answer", "Record", "follow"]

A, CNAME, SOA, PTR, AAAA = 1, 5, 6, 12, 28
HOST_NAME = re.compile(r"(?=[^-].{0,252}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\Z")
"""Host names as glibc accepts them: underscores are allowed, and hyphens everywhere but at the very beginning."""
MAX_CHAIN = 16
"""How many CNAME records are followed at most."""


_PER_TEXT = 57
"""Bytes that a str takes beside its characters, with the reference to it."""


class Record(NamedTuple):
    """One record of a reply."""

    owner: str
    rtype: int
    ttl: int
    """Seconds."""
    value: str
    """The address or the name."""


class Answer(NamedTuple):
    """What name servers say of one name and record type."""

    chain: tuple[str, ...]
    """The name asked for and what its CNAME records lead to, the canonical name last."""
    values: tuple[str, ...]
    """Addresses or names."""
    ttl: float
    """Seconds that the answer may be kept."""
    failure: Failure | None = None
    """NOT_FOUND or NO_DATA if there are no values."""

    def size(self) -> int:
        """About how many bytes the texts of the answer take."""
        texts = (*self.chain, *self.values)
        return _PER_TEXT * len(texts) + sum(map(len, texts))


def follow(
    records: Sequence[Record], chain: tuple[str, ...], rtype: int, ttl: float, exists: bool, negative_ttl: float
) -> Answer:
    """Find the records of ``rtype`` that the last name of ``chain`` has, following CNAME records.

    Records of other owners are ignored, so a reply cannot bring in what was not asked for.

    :param ttl: the least TTL of the CNAME records that led here.
    :param exists: False when the server says that the name at the end of the chain does not exist.
    :param negative_ttl: how long to keep the answer if there are no such records.
    :raises LookupFailed: the CNAME records are too many, or form a loop.
    """
    found = _owned(records, chain[-1], rtype)
    if not found and any(record.rtype == CNAME for record in records):
        chain, ttl = _follow_aliases(records, chain, rtype, ttl)
        found = _owned(records, chain[-1], rtype)
    if not found or not exists:
        return Answer(chain, (), min(ttl, negative_ttl), Failure.NO_DATA if exists else Failure.NOT_FOUND)
    values = tuple(dict.fromkeys([record.value for record in found]))
    return Answer(chain, values, min(ttl, *[record.ttl for record in found]))


def _owned(records: Sequence[Record], owner: str, rtype: int) -> list[Record]:
    """The records of one type that belong to a name."""
    owner = owner.lower()
    return [record for record in records if record.rtype == rtype and record.owner.lower() == owner]


def _follow_aliases(
    records: Sequence[Record], chain: tuple[str, ...], rtype: int, ttl: float
) -> tuple[tuple[str, ...], float]:
    """The chain as far as these records lead, and the least TTL of those that were followed."""
    goals = {record.owner.lower() for record in records if record.rtype == rtype}
    aliases = {record.owner.lower(): record for record in reversed(records) if record.rtype == CNAME}
    while (owner := chain[-1].lower()) not in goals and owner in aliases:
        if len(chain) > MAX_CHAIN:
            raise LookupFailed(Failure.NO_RECOVERY)
        chain = (*chain, aliases[owner].value)
        ttl = min(ttl, aliases[owner].ttl)
    return chain, ttl
