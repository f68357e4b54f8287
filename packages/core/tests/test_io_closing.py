"""Closing a socket whose descriptor others wait for."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
import warnings
from types import SimpleNamespace
from typing import Any

import hubbub
import pytest
from hubbub import io
from hubbub.io import Socket, wait_readable
from hubbub.lowlevel import Hub


def test_close_tells_those_who_wait_for_the_bare_descriptor(hub: Hub) -> None:
    """Closing a socket that never waited itself still gives EBADF to a greenlet that waits for its number."""
    one, other = socket.socketpair()
    sock = Socket(fileno=one.detach())
    waiting = hubbub.spawn(wait_readable, sock.fileno())
    hubbub.sleep(0)
    sock.close()
    waiting.join(timeout=5)
    other.close()
    assert isinstance(waiting.exception, OSError)
    assert waiting.exception.errno == errno.EBADF


def is_open(fd: int) -> bool:
    """Whether the number is that of an open file."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_dropped_in_another_thread(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    """A socket that is dropped open in another thread than that of its loop is closed by that loop, and once."""
    one, peer = socket.socketpair()
    box = [Socket(fileno=one.detach())]
    fd = box[0].fileno()
    used, done = threading.Event(), hubbub.Event()

    def use() -> None:
        hubbub.spawn(peer.send, b"x")
        box[0].recv(1)
        used.set()
        done.wait(50)
        hubbub.sleep(0.01)  # what it was asked to do meanwhile is done

    thread = threading.Thread(target=use)
    thread.start()
    assert used.wait(50)
    with pytest.warns(ResourceWarning, match="unclosed"):
        box.clear()
    done.set()
    thread.join(50)
    assert not is_open(fd)
    assert capfd.readouterr().err == ""
    peer.close()


@pytest.mark.parametrize("again", ["_real_close", "detach"])
def test_closed_by_two_threads_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    """Who closes a socket while another thread is in the middle of that leaves the number alone: it may be in use."""
    one, other = socket.socketpair()
    sock = Socket(fileno=one.detach())
    hubbub.spawn(other.send, b"x")
    sock.recv(1)
    fd = sock.fileno()
    forget = io._forget

    def meanwhile(fd: int, read: Any) -> bool:
        getattr(sock, again)()
        return forget(fd, read)

    monkeypatch.setattr(io, "_forget", meanwhile)
    sock.close()
    assert not is_open(fd)
    other.close()


def test_the_last_loop_closes(hub: Hub) -> None:
    """A descriptor that several threads' loops watch is closed when all have forgotten it, not when the first has."""
    told: list[int] = []
    loop: Any = SimpleNamespace(descriptor_closing=told.append)
    fd = os.open(os.devnull, os.O_RDONLY)
    waiting = [io._Closing(fd)] * 3
    while waiting:
        assert is_open(fd)
        io._close_here(loop, waiting.pop())
    gc.collect()  # nothing to do where references are counted
    assert told == [fd] * 3
    assert not is_open(fd)


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_the_other_loop_is_destroyed_first(hub: Hub, how: str) -> None:
    """A socket that another loop is to close is closed also if that loop is destroyed before its next turn."""
    one, peer = socket.socketpair()
    box = [Socket(fileno=one.detach())]
    fd = box[0].fileno()
    used, ending = threading.Event(), threading.Event()

    def use() -> None:
        hubbub.spawn(peer.send, b"x")
        box[0].recv(1)
        used.set()
        ending.wait(50)  # natively: the loop has no turn meanwhile
        hubbub.get_hub().destroy()

    thread = threading.Thread(target=use)
    thread.start()
    assert used.wait(50)
    if how == "closed":
        box[0].close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        box.clear()
    assert is_open(fd)
    ending.set()
    thread.join(50)
    gc.collect()  # as above
    assert not is_open(fd)
    peer.close()
