"""A descriptor that C code has closed without a word: whoever has its number next is watched like any other."""

from __future__ import annotations

import os
import socket
import threading

import hubbub
import pytest
from hubbub import io
from hubbub.abc import READ, WRITE

PATIENCE = 10


def pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


class Before:
    """What was done with the number when it was another file's."""

    def __init__(self, hub, number):
        self.hub, self.number = hub, number
        self.left = []

    def watch(self, events=READ):
        watcher = self.hub.loop.io(self.number, events)
        watcher.start(int)
        self.left.append(watcher)
        return watcher

    def stopped(self):
        """An io watcher was started and stopped."""
        self.watch().stop()

    def selected(self):
        """Somebody waited while an io watcher was there."""
        watcher = self.watch()
        assert not io.wait_readable(self.number, 0.001)
        watcher.stop()

    def selected_both(self):
        """Somebody waited for both directions while there were watchers for both."""
        watchers = [self.watch(READ), self.watch(WRITE)]
        assert not io.wait_readable(self.number, 0.001)
        assert io.wait_writable(self.number, 1)
        for watcher in watchers:
            watcher.stop()

    def still_watched(self):
        """An io watcher was never stopped."""
        self.watch()

    def waited(self):
        """A wait has run into its limit."""
        assert not io.wait_readable(self.number, 0.001)

    def waiting(self):
        """A greenlet waits for it and was killed after the number had changed hands."""
        self.left.append(hubbub.spawn(io.wait_readable, self.number))

    def killed(self):
        """A greenlet that waited for it was killed."""
        greenlet = hubbub.spawn(io.wait_readable, self.number)
        hubbub.sleep(0.001)
        greenlet.kill()

    def read(self):
        """A socket of ours has read from it."""
        sock = io.Socket(fileno=self.number)
        self.left.append(sock)
        sock.settimeout(0.001)
        with pytest.raises(TimeoutError):
            sock.recv(1)

    def in_another_thread(self):
        """A hub of another thread, which lives on, has watched it."""
        self.done, done = threading.Event(), threading.Event()

        def work():
            watcher = hubbub.get_hub().loop.io(self.number, READ)
            watcher.start(int)
            hubbub.sleep(0.001)
            done.set()
            while not self.done.is_set():
                hubbub.sleep(0.001)
            watcher.close()

        self.thread = threading.Thread(target=work)
        self.thread.start()
        assert done.wait(PATIENCE)

    def end(self):
        for thing in self.left:
            if isinstance(thing, io.Socket):
                socket.socket.detach(thing)
            elif isinstance(thing, hubbub.Greenlet):
                thing.kill()
            else:
                thing.close()
        if hasattr(self, "thread"):
            self.done.set()
            self.thread.join()


def watch_again(hub, number, seconds):
    """By an io watcher. Whether there was an event."""
    watcher = hub.loop.io(number, READ)
    seen = []
    watcher.start(lambda: (seen.append(1), watcher.stop()))
    with hubbub.Timeout(seconds, False):
        while not seen:
            hubbub.sleep(0.001)
    watcher.close()
    return bool(seen)


def wait_again(hub, number, seconds):
    """By waiting for the bare number."""
    return io.wait_readable(number, seconds)


def wait_beside_a_watcher(hub, number, seconds):
    """By waiting for the bare number while an io watcher is there."""
    with hub.loop.io(number, WRITE) as watcher:
        watcher.start(watcher.stop)
        return io.wait_readable(number, seconds)


def read_again(hub, number, seconds):
    """By a socket of ours."""
    sock = io.Socket(fileno=os.dup(number))
    os.dup2(sock.fileno(), number)
    sock.close()
    sock = io.Socket(fileno=number)
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        return False
    finally:
        sock.detach()
    return True


BEFORE = [name for name in vars(Before) if name not in ("__init__", "watch", "end") and not name.startswith("__")]
AFTER = [watch_again, wait_again, wait_beside_a_watcher, read_again]


@pytest.mark.parametrize("copied", [False, True], ids=["", "copied"])
@pytest.mark.parametrize("after", AFTER, ids=lambda after: after.__name__)
@pytest.mark.parametrize("before", BEFORE)
def test_a_number_that_is_used_again(hub, before, after, copied):
    """Whatever the loop knows of a number, its next file is reported when it is ready, and not before."""
    old, old_peer = pair()
    new, new_peer = pair()
    number = os.dup(old.fileno())
    history = Before(hub, number)
    getattr(history, before)()
    hubbub.sleep(0.001)
    if not copied:
        old.close()
    os.dup2(new.fileno(), number)  # closes it in the same step: another thread's loop cannot get the number in between
    if before == "waiting":
        history.end()
    try:
        for _ in range(3):
            if copied:
                old_peer.send(b"x")
            assert not after(hub, number, 0.005), "an event of the file before was taken for one of this file"
            new_peer.send(b"x")
            assert after(hub, number, PATIENCE)
            if after is not read_again:
                new.recv(1)
            polls = hub.loop.iteration
            hubbub.sleep(0.005)
            assert hub.loop.iteration - polls < 20, "the loop turns for nothing"
    finally:
        history.end()
        hub.loop.descriptor_closing(number)
        os.close(number)
        for end in (old, old_peer, new, new_peer):
            end.close()


def test_again_and_again(hub):
    """Number after number closed by C code is reported each time, also when somebody waited for it besides."""
    for round_number in range(6):
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        got = []
        watcher = hub.loop.io(fd, READ)
        watcher.start(lambda fd=fd, got=got: got.append(os.eventfd_read(fd)))
        if round_number == 1:
            io.wait_readable(fd, 0.002)
        hubbub.sleep(0.001)
        os.eventfd_write(fd, 1)
        with hubbub.Timeout(PATIENCE):
            while not got:
                hubbub.sleep(0.001)
        watcher.stop()
        os.close(fd)


def test_what_nobody_tells_about_is_not_kept(hub):
    """A bare descriptor is registered only while somebody watches it or waits for it."""
    left, right = pair()
    before = set(hub.loop.handles)
    watcher = hub.loop.io(left.fileno(), READ)
    for _ in range(2):
        watcher.start(int)
        assert not io.wait_readable(left.fileno(), 0.001)
        watcher.stop()
        assert set(hub.loop.handles) == before
        assert io.wait_writable(left.fileno(), 1)
        assert set(hub.loop.handles) == before
    left.close()
    right.close()


def test_a_socket_stays_registered(hub):
    """A socket of ours stays registered for as long as it is open, whoever else watches its descriptor."""
    left, right = (io.Socket(fileno=end.detach()) for end in socket.socketpair())
    left.settimeout(0.001)
    with pytest.raises(TimeoutError):
        left.recv(1)
    with hub.loop.io(left.fileno(), READ) as watcher:
        watcher.start(int)
    assert left.fileno() in hub.loop.handles
    right.sendall(b"x")
    assert left.recv(1) == b"x"
    number = left.fileno()
    left.close()
    assert number not in hub.loop.handles
    right.close()
