"""What does each server say first? ``python threads_before.py 127.0.0.1:22 ...``."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def greeting(address):
    """The first line of a server, or why there is none."""
    host, port = address.rsplit(":", 1)
    try:
        # Three seconds for each step: a thread has no limit for the whole.
        with socket.create_connection((host, port), timeout=3) as sock, sock.makefile() as lines:
            return lines.readline().strip()
    except OSError as error:
        return type(error).__name__


if __name__ == "__main__":
    with ThreadPoolExecutor(10) as executor:
        for address, said in zip(sys.argv[1:], executor.map(greeting, sys.argv[1:]), strict=True):
            print(address, said)
