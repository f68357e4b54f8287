"""hubbub-serve under everything: load of HTTP/1.1, HTTP/2 and WebSocket, slow and rude clients, faults of the
application, reloads, upgrades in place, killed workers and rotated logs, with a supervisor and without. No request that
was sent in good faith may be lost, and nothing may grow.

Run by ``./do soak -- server``, or by itself: ``python soak/server.py --minutes 15``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import socket as plain
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hubbub
from hubbub.io import Socket
from support.speakers import Http2, WebSocket

APPLICATION = """
import os
import hubbub

FILE = __file__

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/websocket":
        websocket = environ["hubbub.websocket"]()
        for message in websocket:
            websocket.send(message)
        return []
    if path == "/raise":
        raise RuntimeError("on purpose")
    if path == "/exit":
        raise SystemExit(1)
    body = environ["wsgi.input"].read()
    if path == "/sleep":
        hubbub.sleep(0.02)
    if path == "/half":
        start_response("200 OK", [])
        return half()
    if path == "/stream":
        start_response("200 OK", [])
        return (b"x" * 1000 for _ in range(50))
    if path == "/file":
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(FILE, "rb"))
    if path == "/print":
        print("a line of the application's", flush=True)
    start_response("200 OK", [("Content-Length", str(len(body) + 2))])
    return [b"ok", body]

def half():
    yield b"half"
    raise RuntimeError("on purpose")
"""
LOAD = 24
"""Greenlets that make requests, at each server."""
WORKERS = 2
GRACE = 3.0
ATTEMPTS = 20
TOLERANCE = {"kilobytes": 6144, "descriptors": 12, "processes": 0}


class Failed(Exception):
    """A promise was broken."""


# Processes -----------------------------------------------------------------------------------------------------------


class Served:
    """A running ``hubbub-serve``."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with plain.create_server(("127.0.0.1", 0)) as listener:
            self.address = listener.getsockname()
        with plain.create_server(("127.0.0.1", 0)) as listener:
            self.status_port = listener.getsockname()[1]
        self.folder = folder
        folder.mkdir()
        (folder / "site_app.py").write_text(APPLICATION)
        self.log = folder / "log"
        command = [
            *(sys.executable, "-m", "hubbub_server", "site_app", "-b", ":".join(map(str, self.address))),
            *("--access-log", str(self.log), "--error-log", str(folder / "errors"), "--stop-seconds", "10"),
            *("--idle-seconds", "2", "--header-seconds", "2", "--body-seconds", "2", "--write-seconds", "2"),
            *("--http2", "--websocket-ping-seconds", "2", "--websocket-pong-seconds", "2"),
            *(("--status", f":{self.status_port}") if "-w" in arguments else ()),
            *arguments,
        ]
        self._noise = open(folder / "noise", "wb")  # noqa: SIM115  # closed with the server
        self.process = subprocess.Popen(command, cwd=folder, stdout=self._noise, stderr=self._noise)

    def wait(self) -> None:
        """Until it listens."""
        for _ in range(600):
            try:
                connected(self).close()
                return
            except ConnectionRefusedError:
                hubbub.sleep(0.1)
        raise Failed(f"{self.folder.name} does not listen")

    def close(self) -> int:
        """End it; its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()
            self._noise.close()

    def children(self) -> list[int]:
        """Its workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def status(self) -> Any:
        """What its supervisor says."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=20)) as connection:
            connection.request("GET", "/-/status")
            return json.loads(connection.getresponse().read())

    def has_settled(self) -> bool:
        """Whether all its processes are workers that serve, and none comes or goes."""
        try:
            workers = self.status()["workers"]
        except ConnectionError:  # an upgrade cut the answer
            return False
        serving = {worker["pid"] for worker in workers if worker["state"] == "serving"}
        return len(workers) == len(serving) == WORKERS and set(self.children()) == serving

    def rotate(self) -> None:
        """Move the logs away and have them opened anew; what was moved is thrown away."""
        for log in (self.log, self.folder / "errors"):
            if log.exists():
                log.replace(log.with_suffix(".1"))
        self.process.send_signal(signal.SIGUSR1)
        os.truncate(self.folder / "noise", 0)

    def census(self) -> dict[str, int]:
        """What the process that stays has: kilobytes, descriptors; and how many others there are."""
        pid = self.process.pid
        return {
            "kilobytes": int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "processes": len(self.children()),
        }


@contextmanager
def running(folder: Path) -> Iterator[tuple[Served, Served]]:
    """A single process, and a supervisor with two workers."""
    served = Served(folder / "alone"), Served(folder / "workers", "-w", str(WORKERS))
    try:
        yield served
        statuses = [one.close() for one in served]
        if statuses != [0, 0]:
            raise Failed(f"they ended with {statuses}")
    finally:
        for one in served:
            one.close()


# Clients -------------------------------------------------------------------------------------------------------------


def connected(server: Served) -> Any:
    """A connection. Nobody is to be refused."""
    sock = Socket(plain.AF_INET, plain.SOCK_STREAM)
    try:
        sock.settimeout(20)
        sock.connect(server.address)
    except BaseException:
        sock.close()
        raise
    return sock


def answer(sock: Any, end: bytes) -> bytes:
    """All that comes up to and with ``end``."""
    data = b""
    while not data.endswith(end):
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def honest(server: Served, chance: random.Random, killed: Callable[[], bool]) -> None:
    """A few requests on one connection, each of which must be answered."""
    with connected(server) as sock:
        for _ in range(chance.randrange(1, 6)):
            body = bytes([97 + chance.randrange(26)]) * chance.choice((0, 1, 5000))
            path = chance.choice((b"/", b"/sleep", b"/print"))
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path, len(body))
            try:
                sock.sendall(head + body)
                found = answer(sock, b"\r\n\r\nok" + body)
            except (BrokenPipeError, ConnectionResetError):
                found = b""
            if not found.startswith(b"HTTP/1.1 200 OK\r\n"):
                if not killed():
                    raise Failed(f"an honest request to {server.folder.name} got {found!r}")
                return
            if b"Connection: close" in found:
                return


def honest_http2(server: Served, chance: random.Random, killed: Callable[[], bool]) -> None:
    """The same over HTTP/2, several at a time; what the server says that it has not taken is not lost."""
    with connected(server) as sock:
        try:
            client = Http2(sock)
            for _ in range(chance.randrange(1, 4)):
                bodies = [bytes([97 + chance.randrange(26)]) * chance.choice((0, 1, 5000)) for _ in range(3)]
                answers = client.ask([(chance.choice(("/", "/sleep")), body) for body in bodies])
                for body, found in zip(bodies, answers, strict=True):
                    if found not in (None, (200, b"ok" + body)):
                        raise Failed(f"an honest request of HTTP/2 to {server.folder.name} got {found!r}")
                if client.leaves:
                    return
        except OSError as error:
            if not killed():
                raise Failed(f"an honest client of HTTP/2 of {server.folder.name}: {error!r}") from error


def honest_websocket(server: Served, chance: random.Random, killed: Callable[[], bool]) -> None:
    """Messages that come back, until the client closes, or the server does because it ends."""
    with connected(server) as sock:
        try:
            client = WebSocket(sock, "/websocket", chance.random() < 0.5)
            for _ in range(chance.randrange(1, 6)):
                message = chance.choice(("text", b"bytes", "é" * 3000, b"x" * 70000))
                found = client.ask(message)
                if found is None:
                    if client.close_code != 1001:
                        raise Failed(f"a WebSocket of {server.folder.name} was closed with {client.close_code}")
                    return
                if found != message:
                    raise Failed(f"a WebSocket of {server.folder.name} was sent {found!r}")
                hubbub.sleep(chance.choice((0, 0.01, 0.05)))
            client.close()
        except OSError as error:
            if not killed():
                raise Failed(f"an honest WebSocket of {server.folder.name}: {error!r}") from error


HONEST = [honest, honest, honest_http2, honest_websocket]


def read_to_the_end(path: bytes) -> Callable[[Served, random.Random], None]:
    """A client that reads whatever it gets."""

    def client(server: Served, chance: random.Random) -> None:
        with connected(server) as sock:
            sock.sendall(b"GET %b HTTP/1.%d\r\nHost: x\r\nConnection: close\r\n\r\n" % (path, chance.randrange(2)))
            while sock.recv(65536):
                pass

    return client


def leaves(server: Served, chance: random.Random) -> None:
    """Goes at any moment, sometimes with a reset."""
    data = b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    with connected(server) as sock:
        sock.sendall(data[: chance.randrange(len(data) + 1)])
        hubbub.sleep(chance.choice((0, 0.005)))
        if chance.random() < 0.5:
            sock.setsockopt(plain.SOL_SOCKET, plain.SO_LINGER, struct.pack("ii", 1, 0))


def stalls(server: Served, chance: random.Random) -> None:
    """Stops in the middle of a head or a body, until it is dropped."""
    with connected(server) as sock:
        sock.sendall(chance.choice((b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")))
        while sock.recv(1000):
            pass


def does_not_read(server: Served, chance: random.Random) -> None:
    """Asks for a lot and takes none of it."""
    with connected(server) as sock:
        sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        hubbub.sleep(3)


def nonsense(server: Served, chance: random.Random) -> None:
    """Speaks something else."""
    with connected(server) as sock:
        sock.sendall(chance.randbytes(chance.randrange(1, 3000)) + b"\r\n\r\n")
        while sock.recv(1000):
            pass


def nonsense_in_http2(server: Served, chance: random.Random) -> None:
    """Begins with the preface, and goes on with something else, or with nothing."""
    with connected(server) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        sock.sendall(chance.choice((b"", chance.randbytes(chance.randrange(1, 500)))))
        while sock.recv(1000):
            pass


def takes_requests_back(server: Served, chance: random.Random) -> None:
    """CVE-2023-44487."""
    with connected(server) as sock:
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
        head = b"\x82\x86\x84\x41\x01x"  # GET, http, /, :authority
        for number in range(1, 2 * chance.randrange(2, 400), 2):
            stream = number.to_bytes(4, "big")
            data += len(head).to_bytes(3, "big") + b"\x01\x05" + stream + head
            data += b"\x00\x00\x04\x03\x00" + stream + b"\x00\x00\x00\x08"
        sock.sendall(data)
        while sock.recv(1000):
            pass


def opens_websocket(sock: Any) -> None:
    """By the bytes, and without looking."""
    sock.sendall(
        b"GET /websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )


def nonsense_in_websocket(server: Served, chance: random.Random) -> None:
    """Sends what are no frames, or the beginning of one."""
    with connected(server) as sock:
        opens_websocket(sock)
        sock.sendall(chance.choice((b"\x81", b"\x82\xfe\x10\x00abcd", chance.randbytes(chance.randrange(1, 500)))))
        while sock.recv(1000):
            pass


def leaves_websocket(server: Served, chance: random.Random) -> None:
    """Opens one, sends a lot that is to come back, reads nothing, and goes."""
    with connected(server) as sock:
        opens_websocket(sock)
        sock.sendall((b"\x82\xfe\x40\x00abcd" + bytes(16384)) * chance.randrange(1, 20))
        hubbub.sleep(chance.choice((0, 0.01)))


RUDE: list[Callable[[Served, random.Random], None]] = [
    *(read_to_the_end(path) for path in (b"/raise", b"/exit", b"/half", b"/stream", b"/file", b"/sleep")),
    *(leaves, leaves, stalls, does_not_read, nonsense),
    *(nonsense_in_http2, takes_requests_back, nonsense_in_websocket, leaves_websocket),
]


# The soak ------------------------------------------------------------------------------------------------------------


class Soak:
    """Load on two servers, what happens to them meanwhile, and what they have."""

    def __init__(self, served: tuple[Served, Served], seed: int) -> None:
        self.served = served
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.killed_at = -GRACE
        self.counts: list[dict[str, dict[str, int]]] = []
        self.requests = 0
        """What the status has counted."""

    def client(self, server: Served, chance: random.Random, until: float) -> None:
        """One of the greenlets that make requests."""
        while time.monotonic() < until and not self.failures:
            rude = chance.choice(RUDE) if chance.random() < 0.3 else None
            kind = chance.choice(HONEST)
            try:
                if rude is None:
                    kind(server, chance, self.just_killed)
                else:
                    rude(server, chance)
            except Failed as error:
                self.failures.append(str(error))
            except OSError as error:
                if rude is None and not self.just_killed():
                    self.failures.append(f"an honest client of {server.folder.name}: {error!r}")
            except Exception as error:
                self.failures.append(f"{(rude or kind).__name__} of {server.folder.name} failed: {error!r:.300}")
                raise
            self.done[kind.__name__ if rude is None else "rude"] += 1
            hubbub.sleep(chance.random() / 50)

    def just_killed(self) -> bool:
        """Whether a worker was killed just now, with the requests that it had."""
        return time.monotonic() < self.killed_at + GRACE

    def event(self) -> None:
        """Something happens to a server."""
        alone, workers = self.served
        what = self.chance.choice(("reload", "upgrade", "kill", "rotate", "storm", "resize"))
        self.done[what] += 1
        if what == "rotate":
            alone.rotate()
            workers.rotate()
        elif what == "kill":
            self.killed_at = time.monotonic()
            os.kill(self.chance.choice(workers.children()), signal.SIGKILL)
        elif what == "upgrade":
            workers.process.send_signal(signal.SIGUSR2)
        elif what == "resize":
            workers.process.send_signal(signal.SIGTTIN)
            hubbub.sleep(1)
            workers.process.send_signal(signal.SIGTTOU)
        else:
            for _ in range(20 if what == "storm" else 1):
                workers.process.send_signal(signal.SIGHUP)
                hubbub.sleep(0.01)

    def run(self, seconds: float) -> None:
        """All of it."""
        began = time.monotonic()
        until = began + seconds
        clients = [
            hubbub.spawn(self.client, server, random.Random(self.chance.random()), until)
            for server in self.served
            for _ in range(LOAD)
        ]
        counted = began
        while time.monotonic() < until and not self.failures:
            hubbub.sleep(min(6.0, seconds / 60))
            self.event()
            if time.monotonic() > counted + seconds / 12:
                counted = time.monotonic()
                self.count(counted - began)
        hubbub.joinall(clients, timeout=60)
        hubbub.sleep(GRACE)

    def count(self, seconds: float) -> None:
        """Once the workers have settled."""
        for _ in range(ATTEMPTS):
            if self.served[1].has_settled():
                break
            hubbub.sleep(1)
        found = {server.folder.name: server.census() for server in self.served}
        self.counts.append(found)
        requests = self.served[1].status()["total"]["requests"]
        if requests < self.requests:
            self.failures.append(f"the status has {requests} requests, and had {self.requests} before")
        self.requests = requests
        print(f"{seconds:7.1f} s  {found}", flush=True)

    @property
    def is_long_enough(self) -> bool:
        """Whether there are counts enough to tell what grows."""
        return len(self.counts) >= 6

    def problems(self) -> list[str]:
        """What was lost, and what has grown since a third of the time."""
        found = self.failures[:5]
        if not self.is_long_enough:
            return found
        third = len(self.counts) // 3
        for name in self.counts[0]:
            for what, tolerance in TOLERANCE.items():
                most = max(count[name][what] for count in self.counts[third : 2 * third])
                least = min(count[name][what] for count in self.counts[2 * third :])
                if least > most + tolerance:
                    found.append(f"{what} of {name} grow: {most} at most after the warm-up, {least} at the end")
        for server in self.served:
            noise = (server.folder / "noise").read_text(errors="replace")
            if "Traceback" in noise:
                found.append(f"{server.folder.name} says:\n{noise[-2000:]}")
        return found


def main() -> None:
    """Run as the arguments say; exits with 1 if something was lost or grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", help="the loop the servers run on; default: the first that is installed")
    options = parser.parse_args()
    if options.loop:
        os.environ["HUBBUB_LOOP"] = options.loop  # the servers inherit it
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as served:
        soak = Soak(served, options.seed)
        for server in served:
            server.wait()
        soak.run(options.minutes * 60)
        problems = soak.problems()
        print(dict(soak.done))
        for problem in problems:
            print(problem)
    fine = "flat" if soak.is_long_enough else "too short to tell what grows, but nothing was lost"
    print("FAILED" if problems else fine)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
