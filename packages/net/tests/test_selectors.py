"""``hubbub_net.selectors``: every selector class, waiting without blocking the thread."""

from __future__ import annotations

import asyncio
import re
import selectors as stdlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.event import AsyncResult
from hubbub.lowlevel import Hub
from hubbub_net import selectors, socket

README = Path(__file__).resolve().parent.parent / "README.md"
NAMES = [name for name in dir(stdlib) if name.endswith("Selector") and not name.startswith(("_", "Base"))]
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair(hub: Hub) -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture(params=NAMES)
def selector(request: pytest.FixtureRequest, hub: Hub) -> Iterator[Any]:
    with getattr(selectors, request.param)() as selector:
        yield selector


def test_every_public_name_of_the_standard_library_is_there() -> None:
    """Whatever ``selectors`` defines can be had from ``hubbub_net.selectors``."""
    assert not [name for name in dir(stdlib) if not name.startswith("_") and not hasattr(selectors, name)]


def test_the_default_is_that_of_the_standard_library() -> None:
    """``DefaultSelector`` is the cooperative class of the standard library's choice."""
    assert selectors.DefaultSelector.__name__ == stdlib.DefaultSelector.__name__
    assert issubclass(selectors.DefaultSelector, stdlib.DefaultSelector)


@pytest.mark.parametrize("name", NAMES)
def test_after_patching(hub: Hub, pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A class still does the standard library's work when it stands in the standard library's place."""
    monkeypatch.setattr(stdlib, name, getattr(selectors, name))
    one, other = pair
    with getattr(stdlib, name)() as selector:
        if hasattr(selector, "fileno"):
            assert selector.fileno() >= 0
        key = selector.register(one, stdlib.EVENT_READ)
        hubbub.spawn(other.send, b"x")
        assert selector.select(5) == [(key, stdlib.EVENT_READ)]


def test_select_waits_while_others_run(selector: Any, pair: Pair, meanwhile: Callable[..., None]) -> None:
    """``select`` returns key and events when data comes, again and again, and others run meanwhile."""
    one, other = pair
    key = selector.register(one, stdlib.EVENT_READ, "data")
    for _ in range(3):
        meanwhile(other.send, b"x")
        assert selector.select() == [(key, stdlib.EVENT_READ)]
        one.recv(1)


def test_select_times_out(selector: Any, pair: Pair) -> None:
    """Nothing in time is an empty list, with 0 and negative limits at once."""
    selector.register(pair[0], stdlib.EVENT_READ)
    for timeout in (0.01, 0, -1):
        assert selector.select(timeout) == []


def test_events_can_be_changed(selector: Any, pair: Pair) -> None:
    """``modify`` and ``unregister`` count at the next ``select``."""
    one, _ = pair
    selector.register(one, stdlib.EVENT_READ)
    key = selector.modify(one, stdlib.EVENT_READ | stdlib.EVENT_WRITE)
    assert selector.select(5) == [(key, stdlib.EVENT_WRITE)]
    selector.unregister(one)
    assert selector.select(0.01) == []


def test_registering_during_a_wait(pair: Pair) -> None:
    """A descriptor that another greenlet registers while the default selector waits ends the wait when it is ready."""
    one, _ = pair
    with selectors.DefaultSelector() as selector:
        waiting = hubbub.spawn(selector.select, 10)
        hubbub.sleep(0)
        key = selector.register(one, stdlib.EVENT_WRITE)
        assert waiting.get(timeout=5) == [(key, stdlib.EVENT_WRITE)]


def test_a_busy_selector_gives_way(selector: Any, pair: Pair) -> None:
    """A loop around a selector that always finds events lets other greenlets run."""
    selector.register(pair[0], stdlib.EVENT_WRITE)
    ran: list[int] = []
    hubbub.spawn(ran.append, 1)
    for _ in range(3):
        assert selector.select()
    assert ran


def test_closing_twice(selector: Any) -> None:
    """``close`` may be called again."""
    selector.close()
    selector.close()


def test_asyncio_runs_in_a_greenlet(hub: Hub, serve: Any, ticks: list[int]) -> None:
    """asyncio's own event loop, unmodified, serves sockets and timers in a greenlet while others go on."""

    async def talk(address: Any) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"hello")
        await asyncio.sleep(0.02)
        data = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return data

    async def talk_often(address: Any) -> list[bytes]:
        return await asyncio.gather(*(talk(address) for _ in range(10)))

    def run(address: Any) -> list[bytes]:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.DefaultSelector())) as runner:
            return runner.run(talk_often(address))

    def echo(sock: socket.socket) -> None:
        while data := sock.recv(100):
            sock.sendall(data)

    before = ticks[0]
    assert hubbub.spawn(run, serve(echo)).get(timeout=10) == [b"hello"] * 10
    assert ticks[0] > before


def test_greenlets_ask_asyncio(hub: Hub) -> None:
    """Coroutines handed to a running asyncio loop by many greenlets at once are run, and their errors come back."""
    (snippet,) = re.findall(r">>> (def ask\(loop.*?)\n>>>", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {"AsyncResult": AsyncResult}
    exec(re.sub(r"^\.\.\. ", "", snippet, flags=re.MULTILINE), names)

    async def half(number: int) -> float:
        await asyncio.sleep(0.001 * number)
        return 1 / number

    async def give_up() -> None:
        raise asyncio.CancelledError

    loop = asyncio.SelectorEventLoop(selectors.DefaultSelector())
    running = hubbub.spawn(loop.run_forever)
    try:
        asking = [hubbub.spawn(names["ask"], loop, half(number)) for number in (5, 4, 2, 1)]
        assert [greenlet.get(timeout=10) for greenlet in asking] == [0.2, 0.25, 0.5, 1.0]
        with pytest.raises(ZeroDivisionError):
            names["ask"](loop, half(0))
        with pytest.raises(asyncio.CancelledError):
            names["ask"](loop, give_up())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        running.join(timeout=10)
        loop.close()


def test_a_busy_asyncio_loop_gives_way(hub: Hub) -> None:
    """asyncio tasks that never sleep do not starve other greenlets."""
    ran: list[int] = []

    async def spin() -> int:
        for turn in range(1000):
            if ran:
                return turn
            await asyncio.sleep(0)
        return -1

    def run() -> int:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.DefaultSelector())) as runner:
            hubbub.spawn(ran.append, 1)
            return runner.run(spin())

    assert 0 <= hubbub.spawn(run).get(timeout=10) < 10
