"""``create_connection``: Happy Eyeballs, RFC 8305, on addresses of this machine that answer, refuse or stay silent."""

from __future__ import annotations

import errno
import gc
import os
import socket as stdlib
from collections.abc import Callable, Iterator
from typing import Any

import hubbub
import pytest
from hubbub.abc import AddressInfo
from hubbub.lowlevel import Hub
from hubbub_net import _connect, socket

Know = Callable[[dict[str, list[str]]], Any]


@pytest.fixture
def port(hub: Hub) -> Iterator[int]:
    """A port where 127.0.0.1 and ::1 answer."""
    while True:
        one = socket.create_server(("127.0.0.1", 0))
        try:
            other = socket.create_server(("::1", one.getsockname()[1]), family=stdlib.AF_INET6)
        except OSError:
            one.close()
            continue
        break
    with one, other:
        yield one.getsockname()[1]


class Silence:
    """Addresses that drop all attempts to connect to ``port``, because their queues are full."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.kept: list[stdlib.socket] = []
        self.listeners: dict[str, stdlib.socket] = {}

    def __call__(self, address: str) -> str:
        listener = self.listeners[address] = stdlib.socket()
        listener.bind((address, self.port))
        listener.listen(0)
        while True:
            filler = stdlib.socket()
            filler.settimeout(0.1)
            try:
                filler.connect((address, self.port))
            except TimeoutError:
                filler.close()
                return address
            self.kept.append(filler)

    def answer(self, address: str) -> None:
        """From now on there is room in the queue: the next repetition of an attempt succeeds."""
        self.listeners[address].setblocking(False)
        while True:
            try:
                self.kept.append(self.listeners[address].accept()[0])
            except BlockingIOError:
                return


@pytest.fixture
def silent(port: int) -> Iterator[Silence]:
    silence = Silence(port)
    yield silence
    for sock in (*silence.kept, *silence.listeners.values()):
        sock.close()


def info(address: str) -> AddressInfo:
    return (stdlib.AF_INET6 if ":" in address else stdlib.AF_INET, stdlib.SOCK_STREAM, 6, "", (address, 80))


def test_families_take_turns() -> None:
    """The first address stays first, then the families alternate, each in its own order."""
    found = [info(address) for address in ("1::", "2::", "3::", "1.0.0.1", "1.0.0.2")]
    mixed = [entry[4][0] for entry in _connect.interleaved(found)]
    assert mixed == ["1::", "1.0.0.1", "2::", "1.0.0.2", "3::"]


def test_the_first_address_that_answers_is_used(port: int, know: Know) -> None:
    """With several living addresses the first one is connected to."""
    know({"here.test": ["::1", "127.0.0.1"]})
    with socket.create_connection(("here.test", port)) as sock:
        assert sock.getpeername()[0] == "::1"
    know({"here.test": ["127.0.0.1", "::1"]})
    with socket.create_connection(("here.test", port)) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_a_refusal_leads_to_the_next_address_at_once(port: int, know: Know, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused attempt does not wait for the delay between attempts."""
    monkeypatch.setattr(_connect, "ATTEMPT_DELAY", 3600.0)
    know({"here.test": ["127.0.0.9", "127.0.0.8", "127.0.0.1"]})
    with socket.create_connection(("here.test", port), timeout=5) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


def test_a_silent_first_address_costs_250_milliseconds(
    port: int, know: Know, silent: Silence, hub: Hub, ticks: list[int]
) -> None:
    """A first address that never answers delays the connection by a quarter of a second, and others run meanwhile."""
    know({"here.test": [silent("127.0.0.2"), "127.0.0.1"]})
    started, before = hub.loop.update_now(), ticks[0]
    with socket.create_connection(("here.test", port), timeout=30) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"
        assert sock.gettimeout() == 30
    assert 0.24 < hub.loop.update_now() - started < 2.0
    assert ticks[0] - before >= 2


def test_losers_are_closed(port: int, know: Know, silent: Silence, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one attempt has won, no descriptor and no greenlet of the others is left."""
    monkeypatch.setattr(_connect, "ATTEMPT_DELAY", 0.01)
    know({"here.test": [silent("127.0.0.2"), silent("127.0.0.3"), "127.0.0.1"]})
    before = len(os.listdir("/proc/self/fd"))
    socket.create_connection(("here.test", port)).close()
    hubbub.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before
    gc.collect()
    assert not [
        found
        for found in gc.get_objects()
        if isinstance(found, hubbub.Greenlet) and not found.dead and "_finish" in repr(found)
    ]


def test_a_slow_address_may_still_win(port: int, know: Know, silent: Silence, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt goes on while later ones fail, and is used when it succeeds at last."""
    monkeypatch.setattr(_connect, "ATTEMPT_DELAY", 0.01)
    know({"here.test": [silent("127.0.0.2"), "127.0.0.9"]})
    hubbub.spawn_later(0.1, silent.answer, "127.0.0.2")
    with socket.create_connection(("here.test", port), timeout=30) as sock:
        assert sock.getpeername()[0] == "127.0.0.2"


def test_the_time_limit_is_for_each_attempt(
    port: int, know: Know, silent: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody answers the last error is TimeoutError."""
    monkeypatch.setattr(_connect, "ATTEMPT_DELAY", 0.01)
    know({"here.test": ["127.0.0.9", silent("127.0.0.2")]})
    with pytest.raises(TimeoutError):
        socket.create_connection(("here.test", port), timeout=0.05)


def test_all_errors_in_order(port: int, know: Know, silent: Silence, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``all_errors`` every address's error is raised in the order of the addresses, however they ended."""
    monkeypatch.setattr(_connect, "ATTEMPT_DELAY", 0.01)
    know({"here.test": [silent("127.0.0.2"), "127.0.0.9", "127.0.0.8"]})
    with pytest.raises(ExceptionGroup) as caught:
        socket.create_connection(("here.test", port), timeout=0.1, all_errors=True)
    assert [type(error) for error in caught.value.exceptions] == [
        TimeoutError,
        ConnectionRefusedError,
        ConnectionRefusedError,
    ]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("here.test", port), timeout=0.1)


def test_an_interrupted_attempt_leaves_nothing(port: int, know: Know, silent: Silence) -> None:
    """A Timeout around ``create_connection`` ends it and closes its sockets."""
    know({"here.test": [silent("127.0.0.2"), silent("127.0.0.3")]})
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(hubbub.Timeout), hubbub.Timeout(0.02):
        socket.create_connection(("here.test", port))
    hubbub.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_source_address(port: int) -> None:
    """``source_address`` is bound to; one that cannot be bound is the error."""
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.7", 0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.7"
    with pytest.raises(OSError) as caught:
        socket.create_connection(("127.0.0.1", port), source_address=("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_nonblocking_attempts_do_not_wait(port: int, know: Know, silent: Silence) -> None:
    """With a time limit of 0 an attempt that would wait is BlockingIOError."""
    know({"here.test": [silent("127.0.0.2")]})
    with pytest.raises(BlockingIOError):
        socket.create_connection(("here.test", port), timeout=0)


def test_errors_do_not_keep_sockets_alive(port: int, know: Know) -> None:
    """A caught error holds no reference cycle: the sockets are gone without the garbage collector."""
    know({"here.test": ["127.0.0.9", "127.0.0.8"]})
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("here.test", port))
        assert gc.collect() < 60
    finally:
        gc.enable()


def test_errors_of_a_single_address(port: int) -> None:
    """With ``all_errors`` one address gives an ExceptionGroup too."""
    with pytest.raises(ExceptionGroup) as caught:
        socket.create_connection(("127.0.0.9", port), all_errors=True)
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError]
    with pytest.raises(ExceptionGroup):
        socket.create_connection(("127.0.0.1", port), source_address=("192.0.2.1", 0), all_errors=True)
