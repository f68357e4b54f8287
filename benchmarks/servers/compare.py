"""Compares servers in turn, each a process of its own: CPU time per request, response times, memory per connection.

Every round runs each contestant once, so that a machine that slows down or speeds up does so for all of them. Shown are
the least CPU time of the rounds, which others on the machine disturb least, and medians of all else. The client is this
process. CPU time is the server's, user and system. The kernel's
part of it (which is sampled, so not exact) is what the system calls cost, whatever makes them.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import frames
from clients import (
    BODY,
    LAST,
    MESSAGE,
    arrive,
    browser,
    connect,
    connected,
    converse,
    message,
    plain,
    realistic,
    upload,
)
from contestants import IN_C, WITH_WORKER, Contestant, Server

LIST_LOOPS = "from importlib.metadata import entry_points as e; print(*sorted(e(group='hubbub.loops').names))"
WATCHERS = 1_000
BROADCASTS = 50
MOST_BUSY = 0.8
"""The part of the time for which a client may be busy whose response times are to be the server's."""


@dataclass
class Sizes:
    """How much is measured."""

    requests: int = 40_000
    paced: int = 10_000
    """Requests by which the rate of a server is found."""
    seconds: float = 2.0
    """For which requests arrive at a rate of their own."""
    idle: int = 10_000


sizes = Sizes()
QUICK = Sizes(4_000, 2_000, 0.5, 1_000)


_ASGI = {"uvicorn", "granian"}


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


Request = Callable[[int], bytes]


def loaded(contestant: Contestant, program: str, connections: int, request: Request, end: bytes) -> Result:
    """One run under load, after a tenth of it to warm up. Making the connections is not measured."""
    with contestant.running(program) as server, connected(server.port, connections) as made:
        return warmed(server, made, request, end)


def warmed(server: Server, made: list[socket.socket], request: Request, end: bytes) -> Result:
    """What a request costs on connections that are there."""
    count = max(sizes.requests, 2 * len(made))
    converse(made, max(count // 10, len(made)), request, end)
    return measured(server, count, lambda: converse(made, count, request, end))


def measured(server: Server, count: int, work: Callable[[], list[float]]) -> Result:
    """What ``work()``, which returns times in seconds, costs the server for each of ``count``."""
    before = server.usage()
    times = work()
    after = server.usage()
    cuts = statistics.quantiles(times, n=100)
    cpu, kernel = ((after[kind] - before[kind]) / count * 1e6 for kind in ("cpu", "kernel"))
    return Result(cpu, cuts[49] * 1e3, cuts[98] * 1e3, kernel)


def paced(contestant: Contestant, program: str, *options: str) -> Result:
    """Response times at 70 % of the rate that the server reaches with this client.

    A client that is busy nearly all the time measures itself: then it asks less often, until it is not.
    """
    with contestant.running(program, *options) as server:
        with connected(server.port, 64) as made:
            began = time.perf_counter()
            converse(made, sizes.paced, realistic, BODY)
            rate = sizes.paced / (time.perf_counter() - began) * 0.7
        busy = 1.0
        while busy > MOST_BUSY:
            before, began, spent = server.usage(), time.perf_counter(), time.process_time()
            times = arrive(server.port, rate, sizes.seconds)
            busy = (time.process_time() - spent) / (time.perf_counter() - began)
            after = server.usage()
            rate *= 0.8
    cuts = statistics.quantiles(times, n=1000)
    cpu, kernel = ((after[kind] - before[kind]) / len(times) * 1e6 for kind in ("cpu", "kernel"))
    return Result(cpu, cuts[499] * 1e3, cuts[989] * 1e3, kernel, p999=cuts[998] * 1e3)


def latency(contestant: Contestant) -> Result:
    """Realistic requests at 70 % of the rate that the server reaches, or as many as this client can ask."""
    return paced(contestant, "hello")


def latency_busy(contestant: Contestant) -> Result:
    """The same beside a greenlet, or a task, that computes all the time, a millisecond at a time."""
    return paced(contestant, "hello", "--busy")


def latency_slow(contestant: Contestant) -> Result:
    """The same while one request in a hundred waits for 50 ms."""
    return paced(contestant, "slow")


def on(program: str, connections: int, request: Request, end: bytes = BODY) -> Callable[[Contestant], Result]:
    """A program under load."""
    return lambda contestant: loaded(contestant, program, connections, request, end)


def https(contestant: Contestant) -> Result:
    """The same over TLS 1.3, handshakes not counted."""
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("certificate.pem", "key.pem")]
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
        subprocess.run([*command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
        with contestant.running("hello", "--tls", folder) as server, connected(server.port, 64, tls=True) as made:
            return warmed(server, made, plain, BODY)


def idle(contestant: Contestant) -> Result:
    """Connections that have had an answer and stay."""
    with contestant.running("hello") as server:
        with connected(server.port, 100) as made:
            converse(made, 1000, browser, BODY)
        before = server.usage()
        kept = []
        began = time.perf_counter()
        for number in range(sizes.idle):
            sock = connect(server.port)
            sock.sendall(browser(number))
            while not sock.recv(65536).endswith(BODY):
                pass
            kept.append(sock)
        seconds = time.perf_counter() - began
        after = server.usage()
        for sock in kept:
            sock.close()
    cpu, kernel = ((after[kind] - before[kind]) / sizes.idle * 1e6 for kind in ("cpu", "kernel"))
    each = seconds / sizes.idle * 1e3
    return Result(cpu, each, each, kernel, (after["memory"] - before["memory"]) / sizes.idle / 1024)


def ws_echo(contestant: Contestant) -> Result:
    """64 bytes of text sent back over a WebSocket."""
    with contestant.running("ws_echo") as server, frames.opened(server.port, 64) as socks:
        return warmed(server, socks, frames.sent, frames.MESSAGE)


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


PROGRAMS: dict[str, tuple[str, Callable[[Contestant], Result]]] = {
    "waits": ("An application that waits for 10 ms, 512 connections.", on("waits", 512, realistic)),
    "hello": ("A request without any field but Host, 64 connections.", on("hello", 64, plain)),
    "browser": ("A request as browsers send it.", on("hello", 64, browser)),
    "realistic": ("The same with another target, Referer and cookie each time.", on("hello", 64, realistic)),
    "realistic_1000": ("The same on 1,000 connections.", on("hello", 1000, realistic)),
    "realistic_8000": ("The same on 8,000 connections.", on("hello", 8000, realistic)),
    "upload": ("A POST of 1 KiB, 64 connections.", on("hello", 64, upload)),
    "pieces": ("A response in ten small pieces.", on("pieces", 64, plain, LAST)),
    "https": ("hello over TLS 1.3, handshakes not counted.", https),
    "asgi": ("An ASGI application, without any field but Host.", on("asgi", 64, plain)),
    "asgi_browser": ("The same, asked as browsers do.", on("asgi", 64, browser)),
    "latency": (
        "Realistic requests at 70 % of the rate that the server reaches, or as many as this client can ask.",
        latency,
    ),
    "latency_busy": ("The same beside a greenlet, or a task, that computes a millisecond at a time.", latency_busy),
    "latency_slow": ("Realistic requests at 70 %, while one in a hundred waits for 50 ms.", latency_slow),
    "echo": ("64 bytes sent back by a StreamServer, 100 connections.", on("echo", 100, message, MESSAGE)),
    "idle": ("Connections that have had an answer and stay.", idle),
    "ws_echo": ("64 bytes of text sent back over a WebSocket.", ws_echo),
    "ws_broadcast": (
        "64 bytes of text of one client for 1,000; CPU for each of them, times until all have it; memory of a client.",
        ws_broadcast,
    ),
}
LACKING: dict[str, set[str]] = {
    "waits": IN_C | {"gunicorn_gthread"},
    "upload": _ASGI,
    "pieces": {"fastwsgi"},  # which has no answer to a generator
    "https": IN_C | {"granian"} | WITH_WORKER,
    "asgi": {"gevent"} | IN_C | WITH_WORKER,
    "asgi_browser": {"gevent"} | IN_C | WITH_WORKER,
    "latency_busy": {"granian"} | IN_C | WITH_WORKER,
    "latency_slow": IN_C | WITH_WORKER,
    "echo": _ASGI | IN_C | WITH_WORKER,
    "idle": IN_C | {"granian"} | WITH_WORKER,
    "ws_echo": {"granian"} | IN_C | WITH_WORKER,
    "ws_broadcast": {"granian"} | IN_C | WITH_WORKER,
}
"""Which servers have no such program."""
RIVALS = ("gevent", "uvicorn")
PEERS = ("bjoern", "fastwsgi", "granian", "gunicorn")
"""Those that not every machine can have."""
_SERVERS = {"gunicorn": ("gunicorn_gevent", "gunicorn_gthread")}
"""Of a peer, if they are not one of its own name."""


def contestants(arguments: argparse.Namespace) -> list[Contestant]:
    """Hubbub on each of its loops, then the others."""
    listed = subprocess.run([arguments.hubbub, "-c", LIST_LOOPS], stdout=subprocess.PIPE, text=True, check=True)
    found = [Contestant("hubbub", arguments.hubbub, loop) for loop in arguments.loop or listed.stdout.split()]
    for library in (*RIVALS, *PEERS):
        if python := getattr(arguments, library):
            found += [Contestant(server, python) for server in _SERVERS.get(library, (library,))]
    return found


def compare(program: str, found: list[Contestant], rounds: int) -> dict[str, Result]:
    """Run one program and print its table: the least CPU time of the rounds, and the medians of all else."""
    what, run = PROGRAMS[program]
    fit = [one for one in found if one.server not in LACKING.get(program, ())]
    results: dict[Contestant, list[Result]] = {one: [] for one in fit}
    for _ in range(rounds):
        for contestant, seen in list(results.items()):
            try:
                seen.append(run(contestant))
            except (OSError, RuntimeError, ValueError) as error:
                print(f"{contestant.name} cannot be measured: {error}")
                del results[contestant]
    print(f"\n{program}: {what}")
    print(
        f"{'':18}{'CPU us':>9}{'kernel':>9}{'p50 ms':>9}{'p99 ms':>9}{'p99.9':>9}{'KiB each':>10}"
        "   CPU, others' by hubbub's"
    )
    summed = {one: summary(seen) for one, seen in results.items()}
    others = {one: result for one, result in summed.items() if one.server != "hubbub"}
    for contestant, result in summed.items():
        parts = [f"{other.cpu / result.cpu:.2f} {one.name}" for one, other in others.items()]
        memory = f"{result.memory:.1f}" if result.memory else ""
        p999 = f"{result.p999:.2f}" if result.p999 else ""
        print(
            f"{contestant.name:18}{result.cpu:>9.1f}{result.kernel:>9.1f}{result.p50:>9.2f}{result.p99:>9.2f}"
            f"{p999:>9}{memory:>10}   " + ("  ".join(parts) if contestant.server == "hubbub" else ""),
            flush=True,
        )
    return {one.name: result for one, result in summed.items()}


def summary(seen: list[Result]) -> Result:
    """The least CPU time, with the kernel's part of that run, and the medians of all else."""
    least = min(seen, key=lambda result: result.cpu)
    medians = Result(*map(statistics.median, zip(*seen, strict=True)))
    return medians._replace(cpu=least.cpu, kernel=least.kernel)


def main() -> None:
    """Run what the arguments ask for."""
    global sizes
    parser = argparse.ArgumentParser(description=__doc__)
    for library in ("hubbub", *RIVALS, *PEERS):
        parser.add_argument(
            f"--{library}", required=library == "hubbub", help=f"the Python of an environment with {library}"
        )
    parser.add_argument("--loop", action="append", help="of hubbub's; may be given several times (default: all)")
    parser.add_argument("--rounds", type=int, help="runs of each contestant (default: 5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests, one round, on libev")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(PROGRAMS)} (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.programs) - set(PROGRAMS):
        parser.error(f"no such program: {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    if arguments.quick:
        sizes = QUICK
        arguments.loop = arguments.loop or ["libev"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the servers inherit it
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    found = contestants(arguments)
    figures = {program: compare(program, found, rounds) for program in arguments.programs or PROGRAMS}
    if arguments.json:
        plain_data = {name: {one: result._asdict() for one, result in row.items()} for name, row in figures.items()}
        arguments.json.write_text(json.dumps(plain_data, indent=1) + "\n")


if __name__ == "__main__":
    main()
