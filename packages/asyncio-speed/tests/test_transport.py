"""What the stream transport promises: each test holds for the one in C and for the one in Python."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hubbub_asyncio import run

pytestmark = pytest.mark.usefixtures("hub", "methods")


class Keeper(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lost: list[BaseException | None] = []
        self.ended = asyncio.get_running_loop().create_future()
        self.came = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """A piece."""
        self.pieces.append(data)
        self.came.set()

    def connection_lost(self, error: BaseException | None) -> None:
        """The end."""
        self.lost.append(error)
        self.ended.set_result(None)


def with_pair(
    test: Callable[[Any, Any, socket.socket], Any],
    protocol: Callable[[], Any] = Keeper,
    kind: type[socket.socket] = socket.socket,
) -> None:
    """Run ``test(transport, protocol, peer)``; the peer is a socket that does not wait."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            accepted = kind(fileno=server.accept()[0].detach())
        peer.setblocking(False)
        with peer:
            loop = asyncio.get_running_loop()
            transport, made = await loop.create_connection(protocol, sock=accepted)
            try:
                async with asyncio.timeout(20):
                    await test(transport, made, peer)
            finally:
                transport.abort()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    run(main())


def test_messages() -> None:
    """What is sent comes, what is written goes; an end is told once."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, b"hello")
        await keeper.came.wait()
        assert b"".join(keeper.pieces) == b"hello"
        for data in (b"a", b"", bytearray(b"b"), memoryview(b"c")):
            transport.write(data)
        transport.write(data=b"d")
        found = b""
        while len(found) < 4:
            found += await loop.sock_recv(peer, 10)
        assert found == b"abcd"
        peer.shutdown(socket.SHUT_WR)
        await keeper.ended
        assert keeper.lost == [None]

    with_pair(test)


def test_much() -> None:
    """Much comes whole and in order, in pieces that grow; what the kernel does not take at once is sent later."""
    data = b"".join(b"%07d\n" % number for number in range(200_000))

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, data)
        while sum(map(len, keeper.pieces)) < len(data):
            keeper.came.clear()
            await keeper.came.wait()
        assert b"".join(keeper.pieces) == data
        assert max(map(len, keeper.pieces)) <= 65536
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        for start in range(0, len(data), 60_000):
            transport.write(data[start : start + 60_000])
        assert transport.get_write_buffer_size()
        found = []
        while sum(map(len, found)) < len(data):
            found.append(await loop.sock_recv(peer, 1 << 20))
        assert b"".join(found) == data

    with_pair(test)


def test_a_reset() -> None:
    """A connection that is reset while it is read ends with that error."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await keeper.ended
        assert isinstance(keeper.lost[0], ConnectionResetError)
        transport.write(b"x")  # it is dropped

    with_pair(test)


def test_a_write_that_fails() -> None:
    """It ends the connection with its error, and write raises nothing."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        transport.get_extra_info("socket").shutdown(socket.SHUT_WR)
        transport.write(b"x")
        await keeper.ended
        assert isinstance(keeper.lost[0], BrokenPipeError)

    with_pair(test)


def test_what_cannot_be_written() -> None:
    """It is refused with a TypeError; after write_eof everything is, with a RuntimeError."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        with pytest.raises(TypeError, match="bytes"):
            transport.write("text")
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"x")

    with_pair(test)


class Failing(Keeper):
    """Fails at each piece."""

    def data_received(self, data: bytes) -> None:
        """Fail."""
        raise ValueError("mine")


def test_a_protocol_that_fails() -> None:
    """An error of a protocol is told to the exception handler, and ends the connection."""
    told: list[Any] = []

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        await loop.sock_sendall(peer, b"x")
        await keeper.ended
        assert repr(keeper.lost[0]) == repr(told[0]["exception"]) == "ValueError('mine')"
        assert told[0]["protocol"] is keeper
        assert told[0]["message"] == "Fatal error: protocol.data_received() call failed."

    with_pair(test, Failing)


def test_another_protocol() -> None:
    """A protocol that is set later gets what comes from then on, also one with a buffer of its own."""

    class Buffered(asyncio.BufferedProtocol):
        """Has a buffer."""

        def __init__(self) -> None:
            self.buffer = bytearray(10)
            self.came = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            """It."""
            return self.buffer

        def buffer_updated(self, count: int) -> None:
            """So much has come."""
            self.came.set_result(bytes(self.buffer[:count]))

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        buffered = Buffered()
        transport.set_protocol(buffered)
        await loop.sock_sendall(peer, b"one")
        assert await buffered.came == b"one"
        transport.set_protocol(keeper)
        await loop.sock_sendall(peer, b"two")
        await keeper.came.wait()
        assert keeper.pieces == [b"two"]

    with_pair(test)


def test_reading_pauses() -> None:
    """Nothing comes while reading is paused."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport.pause_reading()
        await loop.sock_sendall(peer, b"x")
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not keeper.pieces
        transport.resume_reading()
        await keeper.came.wait()
        assert keeper.pieces == [b"x"]

    with_pair(test)


class Counting(socket.socket):
    """Counts what is done by its methods."""

    received = sent = 0

    def recv(self, *args: Any) -> bytes:
        """Receive."""
        self.received += 1
        return super().recv(*args)

    def send(self, *args: Any) -> int:
        """Send."""
        self.sent += 1
        return super().send(*args)


def test_a_socket_with_methods_of_its_own() -> None:
    """They are called."""

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, b"x")
        await keeper.came.wait()
        transport.write(b"y")
        assert await loop.sock_recv(peer, 10) == b"y"
        assert transport._sock.received
        assert transport._sock.sent

    with_pair(test, kind=Counting)


def test_methods_of_sockets_that_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on those are called that were set in their place."""
    seen: list[Any] = []

    def send(sock: socket.socket, data: bytes) -> int:
        seen.append(data)
        return len(data)

    def recv(sock: socket.socket, size: int) -> bytes:
        seen.append(size)
        raise BlockingIOError

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        transport.write(b"x")
        assert await loop.sock_recv(peer, 10) == b"x"
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "send", send)
            patch.setattr(socket.socket, "recv", recv)
            transport.write(b"y")
            transport._read_ready()
        transport.write(b"z")
        assert await loop.sock_recv(peer, 10) == b"z"
        assert seen == [b"y", transport.max_size]

    with_pair(test)


def test_a_socket_that_was_closed() -> None:
    """If somebody has closed the socket of a transport, that ends; another one that got its number is left alone."""
    others, peer_of_others = socket.socketpair()

    async def test(transport: Any, keeper: Keeper, peer: socket.socket) -> None:
        number = transport._sock.fileno()
        transport._sock.close()
        os.dup2(others.fileno(), number)
        try:
            peer_of_others.send(b"for the others")
            transport._read_ready()
            transport.write(b"not for the others")
            await keeper.ended
        finally:
            os.close(number)
        assert isinstance(keeper.lost[0], OSError)

    with others, peer_of_others:
        with_pair(test)
        assert others.recv(100) == b"for the others"
        peer_of_others.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer_of_others.recv(100)


def test_a_transport_that_was_not_made() -> None:
    """One whose making has failed is dropped without a word."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop: Any = asyncio.get_running_loop()
            with pytest.raises(TypeError):
                loop._make_socket_transport(ours, Keeper(), nothing=1)
            gc.collect()

    run(main())
