"""Servers that are slow, dead, lame, or do not know EDNS: what is asked of whom, and how often."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import hubbub
import pytest
from hubbub_dns.cache import Cache
from hubbub_testkit.greenlets import open_descriptors

REAL = "192.0.2.1"
FALSE = "203.0.113.66"
RECURSIVE = 0x8180
NOT_RECURSIVE = 0x8100


@pytest.fixture
def hub() -> Iterator[Any]:
    """A fresh hub on the default loop: which server is asked when is the same on all of them, and takes seconds."""
    hubbub.get_hub().destroy()
    yield hubbub.get_hub()
    hubbub.get_hub().destroy()


def error_of(function: Any, *args: Any) -> int:
    """The number of the error that a lookup raises."""
    with pytest.raises((socket.gaierror, socket.herror)) as info:
        function(*args)
    number: int = info.value.args[0]
    return number


# Slow and dead --


def test_slow(make: Any, nameserver: Any) -> None:
    """A server that answers after two seconds is slow, not dead: its reply is waited for, and it is asked once."""
    for number in range(5):  # it has shown that it can be quick
        assert make(nameserver).gethostbyname(f"n{number}.test") == REAL
    nameserver.log.clear()

    open_now = most = 0

    def script(request: Any) -> Any:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        hubbub.sleep(2)
        open_now -= 1
        return request.a(REAL)

    nameserver.script = script
    resolver = make(nameserver)
    assert resolver.gethostbyname("www.test") == REAL
    assert len(nameserver.log) == 1
    asking = [hubbub.spawn(resolver.gethostbyname, f"many{number}.test") for number in range(40)]
    hubbub.joinall(asking, 40)
    assert {one.value for one in asking} == {REAL}
    assert most == 40  # none waits for the reply to another
    assert len(nameserver.log) == 41


def test_slow_among_quick(make: Any, nameserver: Any) -> None:
    """Names that take the server long are waited for while others are answered at once."""

    def script(request: Any) -> Any:
        if request.name.startswith("slow"):
            hubbub.sleep(1.5)
        return request.a(REAL)

    nameserver.script = script
    resolver = make(nameserver)
    slow = [hubbub.spawn(resolver.gethostbyname, f"slow{number}.test") for number in range(3)]
    for number in range(60):
        assert resolver.gethostbyname(f"quick{number}.test") == REAL
        hubbub.sleep(0.01)
    hubbub.joinall(slow, 5)
    assert [one.value for one in slow] == [REAL] * 3
    assert sum(request.name.startswith("slow") for request in nameserver.log) == 3


@pytest.mark.parametrize(("timeout", "attempts"), [(1, 1), (1, 2), (1, 3)])
def test_dead(make: Any, nameservers: Any, timeout: int, attempts: int) -> None:
    """``attempts`` questions go to each dead server, ``timeout`` seconds apart, as resolv.conf(5) has it."""
    servers = [nameservers(), nameservers()]
    for server in servers:
        server.script = lambda request: None
    make.resolv_conf.write_text(f"options timeout:{timeout} attempts:{attempts}\n")
    began = time.monotonic()
    assert error_of(make(*servers).gethostbyname, "www.test") == socket.EAI_AGAIN
    taken = time.monotonic() - began
    assert [len(server.log) for server in servers] == [attempts, attempts]
    assert timeout * attempts * 2 - 0.1 < taken < timeout * attempts * 2 + 1


def test_late(make: Any, nameserver: Any) -> None:
    """The reply to the first question counts although the second was sent meanwhile."""

    def script(request: Any) -> Any:
        if len(nameserver.log) > 1:
            return None
        hubbub.sleep(0.6)
        return request.a(REAL)

    nameserver.script = script
    assert make(nameserver, timeout=0.4, attempts=3).gethostbyname("www.test") == REAL


# In every order --


def members(dns: Any) -> dict[str, Callable[[Any], Any]]:
    def slow(request: Any) -> Any:
        hubbub.sleep(0.1)
        return request.a(REAL)

    return {
        "dead": lambda request: None,
        "lame": lambda request: request.reply(authority=[dns.rr("test", "NS", "ns.test")], flags=RECURSIVE),
        "refusing": lambda request: request.reply(rcode=dns.REFUSED),
        "failing": lambda request: request.reply(rcode=dns.SERVFAIL),
        "mute": lambda request: request.reply(flags=NOT_RECURSIVE),
        "working": slow,
    }


@pytest.mark.parametrize("bad", ["dead", "lame", "refusing", "failing", "mute"])
def test_order_of_servers(make: Any, nameservers: Any, dns: Any, bad: str) -> None:
    """Wherever the working server stands, the lookup succeeds; who is asked before it is asked once."""
    kinds = members(dns)
    for order in permutations([bad, "dead", "working"]):
        servers = [nameservers() for _ in order]
        for server, kind in zip(servers, order, strict=True):
            server.script = kinds[kind]
        place = order.index("working")
        assert make(*servers, timeout=0.3).gethostbyname("www.test") == REAL
        assert [len(server.log) for server in servers] == [1] * (place + 1) + [0] * (2 - place)


@pytest.mark.parametrize("kind", ["lame", "mute"])
def test_lame_alone(make: Any, nameserver: Any, dns: Any, kind: str) -> None:
    """If the only server refers to others, that says nothing of the name: EAI_AGAIN, and nothing is kept."""
    nameserver.script = members(dns)[kind]
    cache = Cache()
    resolver = make(nameserver, cache=cache, timeout=0.3)
    assert error_of(resolver.gethostbyname, "www.test") == socket.EAI_AGAIN
    assert len(cache) == 0
    nameserver.script = lambda request: request.a(REAL)
    assert resolver.gethostbyname("www.test") == REAL


def test_no_data(make: Any, nameserver: Any, dns: Any) -> None:
    """An empty reply of a server that asks others, or is the authority, is an answer: there is nothing."""
    resolver = make(nameserver, timeout=5)
    for reply in (
        lambda request: request.reply(flags=RECURSIVE),
        lambda request: request.reply(flags=NOT_RECURSIVE | 0x0400),
        lambda request: request.reply(authority=[dns.soa("test", 60)], flags=NOT_RECURSIVE),
    ):
        nameserver.script = reply
        assert error_of(resolver.gethostbyname, "www.test") == socket.EAI_NODATA


@pytest.mark.parametrize("rcode", range(16))
@pytest.mark.parametrize("full", [False, True])
def test_every_rcode(make: Any, nameserver: Any, rcode: int, full: bool) -> None:
    """Each rcode has its error, with records in the reply or without."""
    again, nobody = {2, 4, 5}, {3}
    nameserver.script = lambda request: request.a(*[REAL] * full, flags=RECURSIVE | rcode)
    # c-ares reads no unassigned ones, and so waits in vain.
    look_up = make(nameserver, timeout=5 if rcode <= 11 else 0.3, attempts=1).gethostbyname
    if not rcode:
        assert look_up("www.test") == REAL if full else error_of(look_up, "www.test") == socket.EAI_NODATA
        return
    expected = socket.EAI_AGAIN if rcode in again else socket.EAI_NONAME if rcode in nobody else socket.EAI_FAIL
    found = error_of(look_up, "www.test")
    assert found == expected or (found == socket.EAI_AGAIN and rcode > 11)


def test_alias_that_is_no_host_name(make: Any, nameserver: Any, dns: Any) -> None:
    """A CNAME record may lead to what is no host name; its addresses are found, and the name is not shown."""
    nameserver.script = lambda request: request.reply(
        dns.rr(request.name, "CNAME", "b\nx.test"), dns.rr("b\nx.test", "A", REAL)
    )
    assert make(nameserver).gethostbyname_ex("www.test") == ("www.test", [], [REAL])


# EDNS --


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP"])
def test_without_edns(make: Any, nameserver: Any, dns: Any, rcode: str, bare: bool) -> None:
    """A server that does not know EDNS is asked again without it, also if its refusal is a bare header."""
    number = getattr(dns, rcode)

    def script(request: Any) -> Any:
        if not request.edns:
            return request.a(REAL)
        return (
            request.wire[:2] + struct.pack("!5H", 0x8180 | number, 0, 0, 0, 0) if bare else request.reply(rcode=number)
        )

    nameserver.script = script
    resolver = make(nameserver, timeout=100.0)  # longer than the test may take
    assert resolver.gethostbyname("www.test") == REAL
    assert resolver.gethostbyname("other.test") == REAL


# What is not to be believed --


def strangers(request: Any, dns: Any) -> dict[str, bytes]:
    """Replies that are none."""
    head = struct.pack("!6H", request.id, 0x8180, 0, 1, 0, 0)
    chaos = dns.rr(request.name, "A", FALSE)
    at = len(dns.wire_name(request.name)) + 2
    chaos = chaos[:at] + b"\0\3" + chaos[at + 2 :]
    return {
        "no question": head + dns.rr(request.name, "A", FALSE),
        "no question, nothing": struct.pack("!6H", request.id, 0x8180, 0, 0, 0, 0),
        "no question, no such name": struct.pack("!6H", request.id, 0x8183, 0, 0, 0, 0),
        "no question, refused": struct.pack("!6H", request.id, 0x8185, 0, 0, 0, 0),
        "no question, failed": struct.pack("!6H", request.id, 0x8182, 0, 0, 0, 0),
        "another class": request.reply(chaos),
        "another class asked": request.reply(chaos, question=request.question[:-1] + b"\3"),
        "two questions": struct.pack("!6H", request.id, 0x8183, 2, 0, 0, 0) + request.question * 2,
        "an opcode": request.a(FALSE, flags=0xA180),
        "a query": request.a(FALSE, flags=0x0100),
        "cut off": request.a(FALSE)[:-2],
        "another id": request.a(FALSE, id=request.id ^ 1),
        "another name": request.a(FALSE, question=dns.wire_name("x.test") + request.question[-4:]),
        "another type": request.a(FALSE, question=request.question[:-4] + b"\0\x1c\0\1"),
        "empty": b"",
        "short": request.wire[:5],
    }


KINDS = [
    *("no question", "no question, nothing", "no question, no such name", "no question, refused", "another class"),
    *("no question, failed", "another class asked", "two questions", "an opcode", "a query", "cut off", "another id"),
    *("another name", "another type", "empty", "short"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_strange_replies(make: Any, nameserver: Any, dns: Any, kind: str) -> None:
    """What is no reply to the question is not believed, and the right one, which comes later, is."""

    def script(request: Any) -> Iterator[bytes]:
        yield strangers(request, dns)[kind]
        hubbub.sleep(0.05)
        yield request.a(REAL)

    nameserver.script = script
    cache = Cache()
    resolver = make(nameserver, cache=cache)
    assert resolver.gethostbyname("www.test") == REAL
    assert resolver.gethostbyname("www.test") == REAL


# Damage --


def mutated(wire: bytes, dice: random.Random) -> bytes:
    """The same, with damage anywhere but in the id."""
    data = bytearray(wire)
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        place = dice.randrange(2, len(data)) if len(data) > 2 else 0
        match dice.randrange(5):
            case 0:
                data[place] = dice.randrange(256)
            case 1:
                data[place] ^= 1 << dice.randrange(8)
            case 2:
                del data[place : place + dice.randrange(1, 9)]
            case 3:
                data[place:place] = dice.randbytes(dice.randrange(1, 9))
            case 4:
                data[place : place + 2] = bytes((0xC0 | dice.randrange(64), dice.randrange(256)))
        if len(data) < 3:
            break
    return bytes(data)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(3))
def test_damaged_replies(make: Any, nameserver: Any, dns: Any, seed: int) -> None:
    """Whatever is damaged in a reply, over UDP or TCP, the lookup ends, with an answer or gaierror or herror."""
    dice = random.Random(seed)

    def script(request: Any) -> bytes:
        if request.kind == dns.PTR:
            whole = request.reply(dns.rr(request.name, "PTR", "host.test"))
        else:
            whole = request.reply(
                dns.rr(request.name, "CNAME", "alias.test"),
                dns.rr("alias.test", "CNAME", "b\xfccher.test"),
                dns.rr("b\xfccher.test", request.kind, b"\1" * (4 if request.kind == 1 else 16)),
                authority=[dns.soa("test", 60)],
                truncated=not request.tcp and dice.random() < 0.1,
            )
        return mutated(whole, dice)

    nameserver.script = script
    resolver = make(nameserver, timeout=0.1, attempts=1)
    before = open_descriptors()

    def look_up(number: int) -> str:
        name = f"n{number}.test"
        try:
            match number % 4:
                case 0:
                    resolver.getaddrinfo(name, 80)
                case 1:
                    resolver.gethostbyname_ex(name)
                case 2:
                    resolver.gethostbyaddr(f"192.0.2.{number % 256}")
                case 3:
                    query = getattr(resolver, "query", resolver.gethostbyname)
                    query(name)
        except (socket.gaierror, socket.herror):
            return "error"
        return "answer"

    outcomes: list[Any] = []
    for first in range(0, 700, 100):
        asking = [hubbub.spawn(look_up, number) for number in range(first, first + 100)]
        hubbub.joinall(asking, 20)
        outcomes += [one.value if one.successful() else one.exception for one in asking]
    assert set(outcomes) <= {"answer", "error"}
    for _ in range(100):  # the server closes its ends of connections
        if open_descriptors() <= before:
            break
        hubbub.sleep(0.02)
    assert open_descriptors() <= before


@pytest.mark.parametrize("kind", ["stalls", "closes", "garbage", "short", "longer", "silent"])
def test_tcp(make: Any, nameserver: Any, kind: str) -> None:
    """A server whose TCP side stalls, closes or sends garbage costs no more than its time, and leaks nothing."""
    nameserver.script = lambda request: request.reply(truncated=True)

    def converse(request: Any) -> None:
        whole = request.a(REAL)
        sent = {
            "stalls": len(whole).to_bytes(2) + whole[:10],
            "closes": len(whole).to_bytes(2) + whole[:10],
            "garbage": b"\xff\xff" + b"\xff" * 100,
            "short": b"\0\1\0",
            "longer": (len(whole) + 5).to_bytes(2) + whole + b"\0" * 5,
            "silent": b"",
        }
        request.sock.sendall(sent[kind])
        if kind in ("stalls", "silent"):
            hubbub.sleep(100)
        request.sock.close()

    nameserver.tcp_script = converse
    resolver = make(nameserver, timeout=0.4, attempts=1)
    before = open_descriptors()
    if kind == "longer":
        assert resolver.gethostbyname("www.test") == REAL
    else:
        assert error_of(resolver.gethostbyname, "www.test") in (socket.EAI_AGAIN, socket.EAI_FAIL)
    resolver.close()
    hubbub.sleep(0.05)
    assert len(open_descriptors() - before) <= 1  # the server's end
