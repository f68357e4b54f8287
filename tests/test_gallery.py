"""The small programs in examples/, each run as its first lines say."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import trustme
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

LONGEST = 80
"""Lines that an example may have. The demonstration is not a gallery piece."""
DEMONSTRATION = {"crawl.py", "demo.py"}

direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(*command: object, port: int | None = None, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A program, once it listens on ``port``. It is ended with SIGINT, as by Ctrl-C."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=folder,
    )
    try:
        if port is not None:
            until = monotonic() + 20
            while not listens(port):
                assert process.poll() is None, process.communicate()
                assert monotonic() < until
                sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        finally:
            process.kill()
            process.communicate()


def completed(*command: object, given: str = "") -> subprocess.CompletedProcess[str]:
    """A program that ends by itself."""
    return subprocess.run(list(map(str, command)), input=given, capture_output=True, text=True, timeout=150)


def fetch(url: str, data: bytes | None = None) -> bytes:
    """The body behind ``url``."""
    with direct.open(url, data, timeout=20) as response:
        body: bytes = response.read()
    return body


@pytest.fixture
def examples(root: Path) -> Path:
    """The folder of the programs."""
    return root / "examples"


def test_all_short(examples: Path) -> None:
    """Each program of the gallery fits on a page and a half."""
    paths = [*examples.glob("*.py"), *examples.glob("tutorial/*.py")]
    lengths = {path.name: len(path.read_text().splitlines()) for path in paths}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST}.keys() <= DEMONSTRATION


def test_port_scan(examples: Path) -> None:
    """The scanner prints the ports on which somebody listens, and no others."""
    with ExitStack() as stack:
        taken = {stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)}
        first = min(taken)
        last = min(max(taken), first + 2000)
        done = completed(sys.executable, examples / "port_scan.py", "127.0.0.1", "--ports", f"{first}-{last}")
    found = {int(line) for line in done.stdout.split()}
    assert done.returncode == 0, done.stderr
    assert {port for port in taken if port <= last} <= found


@pytest.mark.parametrize("ports", ["0", "9-8", "1-65536", "x"])
def test_port_scan_refuses(examples: Path, ports: str) -> None:
    """Ports that do not exist are refused with the usage."""
    done = completed(sys.executable, examples / "port_scan.py", "127.0.0.1", "--ports", ports)
    assert done.returncode == 2
    assert "--ports" in done.stderr


def until(reader: Any, text: str) -> None:
    """Read lines until one is ``text``."""
    for line in reader:
        if line.strip().endswith(text):
            return
    raise AssertionError(f"the end came before {text!r}")


def test_chat(examples: Path) -> None:
    """What one client says reaches all; who comes and who leaves is told."""
    port = free_port()
    with running(sys.executable, examples / "chat.py", "--bind", f"127.0.0.1:{port}", port=port), ExitStack() as stack:
        clients = []
        for name in ("ann", "bob"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            sock.sendall(f"{name}\n".encode())
            clients.append((sock, stack.enter_context(sock.makefile("r"))))
            for _, reader in clients:
                until(reader, f"* {name} is here")
        clients[0][0].sendall(b"hello\n")
        for _, reader in clients:
            until(reader, "ann: hello")
        clients[0][0].shutdown(socket.SHUT_WR)
        until(clients[1][1], "* ann has left")
        assert not clients[0][1].read().replace("* ann has left\n", "")


def test_chat_drops_who_does_not_read(examples: Path) -> None:
    """A client that never reads is dropped, and the others go on."""
    port = free_port()
    with running(sys.executable, examples / "chat.py", "--bind", f"127.0.0.1:{port}", port=port):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with deaf, socket.create_connection(("127.0.0.1", port), timeout=10) as loud, loud.makefile("r") as reader:
            deaf.connect(("127.0.0.1", port))
            deaf.sendall(b"deaf\n")
            loud.sendall(b"loud\n")
            until(reader, "* loud is here")
            for _ in range(20_000):
                loud.sendall(b"x" * 900 + b"\n")
                if reader.readline() == "* deaf has left\n":
                    break
            else:
                pytest.fail("the deaf one is still there")


def test_tls_proxy(examples: Path, tmp_path: Path) -> None:
    """What comes over TLS goes on without it, and back; a target that refuses closes the connection."""
    authority = trustme.CA()
    certificate = tmp_path / "both.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port, target = free_port(), free_port()
    command = [sys.executable, examples / "tls_proxy.py", "--bind", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{target}"]
    with running(*command, "--certificate", certificate, port=port):

        def connect() -> ssl.SSLSocket:
            return context.wrap_socket(
                socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="127.0.0.1"
            )

        with connect() as client:
            assert client.recv(1) == b""
        with socket.create_server(("127.0.0.1", target)) as listener, connect() as client:
            server, _ = listener.accept()
            with server:
                client.sendall(b"question")
                assert server.recv(100) == b"question"
                server.sendall(b"answer")
                server.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b"answer"


def test_syslog_sink(examples: Path, tmp_path: Path) -> None:
    """Messages are in the file one on a line, and counted by severity; what is no message is counted apart."""
    port = free_port(socket.SOCK_DGRAM)
    path = tmp_path / "messages"
    with running(sys.executable, examples / "syslog_sink.py", path, "--bind", f"127.0.0.1:{port}") as process:
        until_written = monotonic() + 20
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not path.exists() or b"ready" not in path.read_bytes():  # until it listens
                assert monotonic() < until_written
                sock.sendto(b"<15>ready", ("127.0.0.1", port))
                sleep(0.02)
            sock.sendto(b"<11>two\nlines", ("127.0.0.1", port))
            sock.sendto(b"no priority", ("127.0.0.1", port))
            sock.sendto(b"<192>too high", ("127.0.0.1", port))
            sock.sendto(b"<11>last", ("127.0.0.1", port))
        while b"last" not in path.read_bytes():
            assert monotonic() < until_written
            sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    assert b"<11>two lines\n<11>last\n" in path.read_bytes()
    assert "'err': 2" in output, errors
    assert "'malformed': 2" in output


def test_resolve(examples: Path) -> None:
    """Each name gets a line with its addresses or a reason, in the order in which they were given."""
    done = completed(
        sys.executable, examples / "resolve.py", "--resolver", "dnspython", given="127.0.0.1\nlocalhost\n-bad-.\n::1\n"
    )
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["127.0.0.1", "localhost", "-bad-.", "::1"], done.stderr
    assert lines[0] == "127.0.0.1 127.0.0.1"
    assert "127.0.0.1" in lines[1]
    assert lines[2].startswith("-bad-. - ")


def test_fan_out(examples: Path) -> None:
    """Each argument gets its run; a failed one and one that takes too long are told, and the others go on."""
    code = "import sys, time; time.sleep(60 * (sys.argv[1] == 'slow')); print('for', sys.argv[1])"
    code += "; sys.exit(sys.argv[1] == 'bad')"
    done = completed(
        sys.executable,
        examples / "fan_out.py",
        "--seconds",
        "3",
        sys.executable,
        "-c",
        code,
        "--",
        "good",
        "bad",
        "slow",
    )
    assert done.returncode == 1, done.stderr
    assert "== good: 0\nfor good\n" in done.stdout
    assert "== bad: 1\nfor bad\n" in done.stdout
    assert "== slow: 124\nkilled after 3 seconds\n" in done.stdout


@contextmanager
def served(examples: Path, application: str) -> Iterator[int]:
    """The port on which ``hubbub-serve`` serves an application of the gallery."""
    port = free_port()
    command = [sys.executable, "-m", "hubbub_server", application, "--bind", f"127.0.0.1:{port}"]
    with running(*command, port=port, folder=examples):
        yield port


def test_flask(examples: Path) -> None:
    """The Flask application asks several servers at once, itself included, and says what fails."""
    nobody = free_port()
    with served(examples, "flask_app:app") as port:
        own = f"http://127.0.0.1:{port}/"
        said = json.loads(fetch(f"{own}check?url={own}&url=http://127.0.0.1:{nobody}/"))
    assert said[own].startswith("200 ")
    assert "refused" in said[f"http://127.0.0.1:{nobody}/"]


def test_feed(examples: Path) -> None:
    """The page is there; all who watch get the same news; pages of other sites may not."""
    port = free_port()
    command = [sys.executable, examples / "feed.py", "--bind", f"127.0.0.1:{port}", "--seconds", "0.02"]
    address = f"ws://127.0.0.1:{port}/feed"
    with running(*command, port=port):
        assert b"new WebSocket" in fetch(f"http://127.0.0.1:{port}/")
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, origin=Origin("https://evil.example"), proxy=None)
        with connect(address, proxy=None) as first, connect(address, proxy=None) as second:
            news = [json.loads(client.recv(10)) for client in (first, second) for _ in range(10)]
            assert {piece["clients"] for piece in news[-5:]} == {2}
            assert {piece["price"] for piece in news[:10]} & {piece["price"] for piece in news[10:]}


def test_django(examples: Path) -> None:
    """Those who wait get what somebody else says."""
    with served(examples, "django_app:application") as port, ThreadPoolExecutor(5) as executor:
        waiting = [executor.submit(fetch, f"http://127.0.0.1:{port}/wait") for _ in range(5)]
        until_all = monotonic() + 20
        while not all(future.done() for future in waiting):
            assert monotonic() < until_all
            fetch(f"http://127.0.0.1:{port}/say", b"hello")
            sleep(0.02)
        assert {json.loads(future.result())["said"] for future in waiting} == {"hello"}
