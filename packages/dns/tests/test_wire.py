"""DNS messages without I/O."""

from __future__ import annotations

import random
import struct
from collections import Counter

import dns.message
import dns.rdatatype
import pytest
from hubbub_dns._answer import MAX_CHAIN, Record, follow
from hubbub_dns._errors import Failure, LookupFailed
from hubbub_dns._wire import MAX_UDP, Malformed, Query, encode_name, read_reply


def reply_to(query: Query, text: str) -> bytes:
    """A reply that dnspython has made, names compressed."""
    message = dns.message.from_text(text)
    message.id = query.id
    wire: bytes = message.to_wire()
    return wire


TEXT = """\
opcode QUERY
rcode NOERROR
flags QR RD RA
;QUESTION
www.example.test. IN A
;ANSWER
www.example.test. 300 IN CNAME web.example.test.
web.example.test. 60 IN A 192.0.2.1
web.example.test. 60 IN A 192.0.2.2
web.example.test. 60 IN AAAA 2001:db8::1
web.example.test. 60 IN TXT "not of interest"
;AUTHORITY
example.test. 600 IN SOA ns.example.test. root.example.test. 1 2 3 4 120
"""


def test_query_as_dnspython_reads_it() -> None:
    """A query is what dnspython would have written: one question, recursion desired, EDNS with our size."""
    query = Query.make(encode_name("www.example.test"), 28, edns=True)
    message = dns.message.from_wire(query.to_wire())
    assert message.id == query.id
    assert [(str(rrset.name), rrset.rdtype) for rrset in message.question] == [("www.example.test.", 28)]
    assert message.flags == 0x0100
    assert (message.edns, message.payload) == (0, MAX_UDP)
    assert dns.message.from_wire(Query.make(encode_name("a.test."), 1, edns=False).to_wire()).edns == -1


def test_reply_by_dnspython() -> None:
    """What dnspython writes is read: compressed names, the records of interest, how long absence may be kept."""
    query = Query.make(encode_name("www.example.test"), 1, edns=True)
    wire = reply_to(query, TEXT)
    assert query.matches(wire)
    reply = read_reply(wire)
    # dnspython writes the records of one name and type in random order.
    assert reply.records[0].rtype == dns.rdatatype.CNAME
    assert set(reply.records) == {
        Record("www.example.test", dns.rdatatype.CNAME, 300, "web.example.test"),
        Record("web.example.test", dns.rdatatype.A, 60, "192.0.2.1"),
        Record("web.example.test", dns.rdatatype.A, 60, "192.0.2.2"),
        Record("web.example.test", dns.rdatatype.AAAA, 60, "2001:db8::1"),
    }
    assert (reply.rcode, reply.truncated, reply.negative_ttl) == (0, False, 120.0)


def test_matching() -> None:
    """A reply matches by id, question (in any case of letters) and being a reply."""
    query = Query.make(encode_name("www.example.test"), 1, edns=True)
    wire = reply_to(query, TEXT)
    question = slice(12, 12 + len(query.question))
    assert query.matches(wire[:12] + wire[question].upper() + wire[question.stop :])
    assert not query.matches(bytes([wire[0] ^ 1]) + wire[1:])
    assert not query.matches(wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:])
    assert not query.matches(wire[:2] + bytes([wire[2] | 0x10]) + wire[3:])
    assert not query.matches(wire.replace(b"www", b"wwx", 1))
    assert not query.matches(wire[:11])
    assert not query.matches(b"")


def test_reply_without_question() -> None:
    """A reply without the question is never believed; FORMERR and NOTIMP hint that EDNS is not understood."""
    query = Query.make(encode_name("www.example.test"), 1, edns=True)
    for rcode in range(16):
        wire = struct.pack("!6H", query.id, 0x8180 | rcode, 0, 0, 0, 0)
        assert not query.matches(wire)
        assert query.is_disliked(wire) == (rcode in (1, 4))
    for strange in (
        struct.pack("!6H", query.id, 0x8181, 0, 1, 0, 0),
        struct.pack("!6H", query.id, 0x0101, 0, 0, 0, 0),
        struct.pack("!6H", query.id ^ 1, 0x8181, 0, 0, 0, 0),
        struct.pack("!5H", query.id, 0x8181, 0, 0, 0),
        b"",
    ):
        assert not query.is_disliked(strange)
    assert not Query(query.id, query.question, edns=False).is_disliked(struct.pack("!6H", query.id, 0x8181, 0, 0, 0, 0))


def test_ids() -> None:
    """Ids are spread over their range, and do not repeat more than chance has it."""
    ids = Counter(Query.make(b"\0", 1, True).id for _ in range(10_000))
    assert len(ids) > 8900  # 9,279 are expected
    assert min(ids) < 200
    assert max(ids) > 65_335


def test_truncated() -> None:
    """Of a truncated reply nothing but that is read."""
    query = Query.make(encode_name("www.example.test"), 1, edns=True)
    wire = reply_to(query, TEXT.replace("QR RD RA", "QR TC RD RA"))
    reply = read_reply(wire[:40])
    assert reply.truncated
    assert reply.records == ()


def test_dot_in_a_label() -> None:
    """A dot inside a label is not taken for the end of it."""
    owner = b"\x08www.evil\x04test\0"
    wire = struct.pack("!6H", 1, 0x8180, 0, 1, 0, 0) + owner + struct.pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    (record,) = read_reply(wire).records
    assert record.owner == "www\\.evil.test"


def test_ttl_with_the_highest_bit() -> None:
    """A TTL with its highest bit set is 0 (RFC 2181)."""
    wire = struct.pack("!6H", 1, 0x8180, 0, 1, 0, 0) + b"\1a\0" + struct.pack("!HHIH", 1, 1, 1 << 31, 4) + b"\1\2\3\4"
    assert read_reply(wire).records[0].ttl == 0


def test_mutations_like_dnspython() -> None:
    """What we take from a damaged reply, dnspython takes from it too, wherever it can read it."""
    dice = random.Random(9)
    query = Query.make(encode_name("www.example.test"), 1, edns=True)
    whole = reply_to(query, TEXT)
    read = 0
    for _ in range(1500):
        wire = bytearray(whole)
        wire[dice.randrange(12, len(wire))] = dice.randrange(256)
        try:
            ours = read_reply(bytes(wire))
            theirs = dns.message.from_wire(bytes(wire), ignore_trailing=True, one_rr_per_rrset=True)
        except Malformed:
            continue
        except Exception:  # noqa: S112  # dnspython reads more types than we do, and refuses more
            continue
        found = [
            (str(rrset.name).rstrip(".").lower(), int(rrset.rdtype), rrset.ttl, str(rrset[0]).rstrip(".").lower())
            for rrset in theirs.answer
            if rrset.rdtype in (1, 5, 12, 28) and rrset.rdclass == 1
        ]
        mine = [(r.owner.lower(), r.rtype, r.ttl, r.value.lower()) for r in ours.records]
        if "\\" not in str(found) + str(mine):  # the two escape differently
            assert mine == found
            read += 1
    assert read > 250


# Chains --


def test_follow() -> None:
    """The chain of CNAME records leads to the values; the least TTL of all counts."""
    records = [
        Record("B.test", 5, 20, "c.test"),
        Record("a.test", 5, 90, "b.test"),
        Record("c.TEST", 1, 50, "192.0.2.1"),
    ]
    answer = follow(records, ("a.test",), 1, float("inf"), True, 0)
    assert (answer.chain, answer.values, answer.ttl, answer.failure) == (
        ("a.test", "b.test", "c.test"),
        ("192.0.2.1",),
        20,
        None,
    )


def test_follow_nothing() -> None:
    """At the end of a chain without records there is no data, or no name."""
    records = [Record("a.test", 5, 90, "b.test"), Record("x.test", 1, 50, "192.0.2.66")]
    answer = follow(records, ("a.test",), 1, float("inf"), True, 30)
    assert (answer.chain, answer.values, answer.ttl, answer.failure) == (("a.test", "b.test"), (), 30, Failure.NO_DATA)
    assert follow(records, ("a.test",), 1, float("inf"), False, 30).failure is Failure.NOT_FOUND


def test_follow_for_ever() -> None:
    """Sixteen CNAME records are followed, seventeen are too many, and a circle is as well."""
    links = [Record(f"{number}.test", 5, 9, f"{number + 1}.test") for number in range(MAX_CHAIN)]
    assert follow([*links, Record("16.test", 1, 9, "192.0.2.1")], ("0.test",), 1, 9, True, 0).values
    links.append(Record("16.test", 5, 9, "17.test"))
    for records in (links, [Record("0.test", 5, 9, "0.test")]):
        with pytest.raises(LookupFailed) as info:
            follow(records, ("0.test",), 1, 9, True, 0)
        assert info.value.failure is Failure.NO_RECOVERY
