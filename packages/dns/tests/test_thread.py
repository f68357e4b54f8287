"""hubbub_dns.thread."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import hubbub
import pytest
from hubbub import plugins
from hubbub_dns import _system, thread


class Held:
    """A system function that answers only when it is let go."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []
        self.go = threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        assert self.go.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def resolver(hub: hubbub.Hub) -> Iterator[thread.Resolver]:
    made = thread.Resolver(threads=3)
    yield made
    made.close()


def together(*calls: Any) -> list[hubbub.Greenlet]:
    """Greenlets that have begun their calls."""
    started = [hubbub.spawn(*call) for call in calls]
    hubbub.sleep(0)
    return started


def test_registered(hub: hubbub.Hub) -> None:
    """The entry point ``thread`` is this class, and it is a hub's resolver unless another was chosen."""
    assert plugins.load(plugins.RESOLVERS, "thread") is thread.Resolver
    assert isinstance(hub.resolver, thread.Resolver)


def test_answers(resolver: thread.Resolver) -> None:
    """Each function returns what the socket module's returns."""
    assert resolver.getaddrinfo("localhost", 80) == socket.getaddrinfo("localhost", 80)
    assert repr(resolver.getaddrinfo("127.0.0.1", "80", 0, 1)) == repr(socket.getaddrinfo("127.0.0.1", "80", 0, 1))
    assert resolver.gethostbyname("localhost") == socket.gethostbyname("localhost")
    assert resolver.gethostbyname_ex("localhost") == socket.gethostbyname_ex("localhost")
    assert resolver.gethostbyaddr("127.0.0.1") == socket.gethostbyaddr("127.0.0.1")
    assert resolver.getnameinfo(("127.0.0.1", 80), 0) == socket.getnameinfo(("127.0.0.1", 80), 0)
    assert resolver.getfqdn("localhost") == socket.getfqdn("localhost")
    assert resolver.getfqdn() == socket.getfqdn()


def test_numeric_needs_no_thread(resolver: thread.Resolver) -> None:
    """A numeric address is answered without a thread."""
    resolver.getaddrinfo("127.0.0.1", 80)
    resolver.getaddrinfo("::1", None)
    assert resolver._pool is None


def test_errors(resolver: thread.Resolver) -> None:
    """Errors have the class and the arguments of the socket module's."""
    with pytest.raises(socket.gaierror) as info:
        resolver.getaddrinfo("name", 80, 0, 0, 0, socket.AI_NUMERICHOST)
    assert info.value.errno == socket.EAI_NONAME
    with pytest.raises(TypeError):
        resolver.gethostbyname(5)
    with pytest.raises(UnicodeError):
        resolver.gethostbyname("\udcff")
    with pytest.raises(OSError, match="sockaddr"):
        resolver.getnameinfo(("127.0.0.1", 80, 0, 0), 0)


def test_others_run(resolver: thread.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a lookup runs, other greenlets do too."""
    held = Held("192.0.2.1")
    monkeypatch.setattr(_system, "gethostbyname", held)
    (waiting,) = together((resolver.gethostbyname, "slow.test"))
    for _ in range(100):
        hubbub.sleep(0)
    assert not waiting.dead
    held.go.set()
    assert waiting.get(timeout=10) == "192.0.2.1"


def test_equal_look_ups_are_shared(resolver: thread.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal lookups under way at the same time are one call, and each caller owns the lists it gets."""
    held = Held(("x.test", ["alias.test"], ["192.0.2.1"]))
    monkeypatch.setattr(_system, "gethostbyname_ex", held)
    greenlets = together(*[(resolver.gethostbyname_ex, "x.test")] * 5, (resolver.gethostbyname_ex, b"x.test"))
    held.go.set()
    answers = [greenlet.get(timeout=10) for greenlet in greenlets]
    assert sorted(held.calls, key=str) == [("x.test",), (b"x.test",)]
    answers[0][1].append("mine")
    assert answers[1:] == [held.answer] * 5
    assert resolver.gethostbyname_ex("x.test") == held.answer
    assert len(held.calls) == 3, "a finished lookup is not shared"


def test_shared_errors(resolver: thread.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers that share a failing lookup get equal errors, not one object."""
    held = Held(socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))
    monkeypatch.setattr(_system, "gethostbyname", held)
    greenlets = together(*[(attempt, resolver.gethostbyname, "x.test")] * 3)
    held.go.set()
    errors = [greenlet.get(timeout=10) for greenlet in greenlets]
    assert [(type(error), error.args) for error in errors] == [(socket.gaierror, held.answer.args)] * 3
    assert len(set(map(id, errors))) == 3


def attempt(function: Any, *args: Any) -> Exception:
    with pytest.raises(OSError) as info:
        function(*args)
    return info.value


def test_killed_look_up(resolver: thread.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that is killed leaves the others that share its lookup their answer."""
    held = Held("192.0.2.1")
    monkeypatch.setattr(_system, "gethostbyname", held)
    first, second = together(*[(resolver.gethostbyname, "x.test")] * 2)
    first.kill()
    held.go.set()
    assert second.get(timeout=10) == "192.0.2.1"
    assert len(held.calls) == 1


def test_size(hub: hubbub.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more lookups run at the same time than there are threads."""
    monkeypatch.setenv("HUBBUB_DNS_THREADS", "2")
    resolver = thread.Resolver()
    held = Held("192.0.2.1")
    monkeypatch.setattr(_system, "gethostbyname", held)
    greenlets = together(*((resolver.gethostbyname, f"{number}.test") for number in range(6)))
    assert resolver.threads == 2
    assert resolver._pool is not None
    assert resolver._pool.size == 2
    held.go.set()
    hubbub.joinall(greenlets, timeout=10)
    assert len(held.calls) == 6
    assert resolver._pool.size == 2
    resolver.close()


def test_bad_size() -> None:
    """A pool without threads is refused."""
    with pytest.raises(ValueError, match="at least 1 thread"):
        thread.Resolver(threads=0)


def test_not_the_users_pool(resolver: thread.Resolver, hub: hubbub.Hub) -> None:
    """Lookups leave the hub's thread pool to the user."""
    resolver.gethostbyname("localhost")
    assert hub.threadpool.size == 0


def test_close_and_use_again(resolver: thread.Resolver) -> None:
    """A closed resolver starts anew when it is used."""
    assert resolver.gethostbyname("localhost")
    resolver.close()
    resolver.close()
    assert resolver.gethostbyname("localhost")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(resolver: thread.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child forked while a lookup is under way can look up the same name."""
    held = Held("192.0.2.1")
    monkeypatch.setattr(_system, "gethostbyname", held)
    (waiting,) = together((resolver.gethostbyname, "x.test"))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            held.go.set()
            status = 0 if resolver.gethostbyname("x.test") == "192.0.2.1" else 2
        finally:
            os._exit(status)
    held.go.set()
    assert waiting.get(timeout=10) == "192.0.2.1"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
