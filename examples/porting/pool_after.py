"""What does each server say first? ``python pool_after.py 127.0.0.1:22 ...``."""

import sys

import hubbub
from hubbub.pool import Pool
from hubbub_net import socket


def greeting(address):
    """The first line of a server, or why there is none."""
    host, port = address.rsplit(":", 1)
    try:
        with hubbub.fail_after(3), socket.create_connection((host, port)) as sock, sock.makefile() as lines:
            return lines.readline().strip()
    except (OSError, TimeoutError) as error:
        return type(error).__name__


if __name__ == "__main__":
    for address, said in zip(sys.argv[1:], Pool(10).imap(greeting, sys.argv[1:]), strict=True):
        print(address, said)
