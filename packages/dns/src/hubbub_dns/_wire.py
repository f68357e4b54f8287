"""DNS messages (RFC 1035) without I/O: queries out, matching replies in, records found.

Anybody who guesses a port and an id can send a reply. So the time to read one is proportional to its length, and a
reply that is wrong in any way raises Malformed: names are remembered by their offset, and a compression pointer may
lead backwards only (RFC 9267). Only the record types of addresses and host names are read.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from typing import NamedTuple

from hubbub.lowlevel import at_fork

from hubbub_dns._answer import AAAA, CNAME, PTR, SOA, A, Record

__all__ = ["MAX_UDP", "Malformed", "Query", "Reply", "encode_name", "peek", "read_reply"]

MAX_UDP = 1232
"""Bytes of the largest datagram that queries allow by EDNS: it passes any network unfragmented."""
_IN = 1
_RECURSION_DESIRED = 0x0100
_REPLY, _OPCODE, _AUTHORITATIVE, _TRUNCATED, _RECURSIVE, _RCODE = 0x8000, 0x7800, 0x0400, 0x0200, 0x0080, 0x000F
_HEADER = struct.Struct("!HHHHHH")
_FIXED = struct.Struct("!HHIH")
_LENGTHS = [bytes((length,)) for length in range(64)]
_TAIL = struct.Struct("!HH")
_OPT = b"\0" + _FIXED.pack(41, MAX_UDP, 0, 0)  # RFC 6891
_MAX_HOPS = 127
_NS = 2
_DISLIKES = frozenset({1, 4})
"""FORMERR and NOTIMP: the response codes of servers that do not know EDNS."""


_READ = frozenset({A, AAAA, CNAME, PTR})


class Malformed(Exception):
    """The bytes are no well-formed DNS message."""


def encode_name(name: str) -> bytes:
    """A host name in its form on the wire."""
    labels = name.rstrip(".").encode("ascii").split(b".")
    return b"".join([_LENGTHS[len(label)] + label for label in labels]) + b"\0"


_random_ids = array("H")


def _random_id() -> int:
    """A random id from the operating system, which is asked for many at a time."""
    try:
        return _random_ids.pop()
    except IndexError:
        _random_ids.frombytes(os.urandom(512))
        return _random_ids.pop()


at_fork(in_child=lambda: _random_ids.__delitem__(slice(None)))  # the parent uses these


class Query:
    """One question, with an unpredictable id (RFC 5452)."""

    __slots__ = ("edns", "id", "question")

    def __init__(self, id: int, question: bytes, edns: bool) -> None:
        self.id: int = id
        self.question: bytes = question
        self.edns: bool = edns

    @classmethod
    def make(cls, name: str | bytes, rtype: int, edns: bool) -> Query:
        """Ask for the records of one type.

        :param name: a host name, or any name as it goes over the wire.
        :param edns: whether to allow more than 512 bytes over UDP.
        """
        wire = encode_name(name) if isinstance(name, str) else name
        return cls(_random_id(), wire + _TAIL.pack(rtype, _IN), edns)

    def to_wire(self) -> bytes:
        """The message."""
        if self.edns:
            return _HEADER.pack(self.id, _RECURSION_DESIRED, 1, 0, 0, 1) + self.question + _OPT
        return _HEADER.pack(self.id, _RECURSION_DESIRED, 1, 0, 0, 0) + self.question

    def matches(self, wire: bytes) -> bool:
        """Whether ``wire`` is a reply to this query: not one with another id or question, nor a query.

        The socket has checked where it came from.
        """
        if len(wire) < _HEADER.size:
            return False
        ident, flags, questions, _, _, _ = _HEADER.unpack_from(wire)
        if ident != self.id or not flags & _REPLY or flags & _OPCODE:
            return False
        # The name is not compressed: no earlier name is there to point to.
        question = wire[_HEADER.size : _HEADER.size + len(self.question)]
        return bool(questions == 1) and question.lower() == self.question.lower()

    def is_disliked(self, wire: bytes) -> bool:
        """Whether ``wire``, a reply without a question, says that the server did not understand the query's EDNS.

        It proves nothing, as it repeats no question. The caller may ask without EDNS as well.
        """
        if not self.edns or len(wire) < _HEADER.size:
            return False
        ident, flags, questions, answers, _, _ = _HEADER.unpack_from(wire)
        refuses = flags & _REPLY and not flags & _OPCODE and flags & _RCODE in _DISLIKES
        return bool(ident == self.id and refuses and questions == answers == 0)


def peek(wire: bytes) -> tuple[tuple[str, int] | None, bool]:
    """Look at a datagram without knowing its query.

    :returns: the name in small letters and the type that it answers, or None if it is no reply; and whether it says,
        without repeating a question, that a query was not understood.
    """
    if len(wire) < _HEADER.size:
        return None, False
    _, flags, questions, answers, _, _ = _HEADER.unpack_from(wire)
    if not flags & _REPLY or flags & _OPCODE:
        return None, False
    if not questions:
        return None, not answers and flags & _RCODE in _DISLIKES
    try:
        name, offset = _Names(wire).read(_HEADER.size)
        rtype, rclass = _TAIL.unpack_from(wire, offset)
    except (struct.error, IndexError, Malformed):
        return None, False
    return ((name.lower(), rtype) if questions == 1 and rclass == _IN else None), False


class Reply(NamedTuple):
    """The parts of a message that matter here."""

    rcode: int
    truncated: bool
    records: tuple[Record, ...] = ()
    """A, AAAA, CNAME and PTR records of the answer section."""
    negative_ttl: float | None = None
    """Seconds that "there is nothing" may be kept (RFC 2308, section 5); None without a SOA record."""
    wire: bytes = b""
    """The message."""
    lame: bool = False
    """Whether the server neither knows the name nor asks other servers, but refers to them."""


def read_reply(wire: bytes) -> Reply:
    """Read a message that matches its query.

    :raises Malformed: it is broken.
    """
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(wire)
    rcode = flags & _RCODE
    if flags & _TRUNCATED:
        return Reply(rcode, True, wire=wire)
    try:
        return _read_sections(wire, flags, questions, answers, authorities)
    except (struct.error, IndexError):
        raise Malformed("the message ends too early") from None


def _read_sections(wire: bytes, flags: int, questions: int, answers: int, authorities: int) -> Reply:
    names = _Names(wire)
    offset = _HEADER.size
    for _ in range(questions):
        _, offset = names.read(offset)
        offset += 4
    records = []
    strange = False
    for _ in range(answers):
        record, offset = _read_record(wire, names, offset)
        if record is None:
            strange = True
        elif record.rtype in _READ:
            records.append(record)
    if strange and not records:
        raise Malformed("all records are of another class")
    negative_ttl = None
    refers = False
    for _ in range(authorities):
        record, offset = _read_record(wire, names, offset)
        if record is not None and record.rtype == SOA:
            negative_ttl = float(min(record.ttl, int(record.value)))
        elif record is not None and record.rtype == _NS:
            refers = True
    says_nothing = flags & (_RCODE | _AUTHORITATIVE) == 0 and not answers and negative_ttl is None
    lame = says_nothing and (refers or not flags & _RECURSIVE)
    return Reply(flags & _RCODE, False, tuple(records), negative_ttl, wire, lame)


def _read_record(wire: bytes, names: _Names, offset: int) -> tuple[Record | None, int]:
    """One record (None if it is of another class) and the offset of the next one."""
    owner, offset = names.read(offset)
    rtype, rclass, ttl, length = _FIXED.unpack_from(wire, offset)
    offset += _FIXED.size
    end = offset + length
    if end > len(wire):
        raise Malformed("a record ends after the message")
    if rclass != _IN:
        return None, end
    if ttl >> 31:  # RFC 2181, section 8
        ttl = 0
    if rtype == A:
        return Record(owner, rtype, ttl, _address(socket.AF_INET, wire[offset:end])), end
    if rtype == AAAA:
        return Record(owner, rtype, ttl, _address(socket.AF_INET6, wire[offset:end])), end
    if rtype in (CNAME, PTR):
        target, after = names.read(offset)
        if after != end:
            raise Malformed("a name does not fill its record")
        return Record(owner, rtype, ttl, target), end
    if rtype == SOA:
        _, after = names.read(offset)
        _, after = names.read(after)
        if after + 20 != end:
            raise Malformed("a SOA record has the wrong length")
        return Record(owner, rtype, ttl, str(struct.unpack_from("!I", wire, after + 16)[0])), end
    return Record(owner, rtype, ttl, ""), end


def _address(family: int, packed: bytes) -> str:
    try:
        return socket.inet_ntop(family, packed)
    except ValueError:
        raise Malformed("an address has the wrong length") from None


class _Names:
    """Reads the names of one message, each offset once."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._known: dict[int, tuple[str, int]] = {}
        """For the offset of a pointer's target the name there, and its length in bytes."""

    def read(self, offset: int) -> tuple[str, int]:
        """The name at an offset, without trailing dot, and the offset of its end."""
        wire = self._wire
        if wire[offset] >= 0xC0:
            known = self._known.get((wire[offset] & 0x3F) << 8 | wire[offset + 1])
            if known is not None:
                return known[0], offset + 2
        name, size, end = self._read(offset, 0)
        self._known[offset] = name, size
        return name, end

    def _read(self, offset: int, hops: int) -> tuple[str, int, int]:
        """The name, its length in bytes, and the offset of its end. ``hops`` is how many pointers have led here."""
        if hops > _MAX_HOPS:
            raise Malformed("too many compression pointers")
        wire = self._wire
        before = offset
        labels = []
        size = 1
        while length := wire[offset]:
            if length >= 0xC0:
                target = (length & 0x3F) << 8 | wire[offset + 1]
                if target >= before:
                    raise Malformed("a compression pointer does not lead backwards")
                rest, rest_size = self._at(target, hops + 1)
                if rest:
                    labels.append(rest)
                size += rest_size - 1
                offset += 1
                break
            if length > 63:
                raise Malformed("an unknown kind of label")
            label = wire[offset + 1 : offset + 1 + length]
            if len(label) < length:
                raise Malformed("the message ends too early")
            labels.append(_shown(label))
            size += length + 1
            offset += length + 1
            if size > 255:
                break
        if size > 255:
            raise Malformed("a name is longer than 255 bytes")
        return ".".join(labels), size, offset + 1

    def _at(self, offset: int, hops: int) -> tuple[str, int]:
        known = self._known.get(offset)
        if known is None:
            name, size, _ = self._read(offset, hops)
            known = self._known[offset] = name, size
        return known


def _shown(label: bytes) -> str:
    """A label as text; a dot inside of it is escaped, so that it does not look like the label's end."""
    text = label.decode("latin-1")
    if "." in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace(".", "\\.")
    return text
