"""What is c-ares' own: what it would take for a reply, and its channels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_dns import _channels, ares

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
    resolver._asker._resolv_conf._interval = 0.0
    resolver._asker.given_servers = None
    resolver._asker.port = nameserver.port
    (tmp_path / "r").write_text("nameserver 127.0.0.1\n")
    first = spawn(resolver, 5)
    hubbub.sleep(0.01)
    resolver._asker.port = other.port
    (tmp_path / "r").write_text("nameserver 127.0.0.2\n")
    assert resolver.gethostbyname("other.test") == "192.0.2.2"
    hubbub.joinall(first, timeout=20)
    assert [greenlet.value for greenlet in first] == [REAL] * 5
    assert len(nameserver.log) == 5
