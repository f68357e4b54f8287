"""Compares servers in turn, each a process of its own: CPU time per request, response times, memory per connection.

Every round runs each contestant once, so that a machine that slows down or speeds up does so for all of them; the
medians of the rounds are shown. The client is this process. CPU time is the server's, user and system. The kernel's
part of it (which is sampled, so not exact) is what the system calls cost, whatever makes them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import frames

SERVE = Path(__file__).with_name("serve.py")
LIST_LOOPS = "from importlib.metadata import entry_points as e; print(*sorted(e(group='hubbub.loops').names))"
REQUESTS = 40_000
PACED = 10_000
"""Requests by which the rate of a server is found."""
PLAIN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
# What a browser sends, and a cookie of its own in every request, so that no two are the same.
BROWSER = (
    b"GET /hello?who=world HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nCookie: session=%016d\r\n\r\n"
)
# The same with another target and Referer in every request, so that nothing that was seen before helps a server.
REALISTIC = (
    b"GET /?item=%d HTTP/1.1\r\nHost: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) "
    b"Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
    b"Referer: http://example.org/page/%d\r\nCookie: session=%016d; theme=dark\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
)
UPLOAD = (
    b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n"
    + b"x" * 1024
)
BODY = b"Hello World!"
LAST = b"\r\n0\r\n\r\n"
MESSAGE = b"x" * 63 + b"!"
IDLE = 10_000
WATCHERS = 1_000
BROADCASTS = 50


_ASGI = {"uvicorn", "granian"}
_IN_C = {"bjoern", "fastwsgi"}
"""Servers that answer one request after the other, whatever it waits for."""


class Result(NamedTuple):
    """Of one run, or the medians of several."""

    cpu: float
    """Microseconds per request."""
    p50: float
    """Of the response times, in milliseconds."""
    p99: float
    kernel: float = 0.0
    """Of the microseconds per request, those in system calls."""
    memory: float = 0.0
    """KiB per idle connection."""
    p999: float = 0.0
    """As ``p50``; of programs whose clients come at a rate of their own."""


@dataclass(frozen=True)
class Contestant:
    """A library, in the environment of one interpreter."""

    server: str
    python: str
    loop: str = ""

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.server} {self.loop}".strip()

    @contextmanager
    def running(self, program: str, *options: str) -> Iterator[Server]:
        """The server, until the block ends."""
        settings = {"HUBBUB_LOOP": self.loop} if self.loop else {}
        process = subprocess.Popen(
            [self.python, str(SERVE), self.server, program, *options],
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield Server(process, self.server in _IN_C)
        finally:
            if self.server in _IN_C:
                process.kill()  # while they wait they keep the GIL, so that no thread of theirs sees the end of input
            process.communicate(timeout=30)


class Server:
    """A running contestant."""

    def __init__(self, process: subprocess.Popen[str], deaf: bool) -> None:
        self._process = process
        self._deaf = deaf
        self.port = int(self._read())
        self._await_listener()

    def _await_listener(self) -> None:
        """Some say their port before they listen."""
        for _ in range(500):
            with socket.socket() as sock:
                if not sock.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"nothing listens on port {self.port}")

    def _read(self) -> Any:
        assert self._process.stdout is not None  # it was asked for
        return json.loads(self._process.stdout.readline())

    def usage(self) -> dict[str, float]:
        """What it has used so far: ``cpu`` and ``kernel`` in seconds, ``memory`` in bytes.

        Of a server that cannot be asked it is the kernel's count, in hundredths of a second.
        """
        if self._deaf:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            user, kernel = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
            return {"cpu": user + kernel, "kernel": kernel, "memory": int(fields[21]) * os.sysconf("SC_PAGE_SIZE")}
        assert self._process.stdin is not None  # it was asked for
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        used: dict[str, float] = self._read()
        return used


def connect(port: int) -> socket.socket:
    """A client's connection."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def converse_anew(port: int, connections: int, count: int, request: Callable[[int], bytes], end: bytes) -> list[float]:
    """:func:`converse` on so many connections that are made for it."""
    made = [connect(port) for _ in range(connections)]
    try:
        return converse(made, count, request, end)
    finally:
        for sock in made:
            sock.close()


def converse(made: list[socket.socket], count: int, request: Callable[[int], bytes], end: bytes) -> list[float]:
    """Keep one request under way on every connection until ``count`` were answered; the response times, in seconds.

    :param end: with what every answer ends.
    """
    socks = {sock.fileno(): sock for sock in made}
    poller = select.epoll()
    began: dict[int, float] = {}
    times: list[float] = []
    now = time.perf_counter
    sent = 0
    for fd, sock in socks.items():
        poller.register(fd, select.EPOLLIN)
        began[fd] = now()
        sock.sendall(request(sent))
        sent += 1
    while len(times) < count:
        for fd, _ in poller.poll(30):
            sock = socks[fd]
            answer = sock.recv(65536)
            while not answer.endswith(end):  # a server that sends head and body apart
                more = sock.recv(65536)
                if not more:
                    raise RuntimeError(f"the server closed the connection after {answer!r}")
                answer += more
            times.append(now() - began[fd])
            if sent < count:
                began[fd] = now()
                sock.sendall(request(sent))
                sent += 1
    poller.close()
    return times


def loaded(
    contestant: Contestant, program: str, connections: int, request: Callable[[int], bytes], end: bytes
) -> Result:
    """One run under load, after a tenth of it to warm up."""
    with contestant.running(program) as server:
        converse_anew(server.port, connections, REQUESTS // 10, request, end)
        return measured(server, REQUESTS, lambda: converse_anew(server.port, connections, REQUESTS, request, end))


def measured(server: Server, count: int, work: Callable[[], list[float]]) -> Result:
    """What ``work()``, which returns times in seconds, costs the server for each of ``count``."""
    before = server.usage()
    times = work()
    after = server.usage()
    cuts = statistics.quantiles(times, n=100)
    cpu, kernel = ((after[kind] - before[kind]) / count * 1e6 for kind in ("cpu", "kernel"))
    return Result(cpu, cuts[49] * 1e3, cuts[98] * 1e3, kernel)


def arrive(port: int, rate: float, seconds: float) -> list[float]:
    """Ask ``rate`` times a second, whether earlier requests were answered or not; the response times, in seconds.

    The time of a request runs from when it was due: what waits for a connection waits for the server.
    """
    idle = [connect(port) for _ in range(64)]
    socks = {sock.fileno(): sock for sock in idle}
    poller = select.epoll()
    for fd in socks:
        poller.register(fd, select.EPOLLIN)
    due: dict[int, float] = {}
    times: list[float] = []
    now = time.perf_counter
    start = now()
    count, sent = int(rate * seconds), 0
    while len(times) < count:
        while sent < count and idle and start + sent / rate <= now():
            sock = idle.pop()
            due[sock.fileno()] = start + sent / rate
            sock.sendall(REALISTIC % (sent, sent, sent))
            sent += 1
        wait = start + sent / rate - now() if sent < count and idle else 1.0
        for fd, _ in poller.poll(max(wait, 0.0)):
            answer = socks[fd].recv(65536)
            if not answer:
                raise RuntimeError("the server closed the connection")
            if answer.endswith(BODY):  # and not the head by itself
                times.append(now() - due.pop(fd))
                idle.append(socks[fd])
    poller.close()
    for sock in socks.values():
        sock.close()
    return times


def paced(contestant: Contestant, program: str, *options: str) -> Result:
    """Response times at 70 % of the rate that the server reaches with this client."""
    with contestant.running(program, *options) as server:
        began = time.perf_counter()
        converse_anew(server.port, 64, PACED, lambda number: REALISTIC % (number, number, number), BODY)
        rate = PACED / (time.perf_counter() - began) * 0.7
        before = server.usage()
        times = arrive(server.port, rate, 2.0)
        after = server.usage()
    cuts = statistics.quantiles(times, n=1000)
    cpu, kernel = ((after[kind] - before[kind]) / len(times) * 1e6 for kind in ("cpu", "kernel"))
    return Result(cpu, cuts[499] * 1e3, cuts[989] * 1e3, kernel, p999=cuts[998] * 1e3)


def latency(contestant: Contestant) -> Result:
    """Realistic requests at 70 % of the rate that the server reaches with this client."""
    return paced(contestant, "hello")


def latency_busy(contestant: Contestant) -> Result:
    """The same beside a greenlet, or a task, that computes all the time, a millisecond at a time."""
    return paced(contestant, "hello", "--busy")


def latency_slow(contestant: Contestant) -> Result:
    """The same while one request in a hundred waits for 50 ms."""
    return paced(contestant, "slow")


def hello(contestant: Contestant) -> Result:
    """A request without any field but Host."""
    return loaded(contestant, "hello", 64, lambda number: PLAIN, BODY)


def browser(contestant: Contestant) -> Result:
    """A request as browsers send it."""
    return loaded(contestant, "hello", 64, lambda number: BROWSER % number, BODY)


def realistic(contestant: Contestant) -> Result:
    """A request as browsers send it, with another target, Referer and cookie each time."""
    return loaded(contestant, "hello", 64, lambda number: REALISTIC % (number, number, number), BODY)


def crowd(contestant: Contestant) -> Result:
    """The same on 1,000 connections."""
    return loaded(contestant, "hello", 1000, lambda number: REALISTIC % (number, number, number), BODY)


def upload(contestant: Contestant) -> Result:
    """A POST of 1 KiB."""
    return loaded(contestant, "hello", 64, lambda number: UPLOAD, BODY)


def pieces(contestant: Contestant) -> Result:
    """A response in ten small pieces, each of which leaves when it is given."""
    return loaded(contestant, "pieces", 64, lambda number: PLAIN, LAST)


def asgi(contestant: Contestant) -> Result:
    """An ASGI application, without any field but Host."""
    return loaded(contestant, "asgi", 64, lambda number: PLAIN, BODY)


def asgi_browser(contestant: Contestant) -> Result:
    """The same, asked as browsers do."""
    return loaded(contestant, "asgi", 64, lambda number: BROWSER % number, BODY)


def echo(contestant: Contestant) -> Result:
    """64 bytes sent back by a StreamServer."""
    return loaded(contestant, "echo", 100, lambda number: MESSAGE, MESSAGE)


def idle(contestant: Contestant) -> Result:
    """Connections that have had an answer and stay."""
    with contestant.running("hello") as server:
        converse_anew(server.port, 100, 1000, lambda number: BROWSER % number, BODY)
        before = server.usage()
        kept = []
        began = time.perf_counter()
        for number in range(IDLE):
            sock = connect(server.port)
            sock.sendall(BROWSER % number)
            while not sock.recv(65536).endswith(BODY):
                pass
            kept.append(sock)
        seconds = time.perf_counter() - began
        after = server.usage()
        for sock in kept:
            sock.close()
    cpu, kernel = ((after[kind] - before[kind]) / IDLE * 1e6 for kind in ("cpu", "kernel"))
    each = seconds / IDLE * 1e3
    return Result(cpu, each, each, kernel, (after["memory"] - before["memory"]) / IDLE / 1024)


def ws_echo(contestant: Contestant) -> Result:
    """64 bytes of text sent back over a WebSocket."""
    with contestant.running("ws_echo") as server, frames.opened(server.port, 64) as socks:
        converse(socks, REQUESTS // 10, frames.sent, frames.MESSAGE)
        return measured(server, REQUESTS, lambda: converse(socks, REQUESTS, frames.sent, frames.MESSAGE))


def ws_broadcast(contestant: Contestant) -> Result:
    """64 bytes of text of one client for 1,000; CPU for each of them, times until all have it; memory of a client."""
    with contestant.running("ws_broadcast") as server:
        with frames.opened(server.port, 10) as socks:
            frames.broadcasts(socks, 100)
        before = server.usage()
        with frames.opened(server.port, WATCHERS) as socks:
            memory = (server.usage()["memory"] - before["memory"]) / WATCHERS / 1024
            frames.broadcasts(socks, 3)
            result = measured(server, BROADCASTS * WATCHERS, lambda: frames.broadcasts(socks, BROADCASTS))
    return result._replace(memory=memory)


PROGRAMS: dict[str, Callable[[Contestant], Result]] = {
    "hello": hello,
    "browser": browser,
    "realistic": realistic,
    "crowd": crowd,
    "upload": upload,
    "pieces": pieces,
    "asgi": asgi,
    "asgi_browser": asgi_browser,
    "latency": latency,
    "latency_busy": latency_busy,
    "latency_slow": latency_slow,
    "echo": echo,
    "idle": idle,
    "ws_echo": ws_echo,
    "ws_broadcast": ws_broadcast,
}
LACKING: dict[str, set[str]] = {
    "echo": _ASGI | _IN_C,
    "upload": _ASGI,
    "pieces": _ASGI | {"fastwsgi"},  # which has no answer to a generator
    "asgi": {"gevent"} | _IN_C,
    "asgi_browser": {"gevent"} | _IN_C,
    "latency_busy": {"granian"} | _IN_C,
    "latency_slow": _IN_C,
    "idle": _IN_C | {"granian"},
    "ws_echo": {"granian"} | _IN_C,
    "ws_broadcast": {"granian"} | _IN_C,
}
"""Which libraries have no such server."""


RIVALS = ("gevent", "uvicorn")
PEERS = ("bjoern", "fastwsgi", "granian")
"""Those that not every machine can have."""


def contestants(arguments: argparse.Namespace) -> list[Contestant]:
    """Hubbub on each of its loops, then the others."""
    listed = subprocess.run([arguments.hubbub, "-c", LIST_LOOPS], stdout=subprocess.PIPE, text=True, check=True)
    found = [Contestant("hubbub", arguments.hubbub, loop) for loop in arguments.loop or listed.stdout.split()]
    rivals = ((library, getattr(arguments, library)) for library in (*RIVALS, *PEERS))
    return [*found, *(Contestant(library, python) for library, python in rivals if python)]


def compare(program: str, found: list[Contestant], rounds: int) -> None:
    """Run one program and print its table."""
    fit = [one for one in found if one.server not in LACKING.get(program, ())]
    results: dict[Contestant, list[Result]] = {one: [] for one in fit}
    for _ in range(rounds):
        for contestant, seen in results.items():
            seen.append(PROGRAMS[program](contestant))
    print(f"\n{program}: {PROGRAMS[program].__doc__}")
    print(
        f"{'':16}{'CPU us':>9}{'kernel':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9':>9}{'KiB each':>10}"
        "   CPU, as a part of the others'"
    )
    medians = {one: Result(*map(statistics.median, zip(*seen, strict=True))) for one, seen in results.items()}
    others = {one: result for one, result in medians.items() if one.server != "hubbub"}
    for contestant, result in medians.items():
        parts = [f"{result.cpu / other.cpu:.2f} {one.name}" for one, other in others.items() if one != contestant]
        memory = f"{result.memory:.1f}" if result.memory else ""
        p999 = f"{result.p999:.2f}" if result.p999 else ""
        print(
            f"{contestant.name:16}{result.cpu:>9.1f}{result.kernel:>9.1f}{result.p50:>9.2f}{result.p99:>9.2f}"
            f"{p999:>9}{memory:>10}   " + ("  ".join(parts) if contestant.server == "hubbub" else ""),
            flush=True,
        )


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    for library in ("hubbub", *RIVALS, *PEERS):
        wanted = library not in PEERS
        parser.add_argument(f"--{library}", required=wanted, help=f"the Python of an environment with {library}")
    parser.add_argument("--loop", action="append", help="of hubbub's; may be given several times (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contestant (default: 5)")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.programs) - set(PROGRAMS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it
    for program in arguments.programs or PROGRAMS:
        compare(program, contestants(arguments), arguments.rounds)


if __name__ == "__main__":
    main()
