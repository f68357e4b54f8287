"""The clients of the comparison: what they ask, on how many connections, and how long the answers take.

As a program, ``python clients.py PORT CONNECTIONS COUNT REQUEST plain|tls``, it says when all its connections have
asked once, asks so many times more once its standard input ends, and ends.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


def connect(port: int, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A client's connection."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock if tls is None else tls.wrap_socket(sock)


@contextmanager
def connected(port: int, count: int, tls: bool = False) -> Iterator[list[socket.socket]]:
    """So many connections, until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
    if context is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    made = [connect(port, context) for _ in range(count)]
    try:
        yield made
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


def plain(_: int) -> bytes:
    """A request without any field but Host."""
    return PLAIN


def browser(number: int) -> bytes:
    """As browsers send it."""
    return BROWSER % number


def realistic(number: int) -> bytes:
    """The same with another target, Referer and cookie each time."""
    return REALISTIC % (number, number, number)


def upload(_: int) -> bytes:
    """A POST of 1 KiB."""
    return UPLOAD


def message(_: int) -> bytes:
    """What an echo server gets."""
    return MESSAGE


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
            sock.sendall(realistic(sent))
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


REQUESTS: dict[str, tuple[Callable[[int], bytes], bytes]] = {
    "plain": (plain, BODY),
    "realistic": (realistic, BODY),
    "upload": (upload, BODY),
    "pieces": (plain, LAST),
}
"""By name: what is sent, and with what an answer ends."""


def main() -> None:
    """Ask as the arguments say."""
    port, connections, count, name, kind = sys.argv[1:]
    request, end = REQUESTS[name]
    with connected(int(port), int(connections), kind == "tls") as made:
        converse(made, len(made), request, end)
        print(flush=True)
        sys.stdin.read()
        converse(made, int(count), request, end)


if __name__ == "__main__":
    main()
