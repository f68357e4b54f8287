"""What does each server say first? ``python gevent_before.py 127.0.0.1:22 ...``."""

import sys

import gevent
from gevent import socket
from gevent.pool import Pool


def greeting(address):
    """The first line of a server, or why there is none."""
    host, port = address.rsplit(":", 1)
    timeout = gevent.Timeout.start_new(3)
    try:
        with socket.create_connection((host, port)) as sock, sock.makefile() as lines:
            return lines.readline().strip()
    except gevent.Timeout as error:
        if error is not timeout:
            raise
        return "TimeoutError"
    except OSError as error:
        return type(error).__name__
    finally:
        timeout.close()


if __name__ == "__main__":
    for address, said in zip(sys.argv[1:], Pool(10).map(greeting, sys.argv[1:]), strict=True):
        print(address, said)
