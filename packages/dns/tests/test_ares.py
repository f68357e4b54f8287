"""What is c-ares' own: several questions go out from one port, and what it would take for a reply."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_dns import _channels, ares
from hubbub_testkit.greenlets import open_descriptors

REAL, FALSE = "192.0.2.1", "203.0.113.66"


@pytest.fixture
def resolver(hub: hubbub.Hub, nameserver: Any, tmp_path: Path) -> Any:
    """A resolver that asks the scripted server."""
    made = ares.Resolver([nameserver.at], cache=None, resolv_conf=str(tmp_path / "r"), hosts=str(tmp_path / "h"))
    yield made
    made.close()


def spawn(resolver: Any, count: int, name: str = "n") -> list[hubbub.Greenlet]:
    """Greenlets that look up so many names."""
    return [hubbub.spawn(resolver.gethostbyname, f"{name}{number}.test") for number in range(count)]


def test_fresh_ports(resolver: Any, nameserver: Any) -> None:
    """One question after the other goes out from a port of its own; of many at a time at most 32 share one."""
    for number in range(20):
        assert resolver.gethostbyname(f"n{number}.test") == REAL
    assert len({request.peer for request in nameserver.log}) > 15
    nameserver.log.clear()
    greenlets = spawn(resolver, 200, "m")
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {REAL}
    shared = Counter(request.peer for request in nameserver.log)
    assert max(shared.values()) <= 32
    assert len(shared) <= 8


def test_killed_among_others(resolver: Any, nameserver: Any) -> None:
    """One of several questions from a port is killed: the others get their answers, then the port is given back."""
    nameserver.script = lambda request: request.a(REAL) if request.name == "warm.test" else None
    assert resolver.gethostbyname("warm.test") == REAL
    before = open_descriptors()

    def script(request: Any) -> Any:
        hubbub.sleep(0.05)
        return request.a(REAL)

    nameserver.script = script
    greenlets = spawn(resolver, 10)
    hubbub.sleep(0.01)
    assert len(open_descriptors() - before) == 1
    hubbub.killall(greenlets[:5])
    hubbub.joinall(greenlets, timeout=20)
    assert [greenlet.value for greenlet in greenlets[5:]] == [REAL] * 5
    assert open_descriptors() == before
    assert resolver.gethostbyname("n0.test") == REAL


def test_silent_among_others(resolver: Any, nameserver: Any) -> None:
    """A question that is never answered keeps nobody else waiting, and holds no more than its port."""
    nameserver.script = lambda request: None if request.name == "hangs.test" else request.a(REAL)
    hanging = hubbub.spawn(resolver.gethostbyname, "hangs.test")
    hubbub.sleep(0.01)
    before = open_descriptors()
    for round in range(3):
        greenlets = spawn(resolver, 100, f"r{round}n")
        hubbub.joinall(greenlets, timeout=20)
        assert {greenlet.value for greenlet in greenlets} == {REAL}
    assert open_descriptors() == before
    hanging.kill()
    assert len(before - open_descriptors()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel has no filter for datagrams")
def test_reflected_anywhere(resolver: Any, nameserver: Any) -> None:
    """A query that is sent back is ignored wherever it stands in a burst of forgeries."""
    nameserver.script = lambda request: [
        request.a(FALSE, id=request.id ^ 1),
        request.wire,
        b"",
        request.wire[:2],
        request.a(FALSE, flags=0x0100),
        request.a(REAL),
    ]
    greenlets = spawn(resolver, 100)
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {REAL}


def test_reflected_without_a_filter(resolver: Any, nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has no such filter, a query that is sent back is thrown away when it comes first."""
    monkeypatch.setattr(_channels, "refuse_queries", lambda sock: False)
    nameserver.script = lambda request: [request.wire, request.a(FALSE, flags=0x0100), request.a(REAL)]
    assert [resolver.gethostbyname(f"n{number}.test") for number in range(10)] == [REAL] * 10


def test_servers_change_under_way(resolver: Any, nameserver: Any, nameservers: Any, tmp_path: Path) -> None:
    """Questions under way are answered by the servers that they were put to; the next ones go to the new ones."""
    other = nameservers("127.0.0.2")
    other.script = lambda request: request.a("192.0.2.2")

    def script(request: Any) -> Any:
        hubbub.sleep(0.05)
        return request.a(REAL)

    nameserver.script = script
    resolver.gethostbyname("localhost")
    resolver._resolv_conf._interval = 0.0
    resolver._given_servers = None
    resolver._port = nameserver.port
    (tmp_path / "r").write_text("nameserver 127.0.0.1\n")
    first = spawn(resolver, 5)
    hubbub.sleep(0.01)
    resolver._port = other.port
    (tmp_path / "r").write_text("nameserver 127.0.0.2\n")
    assert resolver.gethostbyname("other.test") == "192.0.2.2"
    hubbub.joinall(first, timeout=20)
    assert [greenlet.value for greenlet in first] == [REAL] * 5
    assert len(nameserver.log) == 5
