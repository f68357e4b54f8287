"""Run by test_glibc.py in namespaces of its own: the C library and a resolver ask the same server, with the same files.

Arguments: ``names`` or ``order``, the name of a resolver, the text of gai.conf, a seed. Prints the differences.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

HOSTS_FILE = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n192.0.2.77 inhosts.test ih\n::ffff:192.0.2.78 mapped\n"
NAMES = [
    *("-foo.test", "foo-.test", "a.-b.test", "-", "-1", "_a.test", "a_b.test", "A.Test", "a.test.", "nx.test"),
    *(
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.256",
        "4294967296",
        "4294967295",
        "08.1.1.1",
        "0x7f.1",
        "0x7f.0x1",
        "0x100000000",
    ),
    *(
        "1",
        "0",
        "12345",
        "127.1",
        "1.2.3",
        "1.2.3.4.",
        "1.2.3.4.5.",
        "017.1",
        "1.a",
        "a.1",
        "a.1.2.3.4",
        "0x",
        "0xg",
        "1e3",
    ),
    *(
        "::",
        "::1",
        "::%lo",
        "::1%lo",
        "fe80::1",
        "fe80::1%lo",
        "fe80::1%1",
        "fe80::1%99",
        "fe80::1%nosuch",
        "1.2.3.4%lo",
    ),
    *(
        "::ffff:192.0.2.1",
        "0.0.0.0",
        "255.255.255.255",
        "127.0.0.1",
        "192.0.2.77",
        "2001:db8::1",
        "::192.0.2.1",
        "ff02::1",
    ),
    *(
        "",
        ".",
        "..",
        ".a",
        "a..b",
        "a.test..",
        " a.test",
        "a.test ",
        "a b.test",
        "a*b.test",
        "*.test",
        "a/b.test",
        "a@b.test",
    ),
    *("x" * 63 + ".test", "x" * 64 + ".test", ("x" * 60 + ".") * 4 + "test", ("x" * 60 + ".") * 4 + "testabcdefg"),
    *(
        "ex\xe4mple.test",
        "xn--a.test",
        b"a.test",
        b"\xff.test",
        "\u0663",
        "\xdf.test",
        "a\u3002test",
        "\udc80",
        "\0",
        "a\0b",
    ),
    *(
        "inhosts.test",
        "INHOSTS.test",
        "ih",
        "mapped",
        "localhost",
        "LOCALHOST",
        "ip6-localhost",
        "<broadcast>",
        "<any>",
    ),
]
CALLS: list[tuple[str, Callable[[Any], tuple[Any, ...]]]] = [
    ("getaddrinfo", lambda host: (host, 80, 0, socket.SOCK_STREAM)),
    ("getaddrinfo", lambda host: (host, 80, socket.AF_INET, socket.SOCK_STREAM)),
    ("getaddrinfo", lambda host: (host, 80, socket.AF_INET6, socket.SOCK_STREAM)),
    ("getaddrinfo", lambda host: (host, None, 0, 0, 0, socket.AI_CANONNAME)),
    ("gethostbyname", lambda host: (host,)),
    ("gethostbyname_ex", lambda host: (host,)),
    ("gethostbyaddr", lambda host: (host,)),
    ("getfqdn", lambda host: (host,)),
]
PEERS: list[tuple[Any, ...]] = [
    *(
        ("127.0.0.1", 80),
        ("::1", 80),
        ("::", 80, 0, 0),
        ("fe80::1%lo", 80, 0, 1),
        ("fe80::1", 80, 0, 1),
        ("0.0.0.0", 0),
    ),
    *(
        ("fe80::1", 80, 0, 0),
        ("192.0.2.1", 80),
        ("::ffff:192.0.2.1", 80, 0, 0),
        ("2001:db8::5", 80, 0, 0),
        ("ff02::1", 80),
    ),
]
IPV4 = [
    *(
        "10.1.2.200",
        "10.1.99.1",
        "10.200.0.1",
        "192.0.2.1",
        "192.0.2.8",
        "192.0.2.200",
        "198.51.100.1",
        "198.51.100.76",
    ),
    *(
        "203.0.113.5",
        "8.8.8.8",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.1.1",
        "100.64.1.1",
        "1.1.1.1",
        "172.16.0.1",
        "224.0.0.5",
    ),
]
IPV6 = [
    *("2001:db8:1::1", "2001:db8:1::4", "2001:db8:1:1::1", "2001:db8:2::1", "2001:db8:2:9::1", "2001:db8:3::9"),
    *("2001:db8:dead::1", "2002:c000:201::1", "2002:c000:209::2", "fd00::1", "fd00:1::1", "fec0::1", "2001:0:1::9"),
    *("2001:0:5::1", "::1", "2606:4700::1", "3ffe::1", "::ffff:192.0.2.1", "::9", "ff02::1", "ff0e::1", "fe80::1"),
    *("2001:db8:1::8000:1", "2001:db8:1:0:5::"),
]
NETWORK = """
ip link add d0 type veth peer name d1
ip link set d0 up
ip link set d1 up
ip addr add 10.1.2.3/16 dev d0
ip addr add 192.0.2.9/24 dev d0
ip addr add 169.254.3.4/16 dev d0
ip addr add 198.51.100.77/32 dev d0
ip route add 203.0.113.0/24 dev d0
ip route add default dev d0
ip route add unreachable 100.64.0.0/10
ip -6 addr add 2001:db8:1::5/64 dev d0 nodad
ip -6 addr add 2002:c000:209::1/48 dev d0 nodad
ip -6 addr add fd00::7/48 dev d0 nodad
ip -6 addr add fec0::3/64 dev d0 nodad
ip -6 route add default dev d0
ip -6 addr add 2001:db8:2::5/64 dev d1 nodad preferred_lft 0
ip -6 addr add 2001:0:1::5/64 dev d1 nodad
ip -6 route add unreachable 2001:db8:dead::/48
"""


def prepare(gai_conf: str, network: str) -> None:
    """Files and devices, for this namespace alone."""
    folder = Path(tempfile.mkdtemp())
    texts = {
        "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        "hosts": HOSTS_FILE,
        "nsswitch.conf": "hosts: files dns\n",
        "gai.conf": gai_conf,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    # A file that the machine does not have can be put into a copy of /etc alone.
    shutil.copytree("/etc", folder / "etc", symlinks=True, ignore_dangling_symlinks=True)
    for name in texts:
        (folder / "etc" / name).unlink(missing_ok=True)
        shutil.copy(folder / name, folder / "etc" / name)
    for command in ("ip link set lo up", f"mount --bind {folder}/etc /etc", *network.strip().splitlines()):
        subprocess.run(command.split(), check=True)


Script = Callable[[str, int, bytes, bytes], bytes]


def serve(script: Script) -> None:
    """Answer what comes to port 53."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))

    def run() -> None:
        while True:
            query, peer = sock.recvfrom(4096)
            end = query.index(b"\0", 12) + 5
            labels, offset = [], 12
            while query[offset]:
                labels.append(query[offset + 1 : offset + 1 + query[offset]].decode("latin-1"))
                offset += 1 + query[offset]
            kind = int.from_bytes(query[end - 4 : end - 2])
            sock.sendto(script(".".join(labels).lower(), kind, query[:2], query[12:end]), peer)

    threading.Thread(target=run, daemon=True).start()


def reply(ident: bytes, question: bytes, kind: int, values: list[bytes], rcode: int = 0) -> bytes:
    """Records of one type, or none and how long that is so."""
    records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(value)) + value for value in values)
    soa = b"\0\0\x06\0\x01" + struct.pack("!IH", 60, 22) + b"\0\0" + struct.pack("!5I", 1, 2, 3, 4, 60)
    counts = struct.pack("!5H", 0x8180 | rcode, 1, len(values), 0 if values else 1, 0)
    return ident + counts + question + (records or soa)


def packed(addresses: list[str]) -> list[bytes]:
    return [socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in addresses]


def by_name(name: str, kind: int, ident: bytes, question: bytes) -> bytes:
    """Every name has an address of each family, and every address the same name."""
    if name.startswith("nx"):
        return reply(ident, question, kind, [], rcode=3)
    values = {1: packed(["192.0.2.1"]), 28: packed(["2001:db8::1"]), 12: [b"\x04host\x04test\0"]}
    return reply(ident, question, kind, values.get(kind, []))


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """The result, or class and number of the error."""
    try:
        return function(*args)
    except Exception as error:
        return type(error).__name__, error.errno if isinstance(error, OSError) else ""


def compare(resolver: Any, function: str, *args: Any) -> None:
    """Print a difference."""
    expected, found = outcome(getattr(socket, function), *args), outcome(getattr(resolver, function), *args)
    if args[0] in ("<broadcast>", "::") and (expected[:1] + found[:1]) == ("herror", "herror"):
        return  # the number is that of some earlier call
    if repr(found) != repr(expected):
        sys.stdout.write(f"{function}{args!r}: {found!r}, not {expected!r}\n")


def compare_names(resolver: Any) -> None:
    """All functions with all kinds of names and addresses."""
    serve(by_name)
    for function, make in CALLS:
        for name in NAMES:
            compare(resolver, function, *make(name))
    flags = (0, socket.NI_NAMEREQD, socket.NI_NUMERICHOST, socket.NI_DGRAM, socket.NI_NUMERICSERV)
    for peer in PEERS:
        for flag in (*flags, socket.NI_NUMERICSERV | socket.NI_NAMEREQD):
            compare(resolver, "getnameinfo", peer, flag)


def compare_order(resolver: Any, seed: int) -> None:
    """Names with several addresses of both families."""
    dice = random.Random(seed)
    sets = {
        f"s{n}.test": (dice.sample(IPV4, dice.randrange(5)), dice.sample(IPV6, dice.randrange(6))) for n in range(150)
    }
    serve(lambda name, kind, ident, question: reply(ident, question, kind, packed(sets[name][kind == 28])))
    for name in sets:
        for family in (0, socket.AF_INET, socket.AF_INET6):
            compare(resolver, "getaddrinfo", name, 80, family, socket.SOCK_STREAM)
        compare(resolver, "gethostbyname", name)
        compare(resolver, "gethostbyname_ex", name)


def main(what: str, kind: str, gai_conf: str, seed: str) -> None:
    """As above."""
    prepare(gai_conf, NETWORK if what == "order" else "")
    made = import_module(f"hubbub_dns.{kind}").Resolver(**({} if kind == "thread" else {"cache": None}))
    if what == "names":
        compare_names(made)
    else:
        compare_order(made, int(seed))
    sys.stdout.write("compared\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
