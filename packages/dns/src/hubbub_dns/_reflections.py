"""Keeping queries away from c-ares, which takes its own query, sent back, for a reply without records.

On Linux the kernel drops them before they are in the queue of the socket. Elsewhere they are thrown away before c-ares
reads, which catches those at the head of the queue.
"""

from __future__ import annotations

import _socket
import socket
import struct
import sys
from array import array

try:
    import fcntl as _fcntl
    import termios as _termios
except ImportError:  # Windows
    _fcntl = None  # type: ignore[assignment]  # asked for before use

__all__ = ["drop_queries", "refuse_queries"]

_HEADER = 3
"""Bytes of a message up to the one whose highest bit tells a reply from a query."""
_SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; the socket module does not have it
_FILTER = array(
    "B",
    # Classic BPF, linux/filter.h: (code, jump if true, jump if false, operand). A datagram begins with its UDP header;
    # one that is too short for the first instruction is dropped.
    b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 8 + _HEADER - 1),  # load that byte
            (0x45, 1, 0, 0x80),  # if its highest bit is set, pass over the next one
            (0x06, 0, 0, 0),  # drop the datagram
            (0x06, 0, 0, 0xFFFF_FFFF),  # keep all of it
        )
    ),
)
_PROGRAM = struct.pack("HP", len(_FILTER) // 8, _FILTER.buffer_info()[0])


def refuse_queries(sock: _socket.socket) -> bool:
    """Have the kernel drop datagrams that are no replies; False where it cannot."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM)
    except OSError:
        return False
    return True


def drop_queries(sock: _socket.socket) -> None:
    """Throw away datagrams at the head of the queue that are queries."""
    try:
        # Looking at a queue that is empty would take the error that c-ares is to find there.
        while _waiting_bytes(sock.fileno()) >= _HEADER and not sock.recv(_HEADER, socket.MSG_PEEK)[-1] & 0x80:
            sock.recv(_HEADER)
    except OSError:
        return


def _waiting_bytes(fd: int) -> int:
    """The length of the next datagram; 0 where the system does not tell."""
    if _fcntl is None:
        return 0
    return int.from_bytes(_fcntl.ioctl(fd, _termios.FIONREAD, b"\0" * 4), sys.byteorder)
