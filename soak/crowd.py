"""hubbub-serve with a crowd: thousands of connections, each with a request under way most of the time, while workers
are reloaded and killed, the program is upgraded in place, logs are rotated and the certificate is changed. No
connection may be refused, and no request be cut but those of a killed worker.

The clients are several processes, as one may not have descriptors for all. A client looks whether the server has closed
its connection before it sends a request on it, as HTTP's clients do (RFC 9112, 9.3.1), because it may be late itself:
the machine has more to do than it can. What was sent on an open connection must be answered.

Run by ``./do soak -- crowd``, or by itself: ``python soak/crowd.py --connections 20000 --minutes 2``.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import resource
import signal
import socket as plain
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hubbub
import trustme
from hubbub.io import Socket

APPLICATION = """
import hubbub

def application(environ, start_response):
    hubbub.sleep(float(environ["PATH_INFO"][1:]))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
REQUEST = b"GET /%.2f HTTP/1.1\r\nHost: localhost\r\n\r\n"
EVENTS = ("upgrade", "reload", "kill", "rotate", "certificate")
GRACE = 3.0
"""Seconds after a worker was killed in which clients that are not late may learn that their requests were cut."""
BUSY = 0.9
"""The part of the time in which a connection has a request under way."""
MOST = 10_000
"""Connections of a process of clients."""
WAIT = 90.0
"""Seconds that a client waits for a connection, or an answer."""
_recv = Socket.__bases__[0].recv  # type: ignore[attr-defined]  # of the kernel: it is told not to wait


class Board:
    """Numbers that all processes see.

    :param path: a file, made if it is not there.
    :param processes: of clients.
    """

    def __init__(self, path: Path, processes: int) -> None:
        with path.open("a+b") as file:
            file.truncate(8 * (2 + 3 * processes))
            self._numbers = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    @property
    def killed(self) -> float:
        """When a worker was killed last, as :func:`time.monotonic` has it; 0 before the first."""
        return self._numbers[0]

    @killed.setter
    def killed(self, when: float) -> None:
        self._numbers[0] = when

    @property
    def failures(self) -> float:
        """How many there are."""
        return self._numbers[1]

    @failures.setter
    def failures(self, count: float) -> None:
        self._numbers[1] = count

    def tell(self, process: int, connected: float, late: float) -> None:
        """A process has begun; how many connections it has, and how late it was at most, in seconds."""
        place = 2 + 3 * process
        self._numbers[place], self._numbers[place + 1], self._numbers[place + 2] = 1.0, connected, late

    @property
    def all_have_begun(self) -> bool:
        """Whether all processes have."""
        return all(self._numbers[2::3])

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return int(sum(self._numbers[3::3]))

    @property
    def late(self) -> float:
        """How late a process was at most, in seconds."""
        return max(self._numbers[4::3])


# Clients -------------------------------------------------------------------------------------------------------------


class Clients:
    """Some thousands of them, in a process of their own.

    :param arguments: what :meth:`Crowd.start_clients` says.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.process: int = arguments["process"]
        self.port: int = arguments["port"]
        self.until: float = time.monotonic() + arguments["seconds"]
        self.pause: float = arguments["pause"]
        self.board = Board(Path(arguments["board"]), arguments["processes"])
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.open = 0
        self.late = 0.0

    def run(self, first: int, count: int) -> dict[str, Any]:
        """All of them, from number ``first`` on; what came of it."""
        self.board.tell(self.process, 0, 0.0)
        clients = [hubbub.spawn(self.client, number) for number in range(first, first + count)]
        ticker = hubbub.spawn(self._tick)
        hubbub.joinall(clients, timeout=max(self.until - time.monotonic(), 0) + WAIT + 3 * self.pause)
        ticker.kill()
        hanging = sum(not client.dead for client in clients)
        if hanging:
            self._fail(f"{hanging} clients have no answer")
        return {"done": self.done, "failures": self.failures}

    def _tick(self) -> None:
        while True:
            due = time.monotonic() + 0.1
            hubbub.sleep(0.1)
            self.late = max(self.late, time.monotonic() - due)
            self.board.tell(self.process, self.open, self.late)

    def client(self, number: int) -> None:
        """One that makes one request after the other, and a new connection when it is told to."""
        chance = random.Random(number)
        hubbub.sleep(chance.random() * self.pause)
        while time.monotonic() < self.until and self.board.failures < 5:
            try:
                with Socket(plain.AF_INET, plain.SOCK_STREAM) as sock:
                    sock.settimeout(WAIT)
                    sock.connect(("127.0.0.1", self.port))
                    self.open += 1
                    try:
                        self._ask(sock, chance)
                    finally:
                        self.open -= 1
            except OSError as error:
                self._note(repr(error))

    def _ask(self, sock: Any, chance: random.Random) -> None:
        while time.monotonic() < self.until:
            if self._is_closed(sock):
                self.done["found closed"] += 1
                return
            sock.sendall(REQUEST % (self.pause * BUSY * (0.5 + chance.random())))
            data = b""
            while not data.endswith(b"\r\n\r\nok"):
                piece = sock.recv(65536)
                if not piece:
                    self._note(f"a request was cut after {data!r}")
                    return
                data += piece
            if not data.startswith(b"HTTP/1.1 200 OK\r\n"):
                self._fail(repr(data))
            self.done["requests"] += 1
            if b"\r\nConnection: close\r\n" in data:
                return
            # Not longer than a server that ends waits for the next request of a connection that looks idle.
            hubbub.sleep(min(self.pause * (1 - BUSY), 0.2) * chance.random())

    def _is_closed(self, sock: Any) -> bool:
        """Whether the server has closed the connection, without waiting."""
        try:
            return not _recv(sock, 1, plain.MSG_PEEK | plain.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def _note(self, what: str) -> None:
        killed = self.board.killed
        if killed and time.monotonic() < killed + GRACE + self.late:
            self.done["cut with a worker that was killed"] += 1
        else:
            self._fail(what)

    def _fail(self, what: str) -> None:
        self.failures.append(f"{what}, at {time.monotonic():.1f}")
        self.board.failures += 1


# The server ----------------------------------------------------------------------------------------------------------


class Crowd:
    """The server, and what happens to it."""

    def __init__(self, folder: Path, loop: str | None, connections: int) -> None:
        with plain.create_server(("127.0.0.1", 0)) as listener, plain.create_server(("127.0.0.1", 0)) as other:
            self.plain_port, self.tls_port = listener.getsockname()[1], other.getsockname()[1]
        self.folder = folder
        self.loop = loop
        self.connections = connections
        self.count = -(-connections // MOST)
        """Of processes of clients."""
        self.board = Board(folder / "board", self.count)
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.authority = trustme.CA()
        self.put_certificate()
        (folder / "site_app.py").write_text(APPLICATION)
        self._noise = (folder / "noise").open("wb")
        self.processes = [
            self._serve(self.plain_port),
            self._serve(self.tls_port, "--certfile", str(folder / "certificate.pem")),
        ]

    def _serve(self, port: int, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "hubbub_server", "site_app", "-b", f"127.0.0.1:{port}", "-w", "2"]
        command += ["--access-log", str(self.folder / f"log.{port}"), "--backlog", "4096", "--idle-seconds", "none"]
        command += ["--stop-seconds", "120", *(("--loop", self.loop) if self.loop else ()), *arguments]
        return subprocess.Popen(command, cwd=self.folder, stderr=self._noise)

    def put_certificate(self) -> None:
        """Another certificate of the same authority, put in place at once."""
        leaf = self.authority.issue_cert("localhost")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(self.folder / "new.pem"))
        (self.folder / "new.pem").replace(self.folder / "certificate.pem")

    def close(self) -> None:
        """End all."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            if process.wait(60) != 0:
                self.failures.append(f"the server ended with {process.returncode}")
        self._noise.close()

    def wait(self) -> None:
        """Until both listen."""
        for port in (self.plain_port, self.tls_port):
            for _ in range(600):
                try:
                    plain.create_connection(("127.0.0.1", port), 20).close()
                    break
                except ConnectionRefusedError:
                    hubbub.sleep(0.1)

    def start_clients(self, seconds: float, seed: int) -> list[subprocess.Popen[str]]:
        """Processes with clients, who go on for so many seconds. They have begun."""
        started = []
        for process in range(self.count):
            first, last = (self.connections * number // self.count for number in (process, process + 1))
            said = {
                "process": process,
                "processes": self.count,
                "port": self.plain_port,
                "seconds": seconds,
                "pause": max(1.0, self.connections / 1000),
                "board": str(self.folder / "board"),
                "first": seed + first,
                "count": last - first,
                "loop": self.loop,
            }
            command = [sys.executable, __file__, "--clients", json.dumps(said)]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        while not self.board.all_have_begun and all(process.poll() is None for process in started):
            hubbub.sleep(0.1)
        return started

    def handshake(self) -> None:
        """A TLS client that trusts the authority, and gets whatever certificate is current."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        try:
            with (
                plain.create_connection(("127.0.0.1", self.tls_port), 30) as sock,
                context.wrap_socket(sock, server_hostname="localhost") as secure,
            ):
                secure.sendall(REQUEST % 0.0)
                if not secure.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n"):
                    self._note("no answer over TLS")
        except OSError as error:
            self._note(f"a client of TLS: {error!r}")
        self.done["handshakes"] += 1

    def _note(self, what: str) -> None:
        if not self.board.killed or time.monotonic() > self.board.killed + GRACE + self.board.late:
            self.failures.append(what)

    def event(self, what: str, chance: random.Random) -> None:
        """Something happens to both servers."""
        self.done[what] += 1
        print(f"{time.monotonic():.1f}: {what}, with {self.board.connected} connections", flush=True)
        for process in self.processes:
            if what == "kill":
                self.board.killed = time.monotonic()
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(chance.choice(children)), signal.SIGKILL)
            elif what == "rotate":
                for log in self.folder.glob("log.*[0-9]"):
                    log.replace(log.with_suffix(".old"))
                process.send_signal(signal.SIGUSR1)
            elif what == "upgrade":
                process.send_signal(signal.SIGUSR2)
            else:
                if what == "certificate":
                    self.put_certificate()
                process.send_signal(signal.SIGHUP)

    def run(self, seconds: float, seed: int) -> int:
        """All of it; the most connections that were open at a time."""
        chance = random.Random(seed)
        processes = self.start_clients(seconds, seed)
        until = time.monotonic() + seconds
        most = 0
        rounds = max(5, round(seconds / 12))
        for number in range(rounds):
            for _ in range(5):
                hubbub.sleep(seconds / rounds / 5)
                most = max(most, self.board.connected)
            if time.monotonic() < until and number < rounds - 1 and self.board.failures < 5:
                self.event(EVENTS[number % len(EVENTS)], chance)
            hubbub.get_hub().threadpool.apply(self.handshake)
        for process in processes:
            result = json.loads(process.communicate()[0])
            self.done.update(result["done"])
            self.failures += result["failures"]
        return most


def serve_as_clients(said: dict[str, Any]) -> None:
    """The main function of a process of clients."""
    if said["loop"]:
        hubbub.configure(loop=said["loop"])
    print(json.dumps(Clients(said).run(said["first"], said["count"])), flush=True)
    os._exit(0)  # without taking thousands of greenlets apart


def main() -> None:
    """Run as the arguments say; exits with 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--connections", type=int, help="default: one for each 10 ms, 20,000 at most")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", help="the loop that all run on; default: the first that is installed")
    parser.add_argument("--clients", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.clients:
        serve_as_clients(options.clients)
    if options.loop:
        hubbub.configure(loop=options.loop)
    seconds = options.minutes * 60
    connections = options.connections or min(20_000, round(seconds * 100))
    print(f"seed {options.seed}, {connections} connections, {hard} descriptors instead of {soft}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        crowd = Crowd(folder, options.loop, connections)
        stack.callback(crowd.close)
        crowd.wait()
        most = crowd.run(seconds, options.seed)
        if most < connections / 2:
            crowd.failures.append(f"there were {most} connections at most")
        print(f"{most} connections at a time, {dict(crowd.done)}; late by {crowd.board.late:.2f} s at most")
        if "Traceback" in (noise := (folder / "noise").read_text(errors="replace")):
            crowd.failures.append(noise[-2000:])
    for failure in crowd.failures[:5]:
        print(failure)
    print("FAILED" if crowd.failures else "nothing was lost")
    sys.exit(1 if crowd.failures else 0)


if __name__ == "__main__":
    main()
