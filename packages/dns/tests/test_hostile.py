"""Replies that are forged, broken, late or missing. Both resolvers that ask name servers keep the same promises."""

from __future__ import annotations

import errno
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket

REAL = "192.0.2.1"
FALSE = "203.0.113.66"


def ask(resolver: Any, name: str = "www.test") -> str:
    """The IPv4 address of a name."""
    address: str = resolver.gethostbyname(name)
    return address


def error_of(function: Any, *args: Any) -> int:
    """The number of the error that a lookup raises."""
    with pytest.raises(socket.gaierror) as info:
        function(*args)
    number: int = info.value.errno
    return number


# Forged replies --


def test_wrong_id(make: Any, nameserver: Any) -> None:
    """A reply with another id is ignored while the right one is awaited."""
    nameserver.script = lambda request: [
        *(request.a(FALSE, id=(request.id + offset) % 65536) for offset in range(1, 100)),
        request.a(REAL),
    ]
    assert ask(make(nameserver)) == REAL


def test_wrong_question(make: Any, nameserver: Any, dns: Any) -> None:
    """A reply to another question is ignored while the right one is awaited."""
    other = dns.wire_name("evil.test") + struct.pack("!HH", 1, 1)
    nameserver.script = lambda request: [request.a(FALSE, question=other), request.a(REAL)]
    assert ask(make(nameserver)) == REAL


def test_reflected_query(make: Any, nameserver: Any) -> None:
    """The query itself, sent back, is ignored while the reply is awaited."""
    nameserver.script = lambda request: [request.wire, request.a(FALSE, flags=0x0180), request.a(REAL)]
    assert ask(make(nameserver)) == REAL


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_wrong_source(make: Any, nameserver: Any, host: str) -> None:
    """A reply from another port or address than was asked is ignored while the right one is awaited."""
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((host, 0))

        def script(request: Any) -> bytes:
            for _ in range(20):
                stranger.sendto(request.a(FALSE), request.peer)
            hubbub.sleep(0.02)
            real: bytes = request.a(REAL)
            return real

        nameserver.script = script
        assert ask(make(nameserver)) == REAL


def test_ten_thousand_forgeries(make: Any, nameserver: Any) -> None:
    """Of ten thousand forged replies none is accepted, and none enters the cache."""
    resolver = make(nameserver, cache=True)
    resolver.cache.clear()
    dice = random.Random(7)
    sent = 0

    def script(request: Any) -> list[bytes]:
        nonlocal sent
        ids = [guess for guess in dice.sample(range(65536), 101) if guess != request.id][:100]
        sent += len(ids)
        return [*(request.a(FALSE, id=guess) for guess in ids), request.a(REAL)]

    nameserver.script = script
    assert {ask(resolver, f"n{number}.test") for number in range(100)} == {REAL}
    assert {ask(resolver, f"n{number}.test") for number in range(100)} == {REAL}
    assert sent >= 10_000
    resolver.cache.clear()


def test_foreign_owner(make: Any, nameserver: Any, dns: Any) -> None:
    """Records of an owner that was not asked for, nor led to by a CNAME, are not used."""
    nameserver.script = lambda request: request.reply(
        dns.rr("evil.test", "A", FALSE), dns.rr("www.test", "A", REAL), dns.rr("test", "A", FALSE)
    )
    assert make(nameserver).gethostbyname_ex("www.test") == ("www.test", [], [REAL])
    nameserver.script = lambda request: request.reply(dns.rr("evil.test", "A", FALSE))
    assert error_of(ask, make(nameserver)) == socket.EAI_NODATA


# Broken messages --


def broken(request: Any, dns: Any) -> list[bytes]:
    """Every way to break a reply that RFC 9267 warns of, and some more."""
    good: bytes = request.a(FALSE)
    head, end = good[:12], 12 + len(request.question)
    fixed = struct.pack("!HHIH", 1, 1, 60, 4)
    address = socket.inet_aton(FALSE)

    def counted(counts: tuple[int, int, int, int], rest: bytes) -> bytes:
        return head[:4] + struct.pack("!4H", *counts) + request.question + rest

    one = (1, 1, 0, 0)
    long_name = b"".join(b"\x3f" + b"a" * 63 for _ in range(5)) + b"\0"
    return [
        b"",
        *(good[:length] for length in range(1, 12)),
        good[:-1],
        good[: end + 3],
        counted(one, b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 500) + address),  # data ends after the message
        counted(one, b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 3) + address[:3]),  # a short address
        counted(one, bytes([0xC0, end]) + fixed + address),  # a pointer to itself
        counted(one, bytes([0xC0, end + 2]) + fixed + address),  # a pointer forward
        counted(one, b"\xff\xff" + fixed + address),  # a pointer beyond the message
        counted(one, b"\1a" + bytes([0xC0, end]) + fixed + address),  # a loop with a label in it
        counted(one, long_name + fixed + address),  # a name of more than 255 bytes
        counted(one, b"\x40ab\0" + fixed + address),  # unknown kinds of label
        counted(one, b"\x80ab\0" + fixed + address),
        counted((1, 65535, 65535, 65535), b"\xc0\x0c" + fixed + address),
        counted((65535, 1, 0, 0), b"\xc0\x0c" + fixed + address),
        counted(one, b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 1) + b"\xc0"),  # half a pointer as target
        counted((1, 1, 0, 0), b""),
    ]


def test_broken_messages(make: Any, nameserver: Any, dns: Any) -> None:
    """Broken replies are ignored while a whole one is awaited, or end the lookup with a gaierror; nothing crashes."""
    resolver = make(nameserver, timeout=1.0, attempts=1)

    def script(request: Any) -> list[bytes]:
        which = int(request.name.partition(".")[0])
        return [broken(request, dns)[which], request.a(REAL)]

    nameserver.script = script
    count = len(broken(_sample_request(nameserver, resolver), dns))
    for which in range(count):
        assert address_or_error(resolver, f"{which}.test") in (REAL, socket.EAI_FAIL, socket.EAI_AGAIN)


def address_or_error(resolver: Any, name: str) -> str | int | None:
    """What a lookup returns, or the number of the gaierror that it raises."""
    try:
        return ask(resolver, name)
    except socket.gaierror as error:
        return error.errno


def _sample_request(nameserver: Any, resolver: Any) -> Any:
    previous, nameserver.script = nameserver.script, lambda request: request.a(REAL)
    ask(resolver, "sample.test")
    nameserver.script = previous
    return nameserver.log[-1]


def test_cost_of_broken_messages() -> None:
    """Reading a broken message takes less than 5 ms, however it is broken, and raises nothing but Malformed."""
    from hubbub_dns._wire import Malformed, Query, encode_name, read_reply

    dice = random.Random(11)
    query = Query.make(encode_name("www.example.test"), 1, True)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\1\2\3\4"
    soa = b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 60, 24) + b"\xc0\x0c\xc0\x0c" + b"\0\0\0\1" * 5
    cname = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 4) + b"\1x\xc0\x0c"
    whole = struct.pack("!6H", query.id, 0x8180, 1, 40, 1, 0) + query.question + (record + cname) * 20 + soa
    assert len(read_reply(whole).records) == 40
    chain = b"".join(struct.pack("!H", 0xC000 | max(12, offset - 2)) for offset in range(40, 1230, 2))
    worst = [
        struct.pack("!6H", query.id, 0x8180, 1, 65535, 0, 0) + query.question + b"\0" * 1200,
        struct.pack("!6H", query.id, 0x8180, 1, 65535, 0, 0) + query.question + chain,
        struct.pack("!6H", query.id, 0x8180, 1, 65535, 0, 0) + query.question + (b"\1a" * 120 + b"\0") * 5,
    ]

    def cost(wire: bytes) -> float:
        began = time.thread_time()
        try:
            if query.matches(wire):
                read_reply(wire)
        except Malformed:
            pass
        return time.thread_time() - began

    slowest = 0.0
    for number in range(10_000):
        wire = bytearray(worst[number % 3] if number % 50 == 0 else whole)
        for _ in range(dice.randrange(1, 6)):
            wire[dice.randrange(12, len(wire))] = dice.choice((0, 0xC0, 0xFF, 0x40, 1, 63, dice.randrange(256)))
        if dice.random() < 0.2:
            del wire[dice.randrange(12, len(wire)) :]
        spent = cost(bytes(wire))
        if spent > slowest:  # because of the message, or of something else that happened meanwhile
            slowest = max(slowest, min(spent, *(cost(bytes(wire)) for _ in range(3))))
    assert slowest < 0.005


# Truncation --


def test_truncated(make: Any, nameserver: Any) -> None:
    """A truncated reply is fetched over TCP."""
    many = [f"192.0.2.{number}" for number in range(1, 200)]
    nameserver.script = lambda request: request.a(*many) if request.tcp else request.reply(truncated=True)
    assert sorted(make(nameserver).gethostbyname_ex("www.test")[2]) == sorted(many)
    assert [request.tcp for request in nameserver.log] == [False, True]


def test_tcp_in_pieces(make: Any, nameserver: Any) -> None:
    """A TCP reply that comes byte by byte is read whole."""

    def in_pieces(request: Any) -> None:
        reply = request.a(REAL)
        for byte in len(reply).to_bytes(2) + reply:
            request.sock.send(bytes([byte]))
            hubbub.sleep(0)

    nameserver.script = lambda request: request.reply(truncated=True)
    nameserver.tcp_script = in_pieces
    assert ask(make(nameserver)) == REAL


def test_tcp_hangs_up(make: Any, nameserver: Any) -> None:
    """A TCP connection that ends in the middle of a reply is EAI_AGAIN."""

    def hang_up(request: Any) -> None:
        request.sock.send(b"\0\x40half")
        request.sock.shutdown(socket.SHUT_RDWR)

    nameserver.script = lambda request: request.reply(truncated=True)
    nameserver.tcp_script = hang_up
    assert error_of(ask, make(nameserver, timeout=0.3, attempts=1)) == socket.EAI_AGAIN


def test_tcp_silent(make: Any, nameserver: Any) -> None:
    """A TCP server that never answers costs its time limit, not for ever."""
    nameserver.script = lambda request: request.reply(truncated=True)
    nameserver.tcp_script = lambda request: hubbub.sleep(60)
    began = time.monotonic()
    assert error_of(ask, make(nameserver, timeout=0.3, attempts=1)) == socket.EAI_AGAIN
    assert time.monotonic() - began < 40


def test_use_vc(make: Any, nameserver: Any) -> None:
    """With ``options use-vc`` everything is asked over TCP."""
    resolver = make(nameserver)
    make.resolv_conf.write_text("options use-vc\n")
    assert ask(resolver) == REAL
    assert all(request.tcp for request in nameserver.log)


# Servers that fail --


def test_silence(make: Any, nameservers: Any) -> None:
    """Silent servers cost time-out times attempts times servers, and are EAI_AGAIN."""
    servers = [nameservers(), nameservers()]
    for server in servers:
        server.script = lambda request: None
    began = time.monotonic()
    assert error_of(ask, make(*servers, timeout=0.25, attempts=2)) == socket.EAI_AGAIN
    taken = time.monotonic() - began
    assert 0.95 < taken < 1.8
    assert all(server.log for server in servers)


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_next_server(make: Any, nameservers: Any, dns: Any, rcode: str) -> None:
    """After a server that cannot answer the next one is asked."""
    bad, good = nameservers(), nameservers()
    bad.script = lambda request: request.reply(rcode=getattr(dns, rcode))
    assert ask(make(bad, good)) == REAL
    assert bad.log
    assert good.log


def test_next_server_after_silence(make: Any, nameservers: Any) -> None:
    """After a silent server the next one is asked."""
    bad, good = nameservers(), nameservers()
    bad.script = lambda request: None
    assert ask(make(bad, good, timeout=0.3)) == REAL


def test_nobody_listens(make: Any, nameservers: Any) -> None:
    """A server that is not there is passed over at once."""
    gone, good = nameservers(), nameservers()
    address = gone.at
    gone.close()
    began = time.monotonic()
    assert ask(make(address, good, timeout=60.0)) == REAL
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    ("rcode", "error"),
    [("SERVFAIL", "EAI_AGAIN"), ("REFUSED", "EAI_AGAIN"), ("NXDOMAIN", "EAI_NONAME"), ("FORMERR", "EAI_FAIL")],
)
def test_codes(make: Any, nameserver: Any, dns: Any, rcode: str, error: str) -> None:
    """What all servers say becomes the error of glibc's getaddrinfo, but FORMERR, which glibc takes for absence."""
    nameserver.script = lambda request: request.reply(rcode=getattr(dns, rcode))
    resolver = make(nameserver, timeout=5, attempts=1)
    assert error_of(resolver.getaddrinfo, "www.test", 80) == getattr(socket, error)


def test_without_edns(make: Any, nameserver: Any, dns: Any) -> None:
    """A server that answers FORMERR to EDNS is asked again without it."""
    nameserver.script = lambda request: request.reply(rcode=dns.FORMERR) if request.edns else request.a(REAL)
    assert ask(make(nameserver)) == REAL
    assert [request.edns for request in nameserver.log] == [True, False]


# Chains --


@pytest.mark.parametrize("length", [1, 8, 16])
def test_chain(make: Any, nameserver: Any, dns: Any, length: int) -> None:
    """CNAME records are followed to the canonical name; the others are its aliases."""

    def script(request: Any) -> Any:
        links = [dns.rr(f"c{number}.test", "CNAME", f"c{number + 1}.test") for number in range(length)]
        return request.reply(*links, dns.rr(f"c{length}.test", "A", REAL))

    nameserver.script = script
    names = [f"c{number}.test" for number in range(length + 1)]
    assert make(nameserver).gethostbyname_ex("c0.test") == (names[-1], names[:-1], [REAL])


def test_chain_one_link_a_reply(make: Any, nameserver: Any, dns: Any) -> None:
    """A CNAME whose target the server left out is followed by asking for it."""

    def script(request: Any) -> Any:
        number = int(request.name[1 : request.name.index(".")])
        if number == 5:
            return request.a(REAL)
        return request.reply(dns.rr(request.name, "CNAME", f"c{number + 1}.test"))

    nameserver.script = script
    assert make(nameserver).gethostbyname_ex("c0.test")[::2] == ("c5.test", [REAL])


def test_dname(make: Any, nameserver: Any, dns: Any) -> None:
    """Of a DNAME record the CNAME that the server makes of it is followed; the DNAME itself is passed over."""
    nameserver.script = lambda request: request.reply(
        dns.rr("old.test", 39, dns.wire_name("new.test")),
        dns.rr("www.old.test", "CNAME", "www.new.test"),
        dns.rr("www.new.test", "A", REAL),
    )
    assert make(nameserver).gethostbyname_ex("www.old.test") == ("www.new.test", ["www.old.test"], [REAL])


def test_loop(make: Any, nameserver: Any, dns: Any) -> None:
    """CNAME records in a circle are an error, in one reply and over many."""
    nameserver.script = lambda request: request.reply(
        dns.rr("a.test", "CNAME", "b.test"), dns.rr("b.test", "CNAME", "a.test")
    )
    assert error_of(ask, make(nameserver), "a.test") == socket.EAI_FAIL
    nameserver.script = lambda request: request.reply(
        dns.rr(request.name, "CNAME", "b.test" if request.name == "a.test" else "a.test")
    )
    nameserver.log.clear()
    assert error_of(ask, make(nameserver), "a.test") == socket.EAI_FAIL
    assert len(nameserver.log) < 40


def test_chain_without_end(make: Any, nameserver: Any, dns: Any) -> None:
    """A CNAME to a name without addresses is EAI_NODATA."""
    nameserver.script = lambda request: request.reply(
        dns.rr("a.test", "CNAME", "b.test"), authority=[dns.soa("test", 60)]
    )
    assert error_of(ask, make(nameserver), "a.test") == socket.EAI_NODATA


# Many, killed, forked --


def test_bound(make: Any, nameserver: Any) -> None:
    """No more questions are under way at a time than ``max_queries``; all are answered."""
    under_way, most = 0, 0

    def script(request: Any) -> Any:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        hubbub.sleep(0.02)
        under_way -= 1
        return request.a(REAL)

    nameserver.script = script
    resolver = make(nameserver, max_queries=10)
    greenlets = [hubbub.spawn(ask, resolver, f"n{number}.test") for number in range(60)]
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {REAL}
    assert most == 10


def all_answered(resolver: Any, count: int, seconds: float) -> float:
    """Look up so many names at the same time; how long that takes."""
    began = time.monotonic()
    greenlets = [hubbub.spawn(ask, resolver, f"n{number}.test") for number in range(count)]
    hubbub.joinall(greenlets, timeout=seconds)
    assert {greenlet.value for greenlet in greenlets} == {REAL}
    return time.monotonic() - began


def evenly(numbers: Iterable[int], first: int, after: int) -> bool:
    """Whether numbers are spread over a range as chance would spread them (chi-square of 16 equal parts)."""
    parts = [0] * 16
    for number in numbers:
        parts[(number - first) * 16 // (after - first)] += 1
    expected = sum(parts) / 16
    # 15 degrees of freedom: chance goes beyond 60 once in three million times.
    return sum((count - expected) ** 2 / expected for count in parts) < 60


def test_random_ports_and_ids(make: Any, plainserver: Any, loop_name: str) -> None:
    """Ten thousand questions under way go out from many ports, and these and the ids are spread over their range."""
    if loop_name != "stdlib":
        pytest.skip("takes long, and no loop makes a difference")
    server = plainserver()
    resolver = make(server)
    for _ in range(10):
        all_answered(resolver, 1000, 40)
    assert len(server.asked) >= 10_000
    ids = [number for _, number in server.asked]
    assert len(set(ids)) > 8_000
    assert evenly(ids, 0, 65536)
    questions = Counter(port for port, _ in server.asked)
    assert max(questions.values()) < 150  # chance gives a port out again now and then
    assert len(questions) > 10_000 / 32 * 0.9
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if ports.exists():
        first, last = map(int, ports.read_text().split())
        assert evenly(questions, first, last + 1)
    assert Counter(ids).most_common(1)[0][1] < 8


def test_lost_packets(make: Any, plainserver: Any) -> None:
    """A thousand lookups of which a tenth of the queries is lost take little more than the time-outs of these."""
    dice = random.Random(3)
    server = plainserver(loses=lambda query: dice.random() < 0.1)
    assert all_answered(make(server, timeout=0.5, attempts=5), 1000, 60) < 15  # two seconds where nothing else runs
    assert len(server.asked) > 1050


def test_overlap(make: Any, plainserver: Any) -> None:
    """Two hundred lookups of 50 ms each take hardly more than one."""
    assert all_answered(make(plainserver(delay=0.05)), 200, 60) < 3  # 0.3 seconds where nothing else runs


@pytest.mark.hubbub_no_leaks
def test_killed(make: Any, nameserver: Any) -> None:
    """A lookup that is killed leaves no descriptor and no greenlet, and the late reply reaches nobody."""
    from hubbub_testkit.greenlets import open_descriptors

    resolver = make(nameserver, cache=True)
    resolver.cache.clear()
    assert ask(resolver, "first.test") == REAL
    before = open_descriptors()

    def script(request: Any) -> Any:
        hubbub.sleep(0.05)
        return request.a(FALSE)

    nameserver.script = script
    greenlets = [hubbub.spawn(ask, resolver, f"n{number}.test") for number in range(10)]
    hubbub.sleep(0.02)
    assert len(open_descriptors()) > len(before)
    hubbub.killall(greenlets)
    hubbub.sleep(0)
    assert open_descriptors() == before
    hubbub.sleep(0.1)
    nameserver.script = lambda request: request.a(REAL)
    assert {ask(resolver, f"n{number}.test") for number in range(10)} == {REAL}
    resolver.cache.clear()
    nameserver.close()
    resolver.close()


def test_timeout_around(make: Any, nameserver: Any) -> None:
    """A Timeout around a lookup ends it, and the next lookup of the name works."""
    nameserver.script = lambda request: None
    resolver = make(nameserver)
    with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.05):
        ask(resolver)
    nameserver.script = lambda request: request.a(REAL)
    assert ask(resolver) == REAL


def test_one_of_two_killed(make: Any, nameserver: Any) -> None:
    """Equal lookups share their questions; when one is killed, the other goes on."""

    def script(request: Any) -> Any:
        hubbub.sleep(0.05)
        return request.a(REAL)

    nameserver.script = script
    resolver = make(nameserver)
    first, second = (hubbub.spawn(ask, resolver) for _ in range(2))
    hubbub.sleep(0.01)
    first.kill()
    assert second.get(timeout=5) == REAL
    assert len(nameserver.log) == 1


def test_closed_while_asking(make: Any, nameserver: Any) -> None:
    """Closing the resolver ends what is under way with EAI_AGAIN; it can be used again."""
    nameserver.script = lambda request: None
    resolver = make(nameserver)
    waiting = hubbub.spawn(error_of, ask, resolver)
    hubbub.sleep(0.02)
    resolver.close()
    assert waiting.get(timeout=5) == socket.EAI_AGAIN
    nameserver.script = lambda request: request.a(REAL)
    assert ask(resolver) == REAL


def test_others_run(make: Any, nameserver: Any) -> None:
    """While a lookup hangs, others go on without a gap of 50 ms."""
    nameserver.script = lambda request: None if request.name == "hangs.test" else request.a(REAL)
    resolver = make(nameserver)
    hanging = hubbub.spawn(ask, resolver, "hangs.test")
    longest, last = 0.0, time.thread_time()
    for _ in range(100):
        hubbub.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert not hanging.dead
    hanging.kill()
    assert longest < 0.05


def test_no_descriptors(make: Any, nameserver: Any) -> None:
    """Without free descriptors a lookup fails with an OSError; when there are some again, it works."""
    resource = pytest.importorskip("resource")
    resolver = make(nameserver)
    assert ask(resolver) == REAL
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        greenlets = [hubbub.spawn(attempt, resolver, f"n{number}.test") for number in range(10)]
        hubbub.joinall(greenlets, timeout=20)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {greenlet.value for greenlet in greenlets} <= {errno.EMFILE, socket.EAI_AGAIN}
    assert ask(resolver, "again.test") == REAL


def attempt(resolver: Any, name: str) -> int | None:
    """The number of the OSError that a lookup raises."""
    with pytest.raises(OSError) as info:
        ask(resolver, name)
    return info.value.errno
