"""hubbub-serve with a crowd: thousands of connections, each with a request under way most of the time, while workers
are reloaded and killed, the program is upgraded in place, logs are rotated and the certificate is changed. No
connection may be refused, and no request be cut but those of a killed worker.

Run by ``./do soak -- crowd``, or by itself: ``python soak/crowd.py --connections 20000 --minutes 2``.
"""

from __future__ import annotations

import argparse
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
"""Seconds after a worker was killed in which requests may be cut, as those that it had are."""
PROMPT = 0.3
"""A client that lets a kept connection lie for longer, or whose process is that late, may find it closed when the
server ends, as it waits 0.5 s for another request; such a client asks again on another connection."""
BUSY = 0.9
"""The part of the time in which a connection has a request under way."""


class Crowd:
    """The server, and its clients."""

    def __init__(self, folder: Path, loop: str | None) -> None:
        with plain.create_server(("127.0.0.1", 0)) as listener, plain.create_server(("127.0.0.1", 0)) as other:
            self.plain_port, self.tls_port = listener.getsockname()[1], other.getsockname()[1]
        self.folder = folder
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.cut = 0
        self.killed_at = -GRACE
        self.open = 0
        self.lag = 0.0
        """How late this process was at most, in seconds."""
        self.authority = trustme.CA()
        self.put_certificate()
        (folder / "site_app.py").write_text(APPLICATION)
        self._noise = (folder / "noise").open("wb")
        self.processes = [
            self._serve(self.plain_port, loop),
            self._serve(self.tls_port, loop, "--certfile", str(folder / "certificate.pem")),
        ]

    def _serve(self, port: int, loop: str | None, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "hubbub_server", "site_app", "-b", f"127.0.0.1:{port}", "-w", "2"]
        command += ["--access-log", str(self.folder / f"log.{port}"), "--backlog", "4096", "--idle-seconds", "none"]
        command += ["--stop-seconds", "120", *(("--loop", loop) if loop else ()), *arguments]
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

    # Clients --------------------------------------------------------------------------------------------------------

    def client(self, number: int, until: float, pause: float) -> None:
        """One that makes one request after the other, and a new connection when it is told to."""
        chance = random.Random(number)
        hubbub.sleep(chance.random() * pause)
        while time.monotonic() < until and len(self.failures) < 5:
            try:
                with Socket(plain.AF_INET, plain.SOCK_STREAM) as sock:
                    sock.settimeout(60)
                    sock.connect(("127.0.0.1", self.plain_port))
                    self.open += 1
                    try:
                        self._ask(sock, chance, until, pause)
                    finally:
                        self.open -= 1
            except OSError as error:
                self._note(error)

    def _note(self, error: object) -> None:
        if time.monotonic() < self.killed_at + GRACE:
            self.cut += 1
        else:
            self.failures.append(repr(error))

    def _ask(self, sock: Any, chance: random.Random, until: float, pause: float) -> None:
        asked = 0.0
        while time.monotonic() < until:
            waited = time.monotonic() - asked
            sock.sendall(REQUEST % (pause * BUSY * (0.5 + chance.random())))
            data = b""
            while not data.endswith(b"\r\n\r\nok"):
                piece = sock.recv(65536)
                if not piece:
                    if asked and not data and (waited > PROMPT or self.lag > PROMPT):
                        self.done["repeated"] += 1  # the connection was idle for too long: RFC 9112, 9.3.1
                    else:
                        self._note(f"a request was cut after {data!r}")
                    return
                data += piece
            if not data.startswith(b"HTTP/1.1 200 OK\r\n"):
                self.failures.append(repr(data))
            self.done["requests"] += 1
            asked = time.monotonic()
            if b"\r\nConnection: close\r\n" in data:
                return
            # Not longer than a server that ends waits for the next request of a connection that looks idle.
            hubbub.sleep(min(pause * (1 - BUSY), 0.2) * chance.random())

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
            self._note(error)
        self.done["handshakes"] += 1

    # Events ---------------------------------------------------------------------------------------------------------

    def event(self, what: str, chance: random.Random) -> None:
        """Something happens to both servers."""
        self.done[what] += 1
        for process in self.processes:
            if what == "kill":
                self.killed_at = time.monotonic()
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

    def run(self, seconds: float, connections: int, chance: random.Random) -> int:
        """All of it; the most connections that were open at a time."""
        until = time.monotonic() + seconds
        pause = max(1.0, connections / 1000)
        clients = [hubbub.spawn(self.client, number, until, pause) for number in range(connections)]
        most = 0
        rounds = max(5, round(seconds / 12))
        for number in range(rounds):
            for _ in range(5):
                due = time.monotonic() + seconds / rounds / 5
                hubbub.sleep(seconds / rounds / 5)
                self.lag = max(self.lag, time.monotonic() - due)
                most = max(most, self.open)
            if time.monotonic() < until and number < rounds - 1:
                self.event(EVENTS[number % len(EVENTS)], chance)
            hubbub.get_hub().threadpool.apply(self.handshake)
        hubbub.joinall(clients, timeout=60 + 3 * pause)
        return most


def main() -> None:
    """Run as the arguments say; exits with 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--connections", type=int, help="default: one for each 10 ms, 20,000 at most")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--loop", help="the loop that all run on; default: the first that is installed")
    options = parser.parse_args()
    if options.loop:
        hubbub.configure(loop=options.loop)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    seconds = options.minutes * 60
    connections = min(options.connections or min(20_000, round(seconds * 100)), hard - 200)
    print(f"seed {options.seed}, {connections} connections, {hard} descriptors instead of {soft}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        crowd = Crowd(folder, options.loop)
        stack.callback(crowd.close)
        crowd.wait()
        most = crowd.run(seconds, connections, random.Random(options.seed))
        print(
            f"{most} connections at a time, {dict(crowd.done)}; {crowd.cut} cut with a worker that was killed; "
            f"late by {crowd.lag:.2f} s at most"
        )
        if "Traceback" in (noise := (folder / "noise").read_text(errors="replace")):
            crowd.failures.append(noise[-2000:])
    for failure in crowd.failures[:5]:
        print(failure)
    print("FAILED" if crowd.failures else "nothing was lost")
    sys.exit(1 if crowd.failures else 0)


if __name__ == "__main__":
    main()
