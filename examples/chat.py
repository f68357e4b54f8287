"""A chat over TCP: ``python chat.py``, then ``nc 127.0.0.1 7000`` in several terminals.

Each client has two greenlets: one reads its lines, one writes what the others say. Between them is a bounded queue:
a client that does not read is dropped, and holds up nobody.
"""

import argparse
from contextlib import suppress

import hubbub
from hubbub.queue import Full, Queue
from hubbub_net import socket
from hubbub_server import StreamServer

LONGEST = 1000  # bytes of a line
BEHIND = 100  # lines that a client may be behind


class Room:
    """The sockets of the clients, by the queue of lines to be written to each."""

    def __init__(self) -> None:
        self.members: dict[Queue[bytes], socket.socket] = {}

    def say(self, text: str) -> None:
        """Give a line to everybody."""
        for lines, sock in list(self.members.items()):
            try:
                lines.put_nowait(f"{text}\n".encode())
            except Full:
                del self.members[lines]
                hang_up(sock)

    def serve(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """One client, from the first line to the last."""
        with sock.makefile("rb") as reader:
            sock.sendall(b"your name: ")
            name = reader.readline(LONGEST).decode(errors="replace").strip() or "nobody"
            lines: Queue[bytes] = Queue(BEHIND)
            self.members[lines] = sock
            writer = hubbub.spawn(write, sock, lines)
            self.say(f"* {name} is here")
            try:
                while line := reader.readline(LONGEST):
                    self.say(f"{name}: {line.decode(errors='replace').strip()}")
                    hubbub.sleep(0)  # the next line may be here already; let the writers run first
            except OSError:
                pass  # the client has gone
            self.members.pop(lines, None)
            self.say(f"* {name} has left")
            lines.shutdown()
            writer.join(5)


def hang_up(sock: socket.socket) -> None:
    """End both directions. Those who wait for the socket see the end."""
    with suppress(OSError):  # the client was faster
        sock.shutdown(socket.SHUT_RDWR)


def write(sock: socket.socket, lines: Queue[bytes]) -> None:
    """Send a client's lines until it leaves, then end the connection."""
    with suppress(OSError):  # the client has gone; the reader sees it too
        for line in lines:
            sock.sendall(line)
    hang_up(sock)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bind", default="127.0.0.1:7000")
    StreamServer(parser.parse_args().bind, Room().serve).serve_forever()
