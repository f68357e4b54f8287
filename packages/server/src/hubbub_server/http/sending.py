"""The sending half of a client's connection over HTTP/1."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any, Final

import hubbub
from hubbub.io import Socket
from hubbub.lowlevel import HubLocal, get_hub_if_exists, monotonic

from hubbub_server.http.clock import NEVER, Clock
from hubbub_server.http.errors import ClientDisconnected, FileChanged
from hubbub_server.http.filewrapper import PlainFile

__all__ = ["LONGEST_HOLD", "QUICK", "YIELD_AFTER", "Sender"]

_send = Socket.__bases__[0].send  # type: ignore[attr-defined]  # of the kernel: it does not wait

YIELD_AFTER: Final = 1048576
"""After so many bytes without a wait the greenlet yields."""
QUICK: Final = 0.0001
"""A piece that comes so many seconds after the one before, or sooner, is taken for one of a series."""
LONGEST_HOLD: Final = 0.001
"""For so many seconds the pieces of a series are gathered before they are sent."""
_MORE: Final = int(getattr(socket, "MSG_MORE", 0))  # the constant itself is an enum, slow to calculate with
_NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""Errors of sendfile(2) with a kind of file that it cannot send."""
_FILE_FAILED = frozenset(
    {errno.EIO, errno.ESTALE, errno.EOVERFLOW, errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.ENOMEM}
)
"""Errors that are the file's and not the client's."""


class Sender:
    """Sends what it is given, in the greenlet that gives it, which waits as long as the client takes.

    A piece of a response is with the operating system before its sender returns. A packet for each of many small ones
    would cost ten times as much as the copying. So the kernel is told that more follows (``MSG_MORE``,
    :manpage:`send(2)`) when a piece is one of a series: the one before was given no longer than :data:`QUICK` ago. What
    it holds then leaves

    - with the first piece that is late, or the end of the response;
    - with the first piece after :data:`LONGEST_HOLD`;
    - when the greenlet waits, for whatever: a callback for that is in the run queue before anything is held;
    - if the application computes, waiting for nothing: when the client acknowledges what was sent before, and after 200
      milliseconds at the latest (:manpage:`tcp(7)`, ``TCP_CORK``).

    So a piece that is given before a wait, such as an event, is not late, and PEP 3333's promise holds, that a block is
    transmitted while the next is made.
    """

    __slots__ = ("_given", "_held", "_pushed", "_watched", "_work", "_write_patience", "clock", "sock",
                 "write_deadline")  # fmt: skip

    def __init__(self, sock: Any, clock: Clock) -> None:
        self.sock: Any = sock
        self.clock: Clock = clock
        self.write_deadline: float = NEVER
        """When the present wait to send has lasted too long, in ticks of the clock."""
        self._work = 0
        self._write_patience = clock.write.ticks
        self._given = 0.0  # when the last piece was given, as monotonic() has it
        self._pushed = 0.0  # the same for the last that was not held
        self._held = False  # whether the kernel holds something
        self._watched = False  # whether a callback is queued that has it sent

    def send(self, data: bytes) -> None:
        """Send all of ``data``, and what is held.

        :raises ClientDisconnected: the client is gone, or does not read.
        """
        clock = self.clock
        began = clock.now
        self.write_deadline = began + self._write_patience
        try:
            sent = self.sock.send(data)
            if clock.now != began:
                self._note_wait(began, sent)
            if sent != len(data):
                self._send_rest(memoryview(data)[sent:])
        except OSError as error:
            raise ClientDisconnected("the client closed the connection or does not read") from error
        finally:
            self.write_deadline = NEVER
        self._held = False

    def _send_rest(self, view: memoryview) -> None:
        while view:
            began = self.clock.now
            self.write_deadline = began + self._write_patience
            sent = self.sock.send(view)
            view = view[sent:]
            self._note_wait(began, sent)
            self.note_work(sent)

    def _note_wait(self, began: float, sent: int) -> None:
        """What was sent since the tick ``began`` of the clock earns the client more time."""
        self._write_patience = self.clock.write.after(self._write_patience, self.clock.now - began, sent)

    # Pieces ---------------------------------------------------------------------------------------------------------

    def send_piece(self, data: bytes) -> None:
        """Send ``data``, which is not the end of a response; see the class.

        :raises ClientDisconnected: as :meth:`send`.
        """
        now = monotonic()
        is_quick = now - self._given <= QUICK and now - self._pushed <= LONGEST_HOLD
        self._given = now
        sent = self._hold(data) if is_quick and (self._held or self.may_hold()) else 0
        if sent != len(data):
            self.send(data[sent:])
            self._pushed = now

    def may_hold(self) -> bool:
        """See to it that what is held will leave when this greenlet waits. False: that cannot be."""
        if not self._watched:
            if not _MORE or type(self.sock) is not Socket:
                return False
            watched = self.clock.watched or self._watch()
            if watched is None:
                return False
            watched.append(self)
            self._watched = True
        self._held = True
        return True

    def _watch(self) -> list[Any] | None:
        """Queue a callback for senders of this thread: where they are to be put. While they are more than none, it is
        still in the run queue. None: there is no hub."""
        hub = get_hub_if_exists()
        if hub is None:
            return None
        self.clock.watched = watched = _holders.get(hub)
        if not watched:
            hub.loop.run_callback(_push_all, watched)
        return watched

    def _hold(self, data: bytes) -> int:
        """Give ``data`` to the kernel, to be held. How much it has taken without a wait; 0 after an error."""
        try:
            sent: int = _send(self.sock, data, _MORE)
        except OSError:
            return 0  # another attempt waits, or meets it again
        return sent

    def push(self) -> None:
        """Have the kernel send what it holds."""
        if self._held:
            self._held = False
            try:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # it is on; this is what pushes
            except OSError:
                return  # it is gone, or no TCP

    # Files ----------------------------------------------------------------------------------------------------------

    def send_file(self, file: PlainFile, count: int) -> bool:
        """Send ``count`` bytes of a file by :manpage:`sendfile(2)`. False: that cannot be done with this file.

        :raises ClientDisconnected: as :meth:`send`.
        :raises FileChanged: the file became shorter; the last byte of what was to be sent was not.
        :raises OSError: the file cannot be read.
        """
        clock = self.clock
        out, offset, end = self.sock.fileno(), file.offset, file.offset + count
        try:
            began = clock.now
            while offset < end:
                if end - offset <= YIELD_AFTER and file.change() < 0:
                    raise FileChanged("the file became shorter while it was sent")
                try:
                    sent = os.sendfile(out, file.descriptor, offset, min(end - offset, YIELD_AFTER))
                except BlockingIOError:
                    self.write_deadline = clock.now + self._write_patience
                    self.sock.wait_writable()
                    continue
                if not sent:
                    raise FileChanged("the file became shorter while it was sent")
                offset += sent
                self._note_wait(began, sent)
                began = clock.now
                self.note_work(sent)
        except OSError as error:
            if error.errno in _NO_SENDFILE and offset == file.offset:
                return False
            if error.errno in _FILE_FAILED:
                raise
            raise ClientDisconnected("the client closed the connection or does not read") from error
        finally:
            self.write_deadline = NEVER
        return True

    def note_work(self, size: int) -> None:
        """Yield when the connection has moved many bytes, or done what takes as long, without a wait."""
        self._work += size
        if self._work >= YIELD_AFTER:
            self._work = 0
            hubbub.sleep(0)

    def reset_on_close(self) -> None:
        """Let the client see an error, not an end, when the connection is closed; and drop what is queued for it."""
        self._set_linger(1)

    def end_on_close(self) -> None:
        """Let it see an end after all."""
        self._set_linger(0)

    def _set_linger(self, on: int) -> None:
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, 0))
        except OSError:
            return  # it is gone already

    def abort(self) -> None:
        """Close now, and let the client see an error: it must not take what it has for the whole. (A UNIX socket has no
        resets: there only the framing tells.)"""
        self.push()
        self.reset_on_close()
        # At once, and not when the handler has ended: TLS would be ended in good order first.
        self.sock.close()


def _push_all(watched: list[Sender]) -> None:
    """Greenlets have waited: have the kernel send what it holds of theirs. They are watched no more."""
    senders = watched.copy()
    watched.clear()
    for sender in senders:
        sender._watched = False
        sender.push()


_holders: Final = HubLocal[list[Sender]](
    "The senders for which the kernel may hold something.",
    lambda hub: [],
    end=_push_all,
    renew=_push_all,  # after a fork the run queue is empty
)
