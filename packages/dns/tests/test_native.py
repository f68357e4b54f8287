"""c-ares by the functions of pycares' extension module, and by pycares' methods: the same replies."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import hubbub
import pycares
import pytest
from hubbub_dns import _channels, _native
from hubbub_dns._channels import Channels
from hubbub_dns._native import Calls, calls_of
from hubbub_dns._servers import Server
from hubbub_dns._wire import Reply

A, NS, CNAME, SOA, PTR, TXT, AAAA = 1, 2, 5, 6, 12, 16, 28
BY_FUNCTIONS, BY_METHODS = _native._by_functions, _native._BY_METHODS
Ask = Callable[[Calls, str, int], Any]


@pytest.fixture
def ask(hub: hubbub.Hub, nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Asks the scripted server by these calls; returns what came of it."""
    server = Server(*nameserver.at)
    made = []

    def ask(calls: Calls, name: str, rtype: int) -> Any:
        monkeypatch.setattr(_channels, "calls_of", lambda channel: calls)
        channels, told = Channels(), hubbub.Event()
        made.append(channels)
        exchange = channels.begin(server, name, rtype, edns=False, timeout=5.0, listener=lambda _: told.set())
        assert told.wait(10)
        outcome = exchange.outcome
        return (type(outcome), outcome.args) if isinstance(outcome, OSError) else outcome

    yield ask
    for channels in made:
        channels.close()


def record(dns: Any, rtype: int, value: bytes, ttl: int = 60, rclass: int = 1, owner: bytes = b"\xc0\x0c") -> bytes:
    """A resource record of the name that was asked for."""
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(value)) + value


def test_functions_are_found() -> None:
    """With the pycares of the tests the quicker calls are used."""
    assert BY_FUNCTIONS is not None
    channel = pycares.Channel(lookups="b", sock_state_cb=lambda *args: None)
    assert calls_of(channel) is BY_FUNCTIONS
    channel.close()


KNOWN = {
    "an address": (A, lambda dns, q: q.a("192.0.2.1")),
    "addresses": (A, lambda dns, q: q.a("192.0.2.1", "192.0.2.2", "255.255.255.255", "0.0.0.0")),
    "an address of IPv6": (AAAA, lambda dns, q: q.a("2001:db8::1")),
    "a mapped address": (AAAA, lambda dns, q: q.a("::ffff:192.0.2.1")),
    "a time of more than 31 bits": (A, lambda dns, q: q.a("192.0.2.1", ttl=0x80000000)),
    "a long time": (A, lambda dns, q: q.a("192.0.2.1", ttl=0x7FFFFFFF)),
    "an alias": (
        A,
        lambda dns, q: q.reply(
            record(dns, CNAME, dns.wire_name("Real.test")),
            record(dns, A, b"\xc0\0\2\1", 30, owner=dns.wire_name("Real.test")),
        ),
    ),
    "an alias of strange bytes": (
        A,
        lambda dns, q: q.reply(record(dns, CNAME, b"\4\xff\0.\\\4test\0"), record(dns, A, b"\xc0\0\2\1")),
    ),
    "a name": (PTR, lambda dns, q: q.reply(record(dns, PTR, dns.wire_name("host.test")))),
    "one of another class": (
        A,
        lambda dns, q: q.reply(record(dns, A, b"\xc0\0\2\1", rclass=3), record(dns, A, b"\xc0\0\2\2")),
    ),
    "a text beside": (A, lambda dns, q: q.reply(record(dns, TXT, b"\1x"), record(dns, A, b"\xc0\0\2\1"))),
    "with an authority": (
        A,
        lambda dns, q: q.reply(record(dns, A, b"\xc0\0\2\1"), authority=[dns.soa("test", 7)]),
    ),
    "an alias to nothing": (
        A,
        lambda dns, q: q.reply(record(dns, CNAME, dns.wire_name("real.test")), authority=[dns.soa("test", 7)]),
    ),
    "nothing": (A, lambda dns, q: q.reply(authority=[dns.soa("test", 7)])),
    "nothing at all": (A, lambda dns, q: q.reply()),
    "no such name": (A, lambda dns, q: q.reply(rcode=3, authority=[dns.soa("test", 7)])),
    "a failure": (A, lambda dns, q: q.reply(rcode=2)),
    "a refusal": (A, lambda dns, q: q.reply(rcode=5)),
}


@pytest.mark.parametrize("what", KNOWN)
def test_the_same(ask: Ask, nameserver: Any, dns: Any, what: str) -> None:
    """Replies and failures of every kind are the same."""
    rtype, reply = KNOWN[what]
    nameserver.script = lambda request: reply(dns, request)
    name = "n.test" if rtype != PTR else "1.2.0.192.in-addr.arpa"
    assert BY_FUNCTIONS is not None
    outcome = ask(BY_FUNCTIONS, name, rtype)
    assert outcome == ask(BY_METHODS, name, rtype)
    assert len(nameserver.log) >= 2


@pytest.mark.parametrize("seed", range(5))
def test_the_same_by_chance(ask: Ask, nameserver: Any, dns: Any, seed: int) -> None:
    """Replies of random records are read alike."""
    chance = random.Random(seed)

    def reply(request: Any) -> bytes:
        own = random.Random(f"{seed} {request.name}")
        owners = [b"\xc0\x0c", dns.wire_name("Other.test"), b"\3\xe9x\1\4test\0"]
        values = {
            A: lambda: own.randbytes(4),
            AAAA: lambda: own.randbytes(16),
            CNAME: lambda: own.choice(owners),
            PTR: lambda: own.choice(owners),
            NS: lambda: own.choice(owners),
            TXT: lambda: bytes([5]) + own.randbytes(5),
        }

        def records(most: int) -> list[bytes]:
            kinds = own.choices(list(values), [8, 8, 8, 2, 1, 1], k=own.randrange(most))
            return [
                record(
                    dns,
                    kind,
                    values[kind](),
                    own.choice([0, 60, 2**31 - 1, 2**31, 2**32 - 1]),
                    own.choices([1, 3], [9, 1])[0] if place else 1,  # c-ares goes on waiting if all are of another
                    own.choice(owners),
                )
                for place, kind in enumerate(kinds)
            ]

        authority = own.choice([[], [], [dns.soa("test", own.randrange(100))], records(3)])
        return request.reply(*records(6), authority=authority)

    nameserver.script = reply
    assert BY_FUNCTIONS is not None
    kinds = set()
    for number in range(40):
        name, rtype = f"n{number}.test", chance.choice([A, AAAA, PTR])
        outcome = ask(BY_FUNCTIONS, name, rtype)
        assert outcome == ask(BY_METHODS, name, rtype), name
        kinds.add(type(outcome))
    assert Reply in kinds


@pytest.mark.parametrize("calls", ["functions", "methods"])
def test_a_refused_question_is_answered_once(hub: hubbub.Hub, calls: str) -> None:
    """A question that c-ares does not take is answered with its error: once, and from within."""
    told: list[Any] = []
    channel = pycares.Channel(lookups="b", sock_state_cb=lambda *args: None)
    chosen = BY_FUNCTIONS if calls == "functions" else BY_METHODS
    assert chosen is not None
    chosen.query(channel, "x" * 300, A, lambda *outcome: told.append(outcome))
    channel.cancel()
    assert told == [(None, pycares.errno.ARES_EBADNAME)]
    channel.close()


def test_a_channel_that_is_closed(hub: hubbub.Hub) -> None:
    """A question to a closed channel fails; c-ares is not asked."""
    assert BY_FUNCTIONS is not None
    channel = pycares.Channel(lookups="b", sock_state_cb=lambda *args: None)
    channel.close()
    with pytest.raises(TypeError):
        BY_FUNCTIONS.query(channel, "n.test", A, print)
    with pytest.raises(TypeError):
        BY_FUNCTIONS.process(channel, -1, -1)


@pytest.mark.parametrize("lack", ["module", "function", "memory"])
def test_a_pycares_without_them(monkeypatch: pytest.MonkeyPatch, lack: str) -> None:
    """Without what the quicker calls need there are pycares' methods."""
    real = pycares._cares

    class Lib:
        def __getattr__(self, name: str) -> Any:
            if name == "ares_query_dnsrec":
                raise AttributeError(name)
            return getattr(real.lib, name)

    class FFI:
        def __getattr__(self, name: str) -> Any:
            if name == "callback":
                raise MemoryError("Cannot allocate write+execute memory for ffi.callback()")
            return getattr(real.ffi, name)

    module = ModuleType("_cares")
    module.__dict__.update(lib=Lib() if lack == "function" else real.lib, ffi=FFI() if lack == "memory" else real.ffi)
    monkeypatch.setitem(sys.modules, "pycares._cares", None if lack == "module" else module)
    assert _native._functions() is None
    monkeypatch.setattr(_native, "_by_functions", None)
    channel = pycares.Channel(lookups="b", sock_state_cb=lambda *args: None)
    assert calls_of(channel) is BY_METHODS
    channel.close()
