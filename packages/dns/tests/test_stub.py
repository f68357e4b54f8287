"""The resolvers that ask name servers: what both promise when the servers are well-behaved."""

from __future__ import annotations

import errno
import gc
import os
import socket
import time
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub import plugins
from hubbub_dns import ares, dnspython
from hubbub_dns.cache import Cache
from hubbub_testkit.greenlets import open_descriptors

REAL, REAL6 = "192.0.2.1", "2001:db8::1"


def error_of(function: Any, *args: Any) -> tuple[type, int]:
    """The class and number of the error that a call raises."""
    with pytest.raises(OSError) as info:
        function(*args)
    assert info.value.errno is not None
    return type(info.value), info.value.errno


def test_registered(hub: hubbub.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points ``dnspython`` and ``ares`` are these classes, and HUBBUB_RESOLVER chooses among them."""
    assert plugins.load(plugins.RESOLVERS, "dnspython") is dnspython.Resolver
    assert plugins.load(plugins.RESOLVERS, "ares") is ares.Resolver
    monkeypatch.setenv("HUBBUB_RESOLVER", "ares")
    assert isinstance(hub.resolver, ares.Resolver)
    assert hub.resolver.gethostbyname("localhost") == "127.0.0.1"


# The names of two services, or their numbers on a system without /etc/services.
HTTP, HTTPS = (socket.getnameinfo(("127.0.0.1", port), socket.NI_NUMERICHOST)[1] for port in (80, 443))

# The functions --


def test_getaddrinfo(make: Any, nameserver: Any) -> None:
    """Both families of a name are asked for and returned in getaddrinfo's form."""
    found = make(nameserver).getaddrinfo("www.test", HTTPS, type=socket.SOCK_STREAM)
    assert sorted(found) == [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (REAL, 443)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (REAL6, 443, 0, 0)),
    ]
    assert isinstance(found[0][0], socket.AddressFamily)
    assert isinstance(found[0][1], socket.SocketKind)
    assert sorted(nameserver.asked) == [("www.test", 1), ("www.test", 28)]


def test_family(make: Any, nameserver: Any) -> None:
    """Only the family that is wanted is asked for."""
    resolver = make(nameserver)
    assert [entry[4][0] for entry in resolver.getaddrinfo("www.test", 80, socket.AF_INET6, 1)] == [REAL6]
    assert nameserver.asked == [("www.test", 28)]
    assert resolver.gethostbyname("www.test") == REAL
    assert nameserver.asked[1:] == [("www.test", 1)]


def test_mapped(make: Any, nameserver: Any) -> None:
    """AI_V4MAPPED gives IPv4 addresses as IPv6 ones if there are none of these; with AI_ALL both."""
    resolver = make(nameserver)
    mapped = f"::ffff:{REAL}"

    def hosts(flags: int) -> list[str]:
        return sorted(entry[4][0] for entry in resolver.getaddrinfo("www.test", 80, socket.AF_INET6, 1, 0, flags))

    assert hosts(socket.AI_V4MAPPED) == [REAL6]
    assert hosts(socket.AI_V4MAPPED | socket.AI_ALL) == sorted([REAL6, mapped])
    nameserver.script = lambda request: request.a(REAL)
    assert hosts(socket.AI_V4MAPPED) == [mapped]


def test_canonical_name(make: Any, nameserver: Any, dns: Any) -> None:
    """AI_CANONNAME puts the canonical name into the first entry."""
    nameserver.script = lambda request: request.reply(
        dns.rr("www.test", "CNAME", "Host.test"), dns.rr("host.test", "A", REAL), dns.rr("host.test", "A", "192.0.2.2")
    )
    resolver = make(nameserver)
    found = resolver.getaddrinfo("www.test", 80, socket.AF_INET, 1, 0, socket.AI_CANONNAME)
    assert [entry[3] for entry in found] == ["Host.test", ""]


def test_gethostbyname_ex(make: Any, nameserver: Any) -> None:
    """The name, its aliases and all of its IPv4 addresses."""
    nameserver.script = lambda request: request.a(REAL, "192.0.2.2", REAL6)
    name, aliases, addresses = make(nameserver).gethostbyname_ex("www.test")
    assert (name, aliases, sorted(addresses)) == ("www.test", [], [REAL, "192.0.2.2"])


def test_gethostbyaddr(make: Any, nameserver: Any, dns: Any) -> None:
    """The name of an address is what its PTR records say; what is no host name is left out."""
    nameserver.script = lambda request: request.reply(
        *(dns.rr(request.name, "PTR", name) for name in ("evil\nname.test", "host.test", "alias.test"))
    )
    resolver = make(nameserver)
    assert resolver.gethostbyaddr(REAL) == ("host.test", ["alias.test"], [REAL])
    assert resolver.gethostbyaddr("2001:DB8::1") == ("host.test", ["alias.test"], [REAL6])
    assert error_of(resolver.gethostbyaddr, f"::ffff:{REAL}") == (OSError, errno.EAFNOSUPPORT)  # as the system says
    ip6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    assert [name for name, _ in nameserver.asked] == ["1.2.0.192.in-addr.arpa", ip6, "1.2.0.192.in-addr.arpa"]
    assert resolver.getfqdn(REAL) == "host.test"


def test_gethostbyaddr_of_a_name(make: Any, nameserver: Any, dns: Any) -> None:
    """A name given to gethostbyaddr is looked up first."""
    nameserver.script = lambda request: (
        request.reply(dns.rr(request.name, "PTR", "host.test")) if request.kind == dns.PTR else request.a(REAL)
    )
    assert make(nameserver).gethostbyaddr("www.test") == ("host.test", [], [REAL])


def test_gethostbyaddr_errors(make: Any, nameserver: Any, dns: Any) -> None:
    """gethostbyaddr raises herror with the numbers of netdb.h."""
    resolver = make(nameserver, timeout=5, attempts=1)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    assert error_of(resolver.gethostbyaddr, REAL) == (socket.herror, 1)
    nameserver.script = lambda request: request.reply(rcode=dns.SERVFAIL)
    assert error_of(resolver.gethostbyaddr, REAL) == (socket.herror, 2)
    nameserver.script = lambda request: request.reply()
    assert error_of(resolver.gethostbyaddr, REAL) == (socket.herror, 4)
    assert resolver.getfqdn(REAL) == REAL


def test_getnameinfo(make: Any, nameserver: Any, dns: Any) -> None:
    """Host and service of an address; numeric when there is no name, unless one is demanded."""
    resolver = make(nameserver, timeout=5, attempts=1)
    nameserver.script = lambda request: request.reply(dns.rr(request.name, "PTR", "host.test"))
    assert resolver.getnameinfo((REAL, 80), 0) == ("host.test", HTTP)
    assert resolver.getnameinfo((REAL, 80), socket.NI_NUMERICSERV) == ("host.test", "80")
    assert resolver.getnameinfo((REAL, 80), socket.NI_NUMERICHOST) == (REAL, HTTP)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    assert resolver.getnameinfo((REAL, 80), 0) == (REAL, HTTP)
    assert error_of(resolver.getnameinfo, (REAL, 80), socket.NI_NAMEREQD) == (socket.gaierror, socket.EAI_NONAME)
    nameserver.script = lambda request: request.reply(rcode=dns.SERVFAIL)
    assert error_of(resolver.getnameinfo, (REAL, 80), 0) == (socket.gaierror, socket.EAI_AGAIN)


def test_absent(make: Any, nameserver: Any, dns: Any) -> None:
    """A name that does not exist is EAI_NONAME, one without addresses EAI_NODATA, with the system's words."""
    resolver = make(nameserver)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    with pytest.raises(socket.gaierror) as info:
        resolver.getaddrinfo("nx.test", 80)
    assert info.value.args == (socket.EAI_NONAME, "Name or service not known")
    nameserver.script = lambda request: request.reply()
    with pytest.raises(socket.gaierror) as info:
        resolver.getaddrinfo("empty.test", 80)
    assert info.value.args == (socket.EAI_NODATA, "No address associated with hostname")


def test_half_an_answer(make: Any, nameserver: Any, dns: Any) -> None:
    """One family's addresses are enough, whatever becomes of the other."""
    nameserver.script = lambda request: request.a(REAL) if request.kind == dns.A else request.reply(rcode=dns.SERVFAIL)
    found = make(nameserver).getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
    assert [entry[4] for entry in found] == [(REAL, 80)]


def test_idna(make: Any, nameserver: Any) -> None:
    """A name beyond ASCII is asked for in its IDNA form."""
    assert make(nameserver).gethostbyname("b\xfccher.test") == REAL
    assert nameserver.asked == [("xn--bcher-kva.test", 1)]


@pytest.mark.parametrize(
    "name", ["white space.test", "semi;colon.test", "back\\slash.test", "a" * 63 + "." * 2, "x" * 260]
)
def test_no_host_name(make: Any, nameserver: Any, name: str) -> None:
    """What cannot be a host name is not asked for."""
    with pytest.raises(socket.gaierror) as info:
        make(nameserver).gethostbyname(name.encode())
    assert info.value.errno == socket.EAI_NONAME
    assert nameserver.log == []


def test_localhost(make: Any, nameserver: Any) -> None:
    """localhost and the names below it are this machine, and are never asked for."""
    resolver = make(nameserver)
    for name in ("localhost", "LOCALHOST", "localhost.", "www.localhost"):
        found = resolver.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        assert {entry[4][0] for entry in found} == {"127.0.0.1", "::1"}
    assert nameserver.log == []


def test_sorted(make: Any, nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses come in the order of RFC 6724: those that can be reached first."""
    from hubbub_dns import _sorting

    monkeypatch.setattr(_sorting, "source_of", lambda address: None if ":" in address else "192.0.2.99")
    nameserver.script = lambda request: request.a(REAL, REAL6, "192.0.2.2")
    found = make(nameserver).getaddrinfo("www.test", 80, type=socket.SOCK_STREAM)
    assert [entry[4][0] for entry in found] == [REAL, "192.0.2.2", REAL6]


# Search list --


def asked_for(nameserver: Any, resolver: Any, name: str) -> list[str]:
    nameserver.log.clear()
    with pytest.raises(socket.gaierror):
        resolver.gethostbyname(name)
    return [asked for asked, _ in nameserver.asked]


def test_search_order(make: Any, nameserver: Any, dns: Any) -> None:
    """Names are tried in glibc's order, for every count of dots."""
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    resolver = make(nameserver)
    make.resolv_conf.write_text("search one.test two.test\n")
    assert asked_for(nameserver, resolver, "host") == ["host.one.test", "host.two.test", "host"]
    assert asked_for(nameserver, resolver, "host.") == ["host"]
    assert asked_for(nameserver, resolver, "a.b") == ["a.b", "a.b.one.test", "a.b.two.test"]
    assert asked_for(nameserver, resolver, "a.b.") == ["a.b"]
    make.resolv_conf.write_text("search one.test\noptions ndots:2\n")
    assert asked_for(nameserver, resolver, "a.b") == ["a.b.one.test", "a.b"]
    assert asked_for(nameserver, resolver, "a.b.c") == ["a.b.c", "a.b.c.one.test"]
    make.resolv_conf.write_text("search one.test\noptions ndots:0\n")
    assert asked_for(nameserver, resolver, "host") == ["host", "host.one.test"]
    make.resolv_conf.write_text("search one.test\noptions ndots:15\n")
    assert asked_for(nameserver, resolver, "a.b.c") == ["a.b.c.one.test", "a.b.c"]


def test_search_finds(make: Any, nameserver: Any, dns: Any) -> None:
    """The first domain that has the name ends the search, and the full name is the canonical one."""
    nameserver.script = lambda request: (
        request.a(REAL) if request.name == "host.two.test" else request.reply(rcode=dns.NXDOMAIN)
    )
    resolver = make(nameserver, search=["one.test", "two.test", "three.test"])
    assert resolver.gethostbyname_ex("host") == ("host.two.test", [], [REAL])
    assert [name for name, _ in nameserver.asked] == ["host.one.test", "host.two.test"]


def test_search_goes_on_after_servfail(make: Any, nameserver: Any, dns: Any) -> None:
    """A server that fails in one domain does not end the search; the error is kept for the end."""
    codes = {"host.one.test": dns.SERVFAIL}
    nameserver.script = lambda request: request.reply(rcode=codes.get(request.name, dns.NXDOMAIN))
    resolver = make(nameserver, search=["one.test", "two.test"], timeout=5, attempts=1)
    assert error_of(resolver.gethostbyname, "host") == (socket.gaierror, socket.EAI_AGAIN)
    assert {name for name, _ in nameserver.asked} == {"host.one.test", "host.two.test", "host"}
    codes["host.one.test"] = 0
    assert error_of(resolver.gethostbyname, "host") == (socket.gaierror, socket.EAI_NODATA)


def test_search_ends_after_refusal(make: Any, nameserver: Any, dns: Any) -> None:
    """A server that refuses ends the search list; the name as it stands is still asked for."""
    nameserver.script = lambda request: request.reply(rcode=dns.REFUSED)
    resolver = make(nameserver, search=["one.test", "two.test"], timeout=5, attempts=1)
    assert error_of(resolver.gethostbyname, "host") == (socket.gaierror, socket.EAI_AGAIN)
    assert {name for name, _ in nameserver.asked} == {"host.one.test", "host"}
    nameserver.script = lambda request: request.reply(rcode=0 if request.name == "a.b" else dns.NXDOMAIN)
    assert error_of(resolver.gethostbyname, "a.b") == (socket.gaierror, socket.EAI_NODATA)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN if request.name == "a.b" else 0)
    assert error_of(resolver.gethostbyname, "a.b") == (socket.gaierror, socket.EAI_NONAME)


def test_search_ends_in_silence(make: Any, nameserver: Any) -> None:
    """When no server answers at all, the search ends."""
    nameserver.script = lambda request: None
    resolver = make(nameserver, search=["one.test", "two.test"], timeout=0.3, attempts=1)
    assert error_of(resolver.gethostbyname, "host") == (socket.gaierror, socket.EAI_AGAIN)
    assert {name for name, _ in nameserver.asked} == {"host.one.test"}


# Files --


def test_hosts_file(make: Any, nameserver: Any) -> None:
    """The hosts file wins over the servers, in both directions; another family than it has is asked for."""
    make.hosts.write_text(
        "# comment\n"
        "192.0.2.50 Printer.test printer lpr # more\r\n"
        "2001:db8:0:0::50 printer.test\n"
        "192.0.2.51 printer\n"
        "192.0.2.52 scanner\n"
        "nonsense line\n"
        "fe80::7%1 link\n"
    )
    resolver = make(nameserver)
    assert resolver.gethostbyname_ex("PRINTER") == ("Printer.test", ["printer", "lpr"], ["192.0.2.50", "192.0.2.51"])
    found = resolver.getaddrinfo("printer.test", 80, type=socket.SOCK_STREAM)
    assert {entry[4][0] for entry in found} == {"192.0.2.50", "2001:db8::50"}
    assert resolver.gethostbyaddr("192.0.2.50") == ("Printer.test", ["printer", "lpr"], ["192.0.2.50"])
    assert resolver.gethostbyaddr("2001:0db8::50")[0] == "printer.test"
    assert resolver.getaddrinfo("link", 80, type=socket.SOCK_STREAM)[0][4] == ("fe80::7", 80, 0, 1)
    assert nameserver.log == []
    assert resolver.getaddrinfo("scanner", 80, socket.AF_INET6, 1)[0][4][0] == REAL6


def test_servers_first(make: Any, nameserver: Any, dns: Any) -> None:
    """Where nsswitch.conf puts the servers first, the hosts file has what they do not know; a change is seen."""
    make.hosts.write_text("192.0.2.50 www.test\n192.0.2.51 other.test\n127.0.0.9 localhost\n")
    resolver = make(nameserver)
    assert resolver.gethostbyname("www.test") == "192.0.2.50"
    make.nsswitch.write_text("hosts: dns files\n")
    assert resolver.gethostbyname("www.test") == REAL
    assert resolver.gethostbyname("localhost") == "127.0.0.9"
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    assert resolver.gethostbyname("other.test") == "192.0.2.51"
    assert resolver.gethostbyaddr("192.0.2.51")[0] == "other.test"
    assert error_of(resolver.gethostbyname, "absent.test") == (socket.gaierror, socket.EAI_NONAME)
    nameserver.script = lambda request: request.reply(dns.rr(request.name, "PTR", "host.test"))
    assert resolver.gethostbyaddr("192.0.2.51")[0] == "host.test"
    make.nsswitch.write_text("hosts: files dns\n")
    assert resolver.gethostbyaddr("192.0.2.51")[0] == "other.test"


def test_actions(make: Any, nameserver: Any, dns: Any) -> None:
    """Actions of nsswitch.conf end the search, or let it go on."""
    make.hosts.write_text("192.0.2.50 www.test\n192.0.2.51 other.test\n")
    resolver = make(nameserver, timeout=0.05, attempts=1)
    make.nsswitch.write_text("hosts: files [NOTFOUND=return] dns\n")
    assert resolver.gethostbyname("www.test") == "192.0.2.50"
    assert error_of(resolver.gethostbyname, "elsewhere.test") == (socket.gaierror, socket.EAI_NONAME)
    assert error_of(resolver.gethostbyaddr, REAL) == (socket.herror, 1)
    assert nameserver.log == []
    make.nsswitch.write_text("hosts: dns [!UNAVAIL=return] files\n")
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    assert error_of(resolver.gethostbyname, "www.test") == (socket.gaierror, socket.EAI_NONAME)
    nameserver.script = lambda request: None
    assert resolver.gethostbyname("www.test") == "192.0.2.50"
    make.nsswitch.write_text("hosts: files [SUCCESS=continue] dns\n")
    assert resolver.gethostbyname("www.test") == "192.0.2.50"
    nameserver.script = lambda request: request.a(REAL)
    assert resolver.gethostbyname("www.test") == REAL
    make.nsswitch.write_text("hosts: resolve [!UNAVAIL=return] files dns\n")
    assert resolver.gethostbyname("www.test") == "192.0.2.50"


def test_spelling_of_the_caller(make: Any, nameserver: Any) -> None:
    """The canonical name of a name without CNAME records is the one asked for, in capitals or not."""
    resolver = make(nameserver, cache=Cache())
    for name in ("WWW.test", "www.TEST"):
        assert resolver.gethostbyname_ex(name) == (name, [], [REAL])
    assert len(nameserver.log) == 1


def test_gai_conf(make: Any, nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of addresses follows gai.conf, also after it has changed."""
    from hubbub_dns import _sorting

    own = {REAL: "192.0.2.9", REAL6: "2001:db8::9"}
    monkeypatch.setattr(_sorting, "source_of", own.__getitem__)
    resolver = make(nameserver)
    assert resolver.getaddrinfo("www.test", 80)[0][4][0] == REAL6
    make.gai_conf.write_text("precedence ::ffff:0:0/96 100\n")
    assert resolver.getaddrinfo("www.test", 80)[0][4][0] == REAL


def test_hosts_file_replaced(make: Any, nameserver: Any) -> None:
    """A changed hosts file is seen."""
    resolver = make(nameserver)
    assert resolver.gethostbyname("name.test") == REAL
    make.hosts.write_text("192.0.2.60 name.test\n")
    assert resolver.gethostbyname("name.test") == "192.0.2.60"
    other = make.hosts.with_suffix(".new")
    other.write_text("192.0.2.61 name.test\n")
    other.replace(make.hosts)
    assert resolver.gethostbyname("name.test") == "192.0.2.61"
    make.hosts.unlink()
    assert resolver.gethostbyname("name.test") == REAL


def test_large_hosts_file(make: Any, nameserver: Any) -> None:
    """A hosts file of a hundred thousand lines is read without a gap of 50 ms for others."""
    make.hosts.write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} host{n}.test\n" for n in range(100_000)))
    resolver = make(nameserver)
    reading = hubbub.spawn(resolver.gethostbyname, "host99999.test")
    longest, last = 0.0, time.thread_time()
    while not reading.dead:
        hubbub.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    assert reading.value == "10.1.134.159"
    assert longest < 0.05


def test_resolv_conf_replaced(make: Any, nameservers: Any) -> None:
    """A changed resolv.conf is seen, also one that was emptied, has nonsense in it or ten servers."""
    first, second = nameservers("127.0.0.2"), nameservers("127.0.0.3")
    first.script = lambda request: request.a("192.0.2.2")
    second.script = lambda request: request.a("192.0.2.3")
    make.resolv_conf.write_text("nameserver 127.0.0.2\n")
    resolver = make(port=first.port)
    assert resolver.gethostbyname("www.test") == "192.0.2.2"
    make.resolv_conf.write_text("nameserver 127.0.0.3\noptions timeout:1 attempts:1\n")
    resolver._asker.port = second.port
    assert resolver.gethostbyname("www.test") == "192.0.2.3"
    make.resolv_conf.write_text("\0\xff nonsense\nnameserver\nnameserver not-an-address\nnameserver 127.0.0.3 # x\n")
    assert resolver.gethostbyname("www.test") == "192.0.2.3"
    make.resolv_conf.write_text("".join(f"nameserver 127.0.0.{n}\n" for n in range(3, 13)) + "options timeout:1\n")
    assert resolver.gethostbyname("www.test") == "192.0.2.3"
    assert len(resolver.servers) == 3
    make.resolv_conf.write_text("")
    resolver.timeout = 1
    with pytest.raises(socket.gaierror), hubbub.Timeout(10):
        resolver.gethostbyname("www.test")
    assert [server.address for server in resolver.servers] == ["127.0.0.1"]


def test_rotate(make: Any, nameservers: Any) -> None:
    """With ``rotate`` each lookup begins with another server."""
    servers = [nameservers() for _ in range(3)]
    resolver = make(*servers, rotate=True)
    for number in range(60):
        assert resolver.gethostbyname(f"n{number}.test") == REAL
    assert all(server.log for server in servers)


def test_no_aaaa(make: Any, nameserver: Any) -> None:
    """With ``options no-aaaa`` nothing is asked for IPv6 addresses."""
    make.resolv_conf.write_text("options no-aaaa\n")
    resolver = make(nameserver)
    assert {entry[4][0] for entry in resolver.getaddrinfo("www.test", 80)} == {REAL}
    assert nameserver.asked == [("www.test", 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1.0},
        {"attempts": 0},
        {"max_queries": 0},
        {"servers": ["name.test"]},
        {"servers": [""]},
    ],
)
def test_bad_options(make: Any, options: dict[str, Any]) -> None:
    """Options that make no sense are refused at once."""
    with pytest.raises(ValueError, match=r"timeout|attempts|question|name server"):
        make.cls(**options)


# Cache --


def test_cached(make: Any, nameserver: Any) -> None:
    """An answer is kept as long as its TTL allows, per type; then it is asked for again."""
    clock = [1000.0]
    resolver = make(nameserver, cache=Cache(clock=lambda: clock[0]))
    nameserver.script = lambda request: request.a(REAL, REAL6, ttl=30)
    for _ in range(5):
        resolver.getaddrinfo("www.test", 80)
        assert resolver.gethostbyname("WWW.test") == REAL
    assert len(nameserver.log) == 2
    statistics = resolver.cache.statistics()
    assert (statistics.entries, statistics.misses, statistics.hits) == (2, 2, 13)
    clock[0] += 29.9
    resolver.gethostbyname("www.test")
    assert len(nameserver.log) == 2
    clock[0] += 0.2
    resolver.gethostbyname("www.test")
    assert len(nameserver.log) == 3


def test_nothing_is_cached_behind_our_back(make: Any, nameserver: Any) -> None:
    """Without a cache, and after it was emptied, every lookup is asked anew."""
    resolver = make(nameserver)
    for number in range(1, 4):
        resolver.gethostbyname("www.test")
        assert len(nameserver.log) == number
    nameserver.log.clear()
    resolver = make(nameserver, cache=Cache())
    for number in range(1, 4):
        resolver.gethostbyname("www.test")
        resolver.gethostbyname("www.test")
        assert len(nameserver.log) == number
        resolver.cache.clear()


def test_negative_cached(make: Any, nameserver: Any, dns: Any) -> None:
    """That there is nothing is kept too; a failure of the server is not."""
    resolver = make(nameserver, cache=Cache(), timeout=5, attempts=1)
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN, authority=[dns.soa("test", 30)])
    for _ in range(3):
        assert error_of(resolver.gethostbyname, "nx.test") == (socket.gaierror, socket.EAI_NONAME)
    assert len(nameserver.log) == 1
    assert resolver.cache.statistics().negative_hits == 2
    nameserver.script = lambda request: request.reply(rcode=dns.SERVFAIL)
    assert error_of(resolver.gethostbyname, "bad.test") == (socket.gaierror, socket.EAI_AGAIN)
    nameserver.script = lambda request: request.a(REAL)
    assert resolver.gethostbyname("bad.test") == REAL


def test_ttl_zero(make: Any, nameserver: Any) -> None:
    """An answer with a TTL of 0 is not kept."""
    resolver = make(nameserver, cache=Cache())
    nameserver.script = lambda request: request.a(REAL, ttl=0)
    for _ in range(3):
        resolver.gethostbyname("www.test")
    assert len(nameserver.log) == 3


def test_shared_cache(make: Any, nameserver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolvers that ask the same servers share one cache unless told otherwise; HUBBUB_DNS_CACHE=0 turns it off."""
    one, other = make(nameserver, cache=True), make(nameserver, cache=True)
    assert one.cache is other.cache
    one.cache.clear()
    assert one.gethostbyname("shared.test") == other.gethostbyname("shared.test") == REAL
    assert len(nameserver.log) == 1
    one.cache.clear()
    monkeypatch.setenv("HUBBUB_DNS_CACHE", "0")
    assert make(nameserver, cache=True).cache is None


def test_other_servers_other_answers(make: Any, nameservers: Any) -> None:
    """Answers of one server are not given out as another's."""
    first, second = nameservers(), nameservers()
    second.script = lambda request: request.a("192.0.2.2")
    cache = Cache()
    assert make(first, cache=cache).gethostbyname("www.test") == REAL
    assert make(second, cache=cache).gethostbyname("www.test") == "192.0.2.2"


# Fork --


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork(make: Any, nameserver: Any) -> None:
    """With a lookup under way at a fork, both processes finish theirs."""

    def script(request: Any) -> Any:
        hubbub.sleep(0.1)
        return request.a(REAL)

    nameserver.script = script
    resolver = make(nameserver)
    assert resolver.gethostbyname("first.test") == REAL
    waiting = hubbub.spawn(resolver.gethostbyname, "www.test")
    hubbub.sleep(0.02)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # The server stays behind in the parent.
            status = 0 if resolver.gethostbyname("www.test") == REAL else 2
            resolver.close()
        finally:
            os._exit(status)
    assert waiting.get(timeout=10) == REAL
    for _ in range(1000):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        hubbub.sleep(0.01)
    else:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        pytest.fail("the child did not end")
    assert os.waitstatus_to_exitcode(status) == 0


def test_hub_destroyed(make: Any, nameserver: Any) -> None:
    """A hub that ends closes its resolver: no descriptor of a lookup under way is left."""
    hub = hubbub.get_hub()
    hub.resolver = resolver = make(nameserver)
    assert resolver.gethostbyname("www.test") == REAL
    before = open_descriptors()
    nameserver.script = lambda request: None
    for number in range(5):
        hubbub.spawn(resolver.gethostbyname, f"n{number}.test")
    hubbub.sleep(0.05)
    assert len(resolver._asker.flights) == 5
    assert len(open_descriptors()) > len(before)
    nameserver.close()
    hub.exception_stream = None
    hub.destroy()
    gc.collect()
    assert open_descriptors() < before


def test_repr(make: Any, nameserver: Any, tmp_path: Path) -> None:
    """A resolver shows its class, what is under way and its cache."""
    assert "in_flight=0" in repr(make(nameserver))


@pytest.mark.parametrize("line", ["hosts: files", "hosts: files mdns4_minimal [NOTFOUND=return] myhostname"])
def test_files_only(make: Any, nameserver: Any, line: str) -> None:
    """Where nsswitch.conf names the hosts file and no DNS, no query is sent, whatever is looked up."""
    make.nsswitch.write_text(f"{line}\n")
    make.hosts.write_text("192.0.2.9 known.test\n")
    resolver = make(nameserver, search=["one.test"])
    assert resolver.gethostbyname("known.test") == "192.0.2.9"
    assert resolver.gethostbyaddr("192.0.2.9")[0] == "known.test"
    for function in (resolver.gethostbyname, resolver.gethostbyname_ex):
        assert error_of(function, "other.test") == (socket.gaierror, socket.EAI_NONAME)
    assert error_of(resolver.getaddrinfo, "other.test", 80) == (socket.gaierror, socket.EAI_NONAME)
    assert error_of(resolver.gethostbyaddr, "192.0.2.1") == (socket.herror, 1)
    assert resolver.getnameinfo(("192.0.2.1", 80), socket.NI_NUMERICSERV) == ("192.0.2.1", "80")
    assert nameserver.asked == []


def test_servers_only(make: Any, nameserver: Any) -> None:
    """Where nsswitch.conf names DNS and no hosts file, that is not looked into."""
    make.nsswitch.write_text("hosts: dns\n")
    make.hosts.write_text("192.0.2.9 known.test\n")
    assert make(nameserver).gethostbyname("known.test") == REAL


def test_four_thousand_addresses(make: Any, nameserver: Any) -> None:
    """A lookup of 4,000 addresses keeps nobody else waiting for long, and does not fill the cache."""
    addresses = [f"192.0.{n >> 8}.{n & 255}" for n in range(4000)]
    nameserver.script = lambda request: request.a(*addresses) if request.tcp else request.reply(truncated=True)
    cache = Cache(max_bytes=100_000)
    resolver = make(nameserver, cache=cache)
    gaps: list[float] = []

    def tick() -> None:
        last = time.thread_time()
        while True:
            hubbub.sleep(0)
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    found = resolver.getaddrinfo("www.test", 80, socket.AF_INET, socket.SOCK_STREAM)  # everything is imported now
    ticking = hubbub.spawn(tick)
    try:
        assert sorted(resolver.getaddrinfo("www.test", 80, socket.AF_INET, socket.SOCK_STREAM)) == sorted(found)
    finally:
        ticking.kill()
    assert len(found) == 4000
    assert sorted(gaps)[-1] < 0.1, sorted(gaps)[-6:]
    assert cache.statistics().bytes <= 100_000
