"""When the pieces of a response leave: sending.Sender."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_server import Limits
from hubbub_server.http import sending
from hubbub_server.http.clock import Clock
from hubbub_server.http.sending import LONGEST_HOLD, QUICK, Sender

pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_MORE"), reason="pieces are held by MSG_MORE")


class Trial:
    """A sender whose clock stands, what it sends, and its client."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.held: list[bytes] = []
        """What was given to the kernel to be held."""
        send = sending._send

        def hold(sock: Any, data: bytes, flags: int) -> int:
            assert flags == socket.MSG_MORE
            self.held.append(data)
            return int(send(sock, data, flags))

        monkeypatch.setattr(sending, "_send", hold)
        monkeypatch.setattr(sending, "monotonic", lambda: self.now)
        with Socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.client = Socket()
            self.client.settimeout(10.0)
            self.client.connect(listener.getsockname())
            self.sock = listener.accept()[0]
        self.sender = Sender(self.sock, Clock(Limits()))

    def give(self, *pieces: bytes) -> None:
        """Send each."""
        for piece in pieces:
            self.sender.send_piece(piece)

    def received(self, size: int) -> bytes:
        """What the client has, once it is so much."""
        data = b""
        while len(data) < size:
            data += self.client.recv(100)
        return data


@pytest.fixture
def trial(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """A sender and its client."""
    made = Trial(monkeypatch)
    yield made
    made.sock.close()
    made.client.close()


def test_the_first_is_not_held(trial: Trial) -> None:
    """A piece leaves at once, unless it follows close behind another."""
    trial.give(b"a")
    trial.now += QUICK * 2
    trial.give(b"b")
    assert trial.held == []
    assert trial.received(2) == b"ab"


def test_a_series(trial: Trial) -> None:
    """Pieces that come close behind one another are held, until one is late."""
    trial.give(b"a", b"b", b"c")
    assert trial.held == [b"b", b"c"]
    trial.now += QUICK * 2
    trial.give(b"d")
    assert trial.held == [b"b", b"c"]
    assert not trial.sender._held
    assert trial.received(4) == b"abcd"


def test_a_long_series(trial: Trial) -> None:
    """However long a series is, what it has brought leaves after a millisecond."""
    for _ in range(50):
        trial.give(b"x")
        trial.now += QUICK / 2
    assert 50 - len(trial.held) == 1 + int(50 * QUICK / 2 / LONGEST_HOLD)
    trial.sender.send(b"")
    assert trial.received(50) == b"x" * 50


def test_a_wait(trial: Trial) -> None:
    """What is held leaves when the greenlet waits, for whatever."""
    trial.give(b"a", b"b")
    assert trial.sender._held
    hubbub.sleep(0)
    assert not trial.sender._held
    assert trial.received(2) == b"ab"
    trial.give(b"c", b"d")
    assert trial.held == [b"b", b"c", b"d"]
    hubbub.sleep(0)
    assert not trial.sender._held


def test_many_connections(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """One callback is queued for all connections for which something is held, and another after it has run."""
    others = [Trial(monkeypatch) for _ in range(3)]
    loop = hubbub.get_hub().loop
    for _ in range(2):
        before = len(loop.ready)
        for each in [trial, *others]:
            each.give(b"a", b"b")
            assert each.sender._held
            each.sender.send(b"c")
            each.give(b"d", b"e")
            assert each.sender._held
        assert len(loop.ready) == before + 1
        hubbub.sleep(0)
        assert not any(each.sender._held for each in [trial, *others])
        for each in [trial, *others]:
            assert each.received(5) == b"abcde"
            each.now += 1.0
    for each in others:
        each.sock.close()
        each.client.close()


def test_after_a_fork(trial: Trial) -> None:
    """In a child, where the callback is lost with the run queue, what was held leaves at once."""
    trial.give(b"a", b"b")
    hub = hubbub.get_hub()
    hub.loop.ready.clear()
    sending._holders.renew(sending._holders.get(hub))
    assert not trial.sender._held
    assert trial.received(2) == b"ab"
    trial.give(b"c", b"d")
    assert trial.sender._held
    hubbub.sleep(0)
    assert not trial.sender._held
    assert trial.received(2) == b"cd"


def test_the_end(trial: Trial) -> None:
    """What is held leaves with the end of the response, and nothing is left to do."""
    trial.give(b"a", b"b")
    trial.sender.send(b"end")
    assert not trial.sender._held
    assert trial.received(5) == b"abend"


def test_a_failure(trial: Trial) -> None:
    """When the response is broken off the client has what was given before."""
    trial.give(b"a", b"b")
    trial.sender.abort()
    assert trial.received(2) == b"ab"
    with pytest.raises(ConnectionResetError):
        trial.client.recv(1)


def test_a_client_that_is_gone(trial: Trial) -> None:
    """A piece that cannot be sent is an error, held or not, and a callback that is late harms nobody."""
    trial.give(b"a", b"b")
    trial.sock.close()
    with pytest.raises(sending.ClientDisconnected):
        trial.give(b"c")
    hubbub.sleep(0)


def test_a_thread_without_a_hub(trial: Trial) -> None:
    """Where nothing can be done when the thread waits, nothing is held."""
    thread = threading.Thread(target=trial.give, args=(b"a", b"b"))
    thread.start()
    assert trial.received(2) == b"ab"
    thread.join(10.0)
    assert trial.held == []


def test_other_sockets(trial: Trial) -> None:
    """What is no plain socket of hubbub's, such as TLS, has each piece sent at once."""
    trial.sender.sock = type("Other", (Socket,), {})(fileno=trial.sock.detach())
    trial.give(b"a", b"b")
    assert trial.held == []
    trial.sender.sock.close()
