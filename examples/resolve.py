"""Looks many names up at once: ``python resolve.py < names`` prints a line for each, in their order."""

import argparse
import sys
from collections.abc import Iterator

import hubbub
from hubbub.pool import Pool
from hubbub_net import socket


def addresses(name: str) -> tuple[str, str]:
    """The name, and its addresses or the reason why there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return name, f"- {error.strerror or error}"
    return name, " ".join(dict.fromkeys(entry[4][0] for entry in found))


def names() -> Iterator[str]:
    """The names on standard input, one on a line."""
    for line in sys.stdin:
        if name := line.strip():
            yield name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--resolver", choices=["ares", "dnspython", "thread"], help="as installed if not given")
    options = parser.parse_args()
    if options.resolver:
        hubbub.configure(resolver=options.resolver)
    for asked, answer in Pool(options.at_once).imap(addresses, names(), maxsize=10_000):
        print(asked, answer, flush=True)
