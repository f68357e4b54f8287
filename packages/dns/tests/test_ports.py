"""Where questions go out from: a port for few of them, and none that is kept. The same for both resolvers."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections import Counter
from typing import Any

import hubbub
import pytest
from hubbub.event import Event
from hubbub_dns import _wire
from hubbub_dns._ports import Exchange, Ports
from hubbub_dns._servers import Server
from hubbub_dns._wire import Query, Reply, encode_name
from hubbub_testkit.greenlets import open_descriptors

REAL = "192.0.2.1"


def spawn(resolver: Any, count: int, name: str = "n") -> list[hubbub.Greenlet]:
    """Greenlets that look up so many names."""
    return [hubbub.spawn(resolver.gethostbyname, f"{name}{number}.test") for number in range(count)]


def test_fresh_ports(make: Any, nameserver: Any) -> None:
    """One question after the other goes out from a port of its own; of many at a time at most 32 share one."""
    resolver = make(nameserver)
    for number in range(20):
        assert resolver.gethostbyname(f"n{number}.test") == REAL
    assert len({request.peer for request in nameserver.log}) > 15
    nameserver.log.clear()
    greenlets = spawn(resolver, 200, "m")
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {REAL}
    # A question that has to be sent again goes out from its own port.
    shared = Counter(peer for peer, _ in {(request.peer, request.name) for request in nameserver.log})
    assert max(shared.values()) <= 32
    assert len(shared) <= 12


def test_killed_among_others(make: Any, nameserver: Any) -> None:
    """One of several questions from a port is killed: the others get their answers, then the port is given back."""
    resolver = make(nameserver)
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


def test_silent_among_others(make: Any, nameserver: Any) -> None:
    """A question that is never answered keeps nobody else waiting, and holds no more than its port."""
    resolver = make(nameserver)
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


def test_refused(make: Any, hub: hubbub.Hub) -> None:
    """Where no server listens, all questions from a port fail at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        at = closed.getsockname()
    resolver = make(at, timeout=20.0, attempts=1)
    began = time.monotonic()
    greenlets = [hubbub.spawn(_error_of, resolver, f"n{number}.test") for number in range(50)]
    hubbub.joinall(greenlets, timeout=15)
    assert {greenlet.value for greenlet in greenlets} == {socket.EAI_AGAIN}
    assert time.monotonic() - began < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_ports_after_fork(make: Any, nameserver: Any) -> None:
    """A child process keeps no socket of the questions that its parent has under way; the parent goes on."""

    def script(request: Any) -> Any:
        hubbub.sleep(0.1)
        return request.a(REAL)

    resolver = make(nameserver)
    assert resolver.gethostbyname("warm.test") == REAL
    nameserver.script = script
    before = open_descriptors()
    greenlets = spawn(resolver, 40)
    hubbub.sleep(0.02)
    sockets = [number for number in open_descriptors() - before if _is_socket(number)]
    assert len(sockets) == 2
    pid = os.fork()
    if pid == 0:
        os._exit(sum(map(_is_socket, sockets)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    hubbub.joinall(greenlets, timeout=20)
    assert {greenlet.value for greenlet in greenlets} == {REAL}


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def _error_of(resolver: Any, name: str) -> int | None:
    with pytest.raises(socket.gaierror) as info:
        resolver.gethostbyname(name)
    return info.value.errno


# What is only the dnspython resolver's --


def outcome_of(exchange: Exchange) -> Any:
    """Wait for it."""
    ended = Event()
    exchange.listener = lambda _: ended.set()
    assert exchange.outcome is not None or ended.wait(5.0)
    return exchange.outcome


def test_ids_of_one_port(nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions under way from one port have different ids, even where chance would give one twice."""
    ports, server, name = Ports(), Server.make(nameserver.at, 0), encode_name("www.test")
    numbers = iter([7, 7, 7, 8])
    monkeypatch.setattr(_wire, "_random_id", lambda: next(numbers))
    first, second = (ports.begin(server, name, rtype, edns=False, timeout=1.0) for rtype in (1, 28))
    assert (first.query.id, second.query.id) == (7, 8)
    for exchange in (first, second):
        outcome = outcome_of(exchange)
        assert isinstance(outcome, Reply)
        assert len(outcome.records) == 1
    assert list(ports.under_way()) == []


def test_ports_closed_under_waiters(nameserver: Any) -> None:
    """Closing wakes those who wait for a reply, with EBADF, and leaves no descriptor."""
    before = open_descriptors()
    nameserver.script = lambda request: None
    ports, server, name = Ports(), Server.make(nameserver.at, 0), encode_name("www.test")
    exchanges = [ports.begin(server, name, 1, edns=False, timeout=1.0) for _ in range(40)]
    waiting = [hubbub.spawn(outcome_of, exchange) for exchange in exchanges]
    hubbub.sleep(0.01)
    ports.close()
    hubbub.joinall(waiting, timeout=5)
    assert [getattr(greenlet.value, "errno", None) for greenlet in waiting] == [errno.EBADF] * 40
    assert open_descriptors() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_ids_after_fork(hub: hubbub.Hub) -> None:
    """A child process does not use the random numbers that its parent has fetched."""
    Query.make(b"\0", 1, edns=False)
    pid = os.fork()
    if pid == 0:
        os._exit(len(_wire._random_ids) != 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(_wire._random_ids) > 0
