"""Keeping queries away from c-ares, which takes its own query, sent back, for a reply without records.

On Linux the kernel drops them before they reach the queue of the socket. Elsewhere :mod:`hubbub_dns._channels` throws
away those at the head of the queue.
"""

from __future__ import annotations

import _socket
import socket
import struct
import sys
from array import array

__all__ = ["refuse_queries"]

_HEADER = 3
"""Bytes of a message up to and with the one whose highest bit tells a reply from a query."""
_SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; the socket module does not have it
_FILTER = array(
    "B",
    # Classic BPF, linux/filter.h: (code, jump if true, jump if false, operand). A datagram begins with its UDP header;
    # one that is too short for the first instruction is dropped.
    b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x30, 0, 0, 8 + _HEADER - 1),  # load that byte
            (0x45, 1, 0, 0x80),  # if its highest bit is set, skip the next instruction
            (0x06, 0, 0, 0),  # drop the datagram
            (0x06, 0, 0, 0xFFFF_FFFF),  # keep all of it
        )
    ),
)
_PROGRAM = struct.pack("HP", len(_FILTER) // 8, _FILTER.buffer_info()[0])


def refuse_queries(sock: _socket.socket) -> bool:
    """Have the kernel drop datagrams that are no replies. Returns False where it cannot."""
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM)
    except OSError:
        return False
    return True
