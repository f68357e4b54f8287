"""Finds open TCP ports: ``python port_scan.py 127.0.0.1 --ports 1-1024``."""

import argparse
import sys

import hubbub
from hubbub.pool import Pool
from hubbub_net import socket


def is_open(host: str, port: int, seconds: float) -> bool:
    """Whether somebody accepts connections on the port."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:  # refused, out of reach, or no answer in time
        return False


def scan(host: str, ports: range, seconds: float, at_once: int) -> list[int]:
    """The open ports among ``ports``. ``at_once`` of them are tried at the same time."""
    pool = Pool(at_once)
    answers = pool.map(lambda port: is_open(host, port, seconds), ports)
    return [port for port, answer in zip(ports, answers, strict=True) if answer]


def port_range(text: str) -> range:
    """The ports that ``22`` or ``1-1024`` names."""
    first, _, last = text.partition("-")
    ports = range(int(first), int(last or first) + 1)
    if not 0 < ports.start < ports.stop <= 65536:
        raise ValueError(text)
    return ports


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("--ports", type=port_range, default=port_range("1-1024"), help="one port, or FIRST-LAST")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long one port may take to answer")
    parser.add_argument("--at-once", type=int, default=200)
    options = parser.parse_args()
    try:
        with hubbub.fail_after(60):
            for number in scan(options.host, options.ports, options.seconds, options.at_once):
                print(number)
    except TimeoutError:
        sys.exit("a minute was not enough")
