"""Reading the hosts file."""

from __future__ import annotations

import random
import socket
from collections.abc import Generator
from typing import Any

from hubbub_dns._hosts import Host, Hosts, parse


def read(text: bytes) -> Hosts:
    """Index a text."""
    return finish(parse(text))[0]


def finish(steps: Generator[None, None, Any]) -> tuple[Any, int]:
    """What a generator returns, and how often it yields."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, pauses
        pauses += 1


def test_lines() -> None:
    """Names are found in any case; the first name of the first line is the canonical one, the rest are aliases."""
    hosts = read(b"127.0.0.1\tLocalhost loop # comment\n#192.0.2.9 no\n\n192.0.2.1 loop other\r\n192.0.2.2 last")
    assert hosts.by_name("LOOP", socket.AF_INET) == Host("Localhost", ["loop", "other"], ["127.0.0.1", "192.0.2.1"])
    assert hosts.by_name("last", socket.AF_INET) == Host("last", [], ["192.0.2.2"])
    assert hosts.by_name("no", socket.AF_INET) is None
    assert hosts.by_name("comment", socket.AF_INET) is None
    assert hosts.by_name("loop", socket.AF_INET6) is None
    assert len(hosts) == 4


def test_addresses() -> None:
    """Addresses are found in their normal spelling; the first line counts."""
    hosts = read(b"2001:DB8:0:0::1 six\n192.0.2.1 one two\n192.0.2.1 three\n")
    assert hosts.by_address("2001:db8::1") == Host("six", [], ["2001:db8::1"])
    assert hosts.by_address("192.0.2.1") == Host("one", ["two"], ["192.0.2.1"])
    assert hosts.by_address("192.0.2.2") is None


def test_nonsense() -> None:
    """Lines that make no sense are passed over."""
    hosts = read(b"not-an-address name\n192.0.2.1\n1.2.3.4.5 name\n\xff\xfe \xe9\n:: \n::g name\n\0 \0\n")
    assert hosts.by_name("name", socket.AF_INET) is None
    assert hosts.by_name("name", socket.AF_INET6) is None
    assert read(b"").by_name("name", socket.AF_INET) is None


def test_any_bytes() -> None:
    """No content makes it fail."""
    dice = random.Random(1)
    words = [b"192.0.2.1", b"::1", b"fe80::1%lo", b"name", b"#", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b"%", b":"]
    for _ in range(2000):
        hosts = read(b" ".join(dice.choice(words) for _ in range(dice.randrange(20))))
        hosts.by_name("name", socket.AF_INET6)
        hosts.by_address("192.0.2.1")


def test_pauses() -> None:
    """A large file is indexed with pauses, so that others run."""
    hosts, pauses = finish(parse(b"".join(b"10.0.%d.%d host%d\n" % (n >> 8, n & 255, n) for n in range(10_000))))
    assert pauses == 20
    assert len(hosts) == 10_000
    assert hosts.by_name("host9999", socket.AF_INET).addresses == ["10.0.39.15"]
