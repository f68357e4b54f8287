"""What does each server say first? ``python hubbub_after.py 127.0.0.1:22 ...``."""

import sys

import hubbub
from hubbub_net import socket


def greeting(limit, host, port):
    """The first line of a server, or why there is none."""
    with limit:
        try:
            with hubbub.fail_after(3), socket.create_connection((host, port)) as sock, sock.makefile() as lines:
                return lines.readline().strip()
        except (OSError, TimeoutError) as error:
            return type(error).__name__


def main(addresses):
    """Ask all, ten at a time."""
    limit = hubbub.Semaphore(10)
    with hubbub.TaskGroup() as group:
        tasks = [group.spawn(greeting, limit, *address.rsplit(":", 1)) for address in addresses]
    for address, task in zip(addresses, tasks, strict=True):
        print(address, task.value)


if __name__ == "__main__":
    main(sys.argv[1:])
