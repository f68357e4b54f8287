"""What the tests of the resolvers share: a name server that does what a script says, over UDP and TCP."""

from __future__ import annotations

import math
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_dns import ares, dnspython

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)


def wire_name(name: str) -> bytes:
    """A name as it goes over the wire."""
    labels = [label.encode("latin-1") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def rr(owner: str | bytes, kind: str | int, value: Any, ttl: int = 60) -> bytes:
    """A resource record. ``value``: an address or a name as text, or the data as bytes."""
    number = TYPES[kind] if isinstance(kind, str) else kind
    if isinstance(value, str):
        if kind == "A":
            value = socket.inet_pton(socket.AF_INET, value)
        elif kind == "AAAA":
            value = socket.inet_pton(socket.AF_INET6, value)
        else:
            value = wire_name(value)
    name = wire_name(owner) if isinstance(owner, str) else owner
    return name + struct.pack("!HHIH", number, 1, ttl, len(value)) + value


def soa(owner: str, minimum: int, ttl: int = 60) -> bytes:
    """A SOA record."""
    return rr(
        owner, "SOA", wire_name("ns.test") + wire_name("root.test") + struct.pack("!5I", 1, 2, 3, 4, minimum), ttl
    )


@dataclass
class Request:
    """A query as the server sees it."""

    wire: bytes
    peer: Any
    tcp: bool
    sock: Socket
    id: int = field(init=False)
    name: str = field(init=False)
    kind: int = field(init=False)
    question: bytes = field(init=False)
    edns: bool = field(init=False)

    def __post_init__(self) -> None:
        self.id, _, _, _, _, additional = struct.unpack_from("!6H", self.wire)
        labels, offset = [], 12
        while length := self.wire[offset]:
            labels.append(self.wire[offset + 1 : offset + 1 + length].decode("latin-1"))
            offset += 1 + length
        self.name = ".".join(labels)
        self.kind = struct.unpack_from("!H", self.wire, offset + 1)[0]
        self.question = self.wire[12 : offset + 5]
        self.edns = additional > 0

    def reply(
        self,
        *answers: bytes,
        rcode: int = NOERROR,
        authority: Iterable[bytes] = (),
        truncated: bool = False,
        id: int | None = None,
        question: bytes | None = None,
        flags: int | None = None,
    ) -> bytes:
        """A reply with these records."""
        authority = list(authority)
        if flags is None:
            flags = 0x8180 | rcode | (0x0200 if truncated else 0)
        asked = self.question if question is None else question
        counts = (1 if asked else 0, len(answers), len(authority), 0)
        header = struct.pack("!6H", self.id if id is None else id, flags, *counts)
        return header + asked + b"".join(answers) + b"".join(authority)

    def a(self, *addresses: str, ttl: int = 60, **options: Any) -> bytes:
        """A reply with addresses of the type asked for; NODATA if none of them is."""
        kinds = {1: ".", 28: ":"}
        fitting = [address for address in addresses if kinds.get(self.kind, "?") in address]
        records = [rr(b"\xc0\x0c", self.kind, _packed(address), ttl) for address in fitting]
        return self.reply(*records, **options)


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


Script = Callable[[Request], "bytes | Iterable[bytes] | None"]


class NameServer:
    """Answers as ``script`` says: a message, several, or None for silence. Keeps a log of what it was asked.

    It runs in greenlets of the hub, so a script may sleep.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.log: list[Request] = []
        self.script: Script = lambda request: request.a("192.0.2.1", "2001:db8::1")
        self.tcp_script: Callable[[Request], None] | None = None
        self._udp, self._tcp = self._bind(address)
        self.address, self.port = self._udp.getsockname()
        self._greenlets = [hubbub.spawn(self._serve_udp), hubbub.spawn(self._serve_tcp)]
        self._handlers: set[hubbub.Greenlet] = set()

    @staticmethod
    def _bind(address: str) -> tuple[Socket, Socket]:
        for _ in range(50):
            udp = Socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((address, 0))
            tcp = Socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
                continue
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            tcp.listen(100)
            return udp, tcp
        raise OSError("no port is free for both UDP and TCP")

    @property
    def at(self) -> tuple[str, int]:
        """Where it listens."""
        return self.address, self.port

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Names and types in the order they were asked for."""
        return [(request.name, request.kind) for request in self.log]

    def _handle(self, function: Callable[..., None], *args: Any) -> None:
        handler = hubbub.spawn(function, *args)
        self._handlers.add(handler)
        handler.rawlink(self._handlers.discard)

    def _serve_udp(self) -> None:
        while True:
            wire, peer = self._udp.recvfrom(65535)
            request = Request(wire, peer, False, self._udp)
            self.log.append(request)
            self._handle(self._answer_udp, request)

    def _answer_udp(self, request: Request) -> None:
        for wire in self._answers(request):
            self._udp.sendto(wire, request.peer)

    def _serve_tcp(self) -> None:
        while True:
            sock, peer = self._tcp.accept()
            self._handle(self._converse, sock, peer)

    def _converse(self, sock: Socket, peer: Any) -> None:
        with sock:
            length = sock.recv(2)
            while len(length) == 2:
                wire = b""
                while len(wire) < int.from_bytes(length):
                    wire += sock.recv(65535)
                request = Request(wire, peer, True, sock)
                self.log.append(request)
                if self.tcp_script is not None:
                    self.tcp_script(request)
                else:
                    for answer in self._answers(request):
                        sock.sendall(len(answer).to_bytes(2) + answer)
                length = sock.recv(2)

    def _answers(self, request: Request) -> Iterable[bytes]:
        answers = self.script(request)
        if answers is None:
            return []
        return [answers] if isinstance(answers, bytes) else answers

    def close(self) -> None:
        """Stop."""
        hubbub.killall([*self._greenlets, *self._handlers])
        self._udp.close()
        self._tcp.close()


class PlainServer:
    """Every name has one address. It runs in a native thread, so that its work does not wait for the resolver's.

    :param delay: seconds from a query to its reply.
    :param loses: says of a query whether it is lost.
    """

    def __init__(self, delay: float = 0.0, loses: Callable[[bytes], bool] = lambda query: False) -> None:
        self.delay = delay
        self.loses = loses
        self.asked: list[tuple[int, int]] = []
        """Source port and id of each query."""
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.at: tuple[str, int] = self._sock.getsockname()
        self._replies: deque[tuple[float, bytes, Any]] = deque()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        while True:
            wait = max(0.0, self._replies[0][0] - monotonic()) if self._replies else 1.0
            if poll.poll(math.ceil(wait * 1000)):
                query, peer = self._sock.recvfrom(512)
                if not query:
                    return
                self._take(query, peer)
            while self._replies and self._replies[0][0] <= monotonic():
                self._sock.sendto(*self._replies.popleft()[1:])

    def _take(self, query: bytes, peer: Any) -> None:
        self.asked.append((peer[1], int.from_bytes(query[:2])))
        if not self.loses(query):
            question = query[12 : query.index(b"\0", 12) + 5]
            reply = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + rr(b"\xc0\x0c", "A", "192.0.2.1")
            self._replies.append((monotonic() + self.delay, reply, peer))

    def close(self) -> None:
        """Stop."""
        self._sock.sendto(b"", self.at)
        self._thread.join()
        self._sock.close()


RESOLVERS = {"dnspython": dnspython.Resolver, "ares": ares.Resolver}


class Make:
    """Makes resolvers that read files of the test's own, and closes them."""

    def __init__(self, cls: Any, folder: Path) -> None:
        self.cls = cls
        self.resolv_conf = folder / "resolv.conf"
        self.hosts = folder / "hosts"
        self.nsswitch = folder / "nsswitch.conf"
        self.gai_conf = folder / "gai.conf"
        self.resolv_conf.write_text("")
        self.hosts.write_text("")
        self.made: list[Any] = []

    def __call__(self, *servers: Any, **options: Any) -> Any:
        at = [getattr(server, "at", server) for server in servers]
        options.setdefault("cache", None)
        options.setdefault("reread_seconds", 0.0)
        paths = {name: str(getattr(self, name)) for name in ("resolv_conf", "hosts", "nsswitch", "gai_conf")}
        resolver = self.cls(at or None, **paths, **options)
        self.made.append(resolver)
        return resolver

    def close(self) -> None:
        for resolver in self.made:
            resolver.close()


@pytest.fixture
def nameservers(hub: hubbub.Hub) -> Iterator[Callable[[], NameServer]]:
    """Makes name servers."""
    made: list[NameServer] = []

    def make(address: str = "127.0.0.1") -> NameServer:
        made.append(NameServer(address))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def nameserver(nameservers: Callable[[], NameServer]) -> NameServer:
    """A name server."""
    return nameservers()


@pytest.fixture
def plainserver() -> Iterator[Callable[..., PlainServer]]:
    """Makes servers in threads of their own."""
    made: list[PlainServer] = []

    def make(**options: Any) -> PlainServer:
        made.append(PlainServer(**options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(params=RESOLVERS)
def make(request: pytest.FixtureRequest, hub: hubbub.Hub, tmp_path: Path) -> Iterator[Make]:
    """Makes resolvers, of each kind in turn."""
    maker = Make(RESOLVERS[request.param], tmp_path)
    yield maker
    maker.close()


@pytest.fixture
def dns() -> Any:
    """The names of this module that scripts are made of."""
    import types

    return types.SimpleNamespace(
        rr=rr,
        soa=soa,
        wire_name=wire_name,
        NXDOMAIN=NXDOMAIN,
        SERVFAIL=SERVFAIL,
        REFUSED=REFUSED,
        NOTIMP=NOTIMP,
        FORMERR=FORMERR,
        **TYPES,
    )
