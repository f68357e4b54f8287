"""Two thousand random argument sets: every resolver does what CPython's socket functions do.

The hosts are those for which the system asks no server, so that the test needs none: numeric ones in all spellings,
those that are refused, and the names of the hosts file. The recorded exceptions are in ``excepted``.
``./do stress`` tries 10,000.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub_dns import ares, block, dnspython, thread

SEEDS = range(2026, 2026 + max(1, int(os.environ.get("HUBBUB_STRESS_SEEDS", "200")) // 200))
"""Each gives two thousand argument sets."""
HOSTS = [
    *("127.0.0.1", "0.0.0.0", "255.255.255.255", "192.0.2.7", "127.1", "1", "4294967295", "0x7f.1", "010.0.0.1"),
    *("::1", "::", "2001:db8::7", "2001:DB8:0::7", "fe80::1", "fe80::1%1", "fe80::1%lo", "::ffff:192.0.2.7"),
    *(b"127.0.0.1", b"::1", b"localhost", "localhost", "LOCALHOST", "LocalHost", "", "<broadcast>"),
    *("127.0.0.1\0", "\udcff", "x" * 64, "a..b", "b\xfccher.\udc80", "x" * 300, ".", "..", None),
    *(5, 2.5, (), ("127.0.0.1",), bytearray(b"127.0.0.1"), bytearray(b"localhost"), object),
]
PORTS = [
    *(None, 0, 1, 80, 65535, 65536, -1, 2**70, True, "80", "0", "65536", "http", "https", "domain", "no-such-service"),
    *("", b"80", b"http", "80\0", "-1", " 80", 2.5, (), "\udcff"),
]
FAMILIES = [0, 0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 99, -1]
TYPES = [0, 0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 5, 99]
PROTOS = [0, 0, 0, 6, 17, 1, 255]
FLAGS = [0, 0, 0, 1, 2, 3, 4, 6, 8, 8 | 16, 16, 32, 0x400, 0x404, -1, 2**40, "1", None]
NI_FLAGS = [0, 1, 2, 3, 4, 8, 9, 10, 16, 18, 1 << 20, -1, 2**40, "1", None]
SOCKADDRS = [
    *(("127.0.0.1", 80), ("127.0.0.1", 65536), ("127.0.0.1", -1), ("127.0.0.1", "80"), ("127.0.0.1", 80, 0, 0)),
    *(
        ("::1", 80, 0, 0),
        ("::1", 80),
        ("::1", 80, 1 << 20, 0),
        ("::1", 80, 0, 1),
        ("fe80::1%lo", 80),
        ("::1", 8, 2**33),
    ),
    *(("127.0.0.1",), (), "127.0.0.1", ["127.0.0.1", 80], (None, 80), ("127.0.0.1\0", 80), ("\udcff", 80), 5, None),
    *(("name", 80), ("localhost", 80), ("", 80), ("1", 80), ("192.0.2.7", 53), ("127.0.0.1", 1, 2, 3, 4)),
]
KINDS = {
    "thread": thread.Resolver,
    "block": block.Resolver,
    "dnspython": dnspython.Resolver,
    "ares": ares.Resolver,
}


def argument_sets(count: int, seed: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Functions and arguments, always the same for a seed."""
    dice = random.Random(seed)
    for _ in range(count):
        function = dice.choices(
            ["getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn"],
            [12, 2, 2, 2, 4, 1],
        )[0]
        if function == "getaddrinfo":
            lists = (HOSTS, PORTS, FAMILIES, TYPES, PROTOS, FLAGS)
            yield function, tuple(map(dice.choice, lists))[: dice.randrange(2, 7)]
        elif function == "getnameinfo":
            yield function, (dice.choice(SOCKADDRS), dice.choice(NI_FLAGS))
        elif function == "getfqdn":
            yield function, (dice.choice(["", "localhost", "127.0.0.1", "0.0.0.0", "::", " localhost "]),)
        else:
            yield function, (dice.choice(HOSTS),)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or the class and the number (or text) of its error; a warning is an error here.

    From CPython 3.15 on, numbers that are out of range are warned of.
    """
    try:
        result = function(*args)
    except OSError as error:
        return type(error), error.args
    except (TypeError, ValueError, OverflowError, DeprecationWarning) as error:
        return type(error), str(error)
    return sorted(result, key=repr) if isinstance(result, list) else result


def has_ipv6_localhost() -> bool:
    """Whether the hosts file has an IPv6 address for localhost; if not, glibc asks a server."""
    lines = [line.partition("#")[0].split() for line in Path("/etc/hosts").read_text().splitlines()]
    return any("localhost" in words[1:] and ":" in words[0] for words in lines)


def excepted(kind: str, function: str, args: tuple[Any, ...]) -> bool:
    """The recorded exceptions: where the system would ask a server, or where ours differ on purpose."""
    host = args[0].decode() if isinstance(args[0], (bytes, bytearray)) else args[0]
    name = host.lower() if isinstance(host, str) else host
    if function == "getaddrinfo":
        # localhost without an IPv6 line in the hosts file: the system asks a server, ours never do (RFC 6761).
        return name == "localhost" and args[2:3] == (socket.AF_INET6,) and not has_ipv6_localhost()
    if function in ("gethostbyaddr", "getfqdn"):
        # The system asks a server for the name of every address that is not in the hosts file.
        return not isinstance(name, str) or name not in ("localhost", "127.0.0.1", "", "\udcff", "x" * 64, "a..b")
    if function == "getnameinfo":
        numeric = isinstance(args[1], int) and args[1] & socket.NI_NUMERICHOST
        return not numeric and name not in ("127.0.0.1", "127.0.0.1\0", "\udcff", "name", "localhost", None, 5, ())
    if function == "gethostbyname_ex":
        # Addresses in odd spellings are looked up by the system although they are numeric.
        return name in ("0x7f.1", "::ffff:192.0.2.7", "", "<broadcast>")
    return False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_agreement(hub: hubbub.Hub, nameserver: Any, dns: Any, kind: str, seed: int) -> None:
    """Results, error classes, error numbers and messages are those of the socket module."""
    nameserver.script = lambda request: request.reply(rcode=dns.NXDOMAIN)
    asking = kind in ("dnspython", "ares")
    resolver = KINDS[kind]([nameserver.at], cache=None) if asking else KINDS[kind]()
    differences, compared = [], 0
    for function, args in argument_sets(2000, seed):
        if excepted(kind, function, args):
            continue
        compared += 1
        expected = outcome(getattr(socket, function), *args)
        found = outcome(getattr(resolver, function), *args)
        if repr(found) != repr(expected):
            differences.append(f"{function}{args!r}: {found!r}, not {expected!r}")
    resolver.close()
    assert not differences, f"{len(differences)} differences:\n" + "\n".join(differences[:30])
    assert compared > 1500
