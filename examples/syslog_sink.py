"""Writes the syslog messages (RFC 5424, 3164) that come by UDP to a file: ``python syslog_sink.py messages.log``.

The server's greenlet only takes datagrams in. Another writes them, many at a time; what comes faster than the disk
can write is counted and left out.
"""

import argparse
import re
from collections import Counter

import hubbub
from hubbub.queue import Full, Queue, ShutDown
from hubbub_server import DatagramServer

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


class Sink:
    """Messages on their way to a file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.waiting: Queue[bytes] = Queue(10_000)
        self.counts: Counter[str] = Counter()

    def take(self, datagram: bytes, address: object) -> None:
        """Put one message in line. Never waits."""
        match = re.match(rb"<(\d{1,3})>", datagram)
        if match is None or int(match[1]) > 191:
            self.counts["malformed"] += 1
            return
        try:
            self.waiting.put_nowait(datagram)
        except Full:
            self.counts["lost"] += 1
        else:
            self.counts[SEVERITIES[int(match[1]) % 8]] += 1

    def write(self) -> None:
        """Write what is in line, until it is shut down."""
        with open(self.path, "ab", buffering=0) as file:
            try:
                while True:
                    lines = [self.waiting.get()]
                    while not self.waiting.empty() and len(lines) < 1000:
                        lines.append(self.waiting.get())
                    text = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
                    hubbub.to_thread(file.write, text)  # a disk may be slow
            except ShutDown:
                pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--bind", default="127.0.0.1:5514")
    options = parser.parse_args()
    sink = Sink(options.file)
    writer = hubbub.spawn(sink.write)
    try:
        DatagramServer(options.bind, sink.take, spawn=None).serve_forever()
    except KeyboardInterrupt:
        pass
    sink.waiting.shutdown()
    writer.get()
    print(dict(sink.counts))
