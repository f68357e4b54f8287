"""hubbub_dns.query and the query method of the dnspython resolver."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import hubbub
import hubbub_dns
import pytest
from hubbub_dns import dnspython, thread
from hubbub_dns.cache import Cache


@pytest.fixture
def resolver(nameserver: Any, tmp_path: Path) -> dnspython.Resolver:
    """A resolver that asks the scripted server."""
    nothing = str(tmp_path / "nothing")
    return dnspython.Resolver([nameserver.at], cache=None, timeout=0.5, attempts=1, resolv_conf=nothing, hosts=nothing)


def error_of(resolver: dnspython.Resolver, *args: Any) -> int | None:
    """The number of the gaierror that a query raises."""
    with pytest.raises(socket.gaierror) as info:
        resolver.query(*args)
    return info.value.errno


def test_mx(resolver: dnspython.Resolver, nameserver: Any, dns: Any) -> None:
    """Records come as dnspython's objects, CNAME records are followed."""
    nameserver.script = lambda request: request.reply(
        dns.rr("example.test", "CNAME", "mail.test"),
        dns.rr("mail.test", "MX", struct.pack("!H", 20) + dns.wire_name("mx2.test")),
        dns.rr("mail.test", "MX", struct.pack("!H", 10) + dns.wire_name("mx1.test")),
    )
    hubbub.get_hub().resolver = resolver
    records = hubbub_dns.query("example.test", "MX")
    assert sorted((record.preference, str(record.exchange)) for record in records) == [
        (10, "mx1.test."),
        (20, "mx2.test."),
    ]
    assert 55 <= records.ttl <= 60
    assert nameserver.asked == [("example.test", 15)]


def test_other_types(resolver: dnspython.Resolver, nameserver: Any, dns: Any) -> None:
    """SRV, TXT and types without a name can be asked for; underscores and names beyond ASCII too."""
    data = b"\0\1\0\2\0\x50" + dns.wire_name("h.test")
    nameserver.script = lambda request: request.reply(
        dns.rr(request.name, request.kind, b"\4text" if request.kind == dns.TXT else data)
    )
    assert [record.strings for record in resolver.query("b\xfccher.test", "TXT")] == [(b"text",)]
    (service,) = resolver.query("_http._tcp.test", 33)
    assert (service.priority, service.weight, service.port, str(service.target)) == (1, 2, 80, "h.test.")
    assert [name for name, _ in nameserver.asked] == ["xn--bcher-kva.test", "_http._tcp.test"]
    assert resolver.query("x.test", "TYPE65400")[0].data == data


def test_errors(resolver: dnspython.Resolver, nameserver: Any, dns: Any) -> None:
    """Errors are gaierrors with the numbers of getaddrinfo."""
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    assert error_of(resolver, "nx.test", "MX") == socket.EAI_NONAME
    nameserver.script = lambda request: request.reply()
    assert error_of(resolver, "x.test", "MX") == socket.EAI_NODATA
    nameserver.script = lambda request: request.reply(rcode=dns.SERVFAIL)
    assert error_of(resolver, "x.test", "MX") == socket.EAI_AGAIN
    nameserver.script = lambda request: request.reply(dns.rr("x.test", "MX", b"\0"))
    assert error_of(resolver, "x.test", "MX") == socket.EAI_FAIL
    nameserver.script = lambda request: request.reply(dns.rr("x.test", "CNAME", "x.test"))
    assert error_of(resolver, "x.test", "MX") == socket.EAI_FAIL


@pytest.mark.parametrize(
    ("name", "rdtype"), [("a..b", "A"), ("x" * 64, "A"), ("x.test", "NOSUCHTYPE"), ("x.test", 70000)]
)
def test_bad_arguments(resolver: dnspython.Resolver, name: str, rdtype: Any) -> None:
    """A name or type that cannot be is a ValueError."""
    with pytest.raises(ValueError, match="cannot be asked for"):
        resolver.query(name, rdtype)


def test_ttl_runs_down(nameserver: Any, dns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The TTL that is shown is what is left of it."""
    resolver = dnspython.Resolver([nameserver.at], cache=Cache())
    nameserver.script = lambda request: request.reply(dns.rr(request.name, "TXT", b"\1a", 30))
    assert resolver.query("x.test", "TXT").ttl == 30
    later = time.monotonic() + 10
    monkeypatch.setattr(dnspython, "monotonic", lambda: later)
    assert 19 <= resolver.query("x.test", "TXT").ttl <= 20
    assert len(nameserver.log) == 1


def test_cached(nameserver: Any, dns: Any, tmp_path: Path) -> None:
    """Records are kept as long as their TTL allows; each caller owns what it gets."""
    clock = [0.0]
    resolver = dnspython.Resolver([nameserver.at], cache=Cache(clock=lambda: clock[0]))
    nameserver.script = lambda request: request.reply(dns.rr(request.name, "TXT", b"\1a", 30))
    resolver.query("x.test", "TXT").clear()
    assert len(resolver.query("X.test", "TXT")) == 1
    assert len(nameserver.log) == 1
    clock[0] += 31
    resolver.query("x.test", "TXT")
    assert len(nameserver.log) == 2
    nameserver.script = lambda request: request.reply(authority=[dns.soa("test", 30)])
    assert error_of(resolver, "empty.test", "TXT") == error_of(resolver, "empty.test", "TXT") == socket.EAI_NODATA
    assert len(nameserver.log) == 3


def test_beside_another_resolver(hub: hubbub.Hub) -> None:
    """With another kind of resolver on the hub, query has a dnspython one of its own, which ends with the hub."""
    from hubbub_dns import records

    assert isinstance(hub.resolver, thread.Resolver)
    first = records._resolver()
    assert isinstance(first, dnspython.Resolver)
    assert records._resolver() is first
    hub.destroy()
    assert records._resolver() is not first


@pytest.mark.parametrize(("module", "extra"), [("dns", "hubbub-dns[dnspython]"), ("pycares", "hubbub-dns[ares]")])
def test_missing_library(module: str, extra: str) -> None:
    """Without its library a resolver cannot be loaded, and the error says what to install; the others can."""
    resolver = {"dns": "dnspython", "pycares": "ares"}[module]
    code = f"""
import sys
sys.modules[{module!r}] = None
import hubbub_dns, hubbub_dns.thread, hubbub_dns.block
from hubbub import plugins
try:
    plugins.load(plugins.RESOLVERS, {resolver!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert f"pip install '{extra}'" in done.stdout
