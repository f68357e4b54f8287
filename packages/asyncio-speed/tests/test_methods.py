"""What the methods promise: each test holds for those in C and for those in Python."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import socket
import struct
import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import hubbub
import pytest
from hubbub_asyncio import HubEventLoop, await_, new_event_loop, run

pytestmark = pytest.mark.usefixtures("hub", "methods")

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)


def test_order_arguments_and_contexts() -> None:
    """Callbacks run in their order, with their arguments, each in its context."""
    seen: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        context.run(VARIABLE.set, 7)
        loop.call_soon(lambda *args: seen.append((args, VARIABLE.get())), 1, 2)
        loop.call_soon(lambda: seen.append(VARIABLE.get()), context=context)
        loop.call_soon(lambda: seen.append(VARIABLE.get()), context=None)
        VARIABLE.set(3)
        loop.call_soon(lambda: seen.append(VARIABLE.get()))
        await asyncio.sleep(0)

    run(main())
    assert seen == [((1, 2), 0), 7, 0, 3]


def test_a_handle() -> None:
    """call_soon returns a handle of asyncio's, which can be cancelled until it is called."""
    seen: list[int] = []

    async def main() -> None:
        handle = asyncio.get_running_loop().call_soon(seen.append, 1)
        assert isinstance(handle, asyncio.Handle)
        assert not handle.cancelled()
        assert "append" in repr(handle)
        handle.cancel()
        assert handle.cancelled()
        await asyncio.sleep(0)

    run(main())
    assert not seen


@pytest.mark.parametrize(("args", "options"), [((), {}), ((print,), {"other": 1}), ((print,), {"context": 3})])
def test_wrong_arguments(args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """What cannot be called is an error, at the latest when it is called."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        failures: list[Any] = []
        loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))
        try:
            loop.call_soon(*args, **options)
            await asyncio.sleep(0)
        except (TypeError, AttributeError):
            return
        assert failures

    run(main())


def test_a_callback_that_fails() -> None:
    """The event loop's exception handler is told, as in an except clause, and the next callback runs."""
    told: list[dict[str, Any]] = []
    seen: list[BaseException | None] = []

    def fails() -> None:
        raise ValueError("mine")

    def hears(loop: Any, context: dict[str, Any]) -> None:
        told.append(context)
        seen.append(sys.exception())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(hears)
        handle = loop.call_soon(fails)
        loop.call_soon(lambda: seen.append(sys.exception()))
        await asyncio.sleep(0)
        assert told[0]["handle"] is handle

    run(main())
    assert seen == [told[0]["exception"], None]
    assert repr(told[0]["exception"]) == "ValueError('mine')"
    assert "fails" in told[0]["message"]
    assert told[0]["exception"].__traceback__ is not None


def test_a_handler_that_ends_the_program() -> None:
    """What the exception handler raises to end the program comes out of the event loop."""
    loop = new_event_loop()

    def hears(loop: Any, context: dict[str, Any]) -> None:
        raise SystemExit(context["exception"])

    loop.set_exception_handler(hears)
    loop.call_soon(divmod, 1, 0)
    with pytest.raises(SystemExit) as ended:
        loop.run_forever()
    assert isinstance(ended.value.__context__, ZeroDivisionError)
    assert sys.exception() is None
    loop.close()


def test_a_handle_that_is_cancelled_while_it_runs() -> None:
    """It runs to its end; an error of its is told."""
    told: list[BaseException] = []
    handles: list[asyncio.Handle] = []

    def callback(thing: object) -> None:
        handles.pop().cancel()
        gc.collect()
        raise ValueError(thing)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        handles.append(loop.call_soon(callback, "mine"))
        await asyncio.sleep(0)

    run(main())
    assert repr(told) == "[ValueError('mine')]"


def test_a_context_that_is_entered(caplog: pytest.LogCaptureFixture) -> None:
    """A callback whose context is entered already is not called, and that is told."""
    told: list[BaseException] = []
    called: list[int] = []
    context = contextvars.copy_context()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        loop.call_soon(called.append, 1, context=context)
        await asyncio.sleep(0)

    context.run(run, main())
    assert not called
    # From 3.12 on the handler is to run in that context, too. It cannot, which is logged.
    assert "already entered" in (repr(told[0]) if sys.version_info < (3, 12) else caplog.text)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_ends_the_program(kind: type[BaseException]) -> None:
    """Such an exception ends the event loop, and comes out of it; what is left runs when it runs on."""
    seen: list[int] = []
    loop = new_event_loop()

    def ends() -> None:
        raise kind

    loop.call_soon(ends)
    loop.call_soon(seen.append, 1)
    with pytest.raises(kind):
        loop.run_forever()
    assert not seen
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]
    loop.close()


def test_a_closed_event_loop() -> None:
    """It takes no callbacks."""
    loop = new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)


def test_debug_mode_and_futures() -> None:
    """Futures are the event loop's; the debug mode is heeded as soon as it is switched on."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.get_debug() is False
        future = loop.create_future()
        assert future.get_loop() is loop
        future.cancel()
        loop.set_debug(True)
        assert loop.get_debug() is True
        with pytest.raises(TypeError, match="callable"):
            loop.call_soon(3)  # type: ignore[arg-type]  # it is what the test is about
        await asyncio.sleep(0)

    run(main())


def test_slow_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    """In debug mode what took long is logged, also if it was queued before that was switched on."""

    def slow_one() -> None:
        """Takes as long as is too long."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.0
        loop.call_soon(slow_one)
        loop.set_debug(True)
        await asyncio.sleep(0)
        loop.set_debug(False)

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert "slow_one" in caplog.text
    assert "seconds" in caplog.text


def test_a_subclass() -> None:
    """What a subclass has in place of the methods is called."""
    calls: list[str] = []

    class Counting(HubEventLoop):
        """Notes what is called."""

        def call_soon(self, callback: Any, *args: Any, **options: Any) -> asyncio.Handle:
            """Call soon."""
            calls.append("soon")
            return super().call_soon(callback, *args, **options)

        def _wake(self) -> None:
            calls.append("wake")
            super()._wake()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        hubbub.spawn(future.set_result, 5)
        assert await future == 5

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(main())
    assert {"soon", "wake"} <= set(calls)


def test_another_queue() -> None:
    """What is ready may be in a queue of another class."""

    class Queue(deque[Any]):
        """One that counts."""

        taken = 0

        def popleft(self) -> Any:
            """Take the first."""
            self.taken += 1
            return super().popleft()

    async def main() -> None:
        await asyncio.sleep(0.001)

    loop: Any = new_event_loop()
    loop._ready = queue = Queue()
    loop.run_until_complete(main())
    loop.close()
    assert queue.taken > 1


def test_handles_are_collected() -> None:
    """A handle that its own callback refers to is found by the garbage collector."""

    class Thing:
        """Can be referred to weakly."""

    async def main() -> None:
        thing: Any = Thing()
        reference = weakref.ref(thing)
        thing.handle = asyncio.get_running_loop().call_soon(id, thing)
        del thing
        await asyncio.sleep(0)
        gc.collect()
        assert reference() is None

    run(main())


def test_handles_that_somebody_keeps() -> None:
    """They stay what they were when they have been called; later ones are others."""
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = [loop.call_soon(seen.append, number) for number in range(100)]
        await asyncio.sleep(0)
        for number in range(200, 300):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)
        again = [loop.call_soon(seen.append, number) for number in range(100, 200)]
        assert len({*map(id, kept), *map(id, again)}) == 200
        assert all("append" in repr(handle) for handle in kept)
        kept[5].cancel()
        await asyncio.sleep(0)

    run(main())
    assert seen == [*range(100), *range(200, 300), *range(100, 200)]


def test_handles_that_nobody_keeps() -> None:
    """They are gone when they have been called, for weak references and the garbage collector, too."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reference = weakref.ref(loop.call_soon(id, 1))
        kind = type(reference())
        for _ in range(10):
            loop.call_soon(id, 1)
        await asyncio.sleep(0)
        assert reference() is None
        left = [handle for handle in gc.get_objects() if type(handle) is kind and handle._callback is id]
        assert not left
        assert not any(type(thing) is kind and not hasattr(thing, "_loop") for thing in gc.get_objects())

    run(main())


def test_rounds() -> None:
    """A greenlet that waits in the event loop can be killed, when nothing is to do and when something is."""
    seen: list[int] = []
    loop = new_event_loop()
    for busy in (False, True):
        worker = hubbub.spawn(loop.run_forever)
        hubbub.sleep(0)
        hubbub.sleep(0)
        if busy:
            loop.call_soon(seen.append, 1)
        worker.kill()
        assert worker.dead
        assert not loop.is_running()
    loop.call_soon(seen.append, 2)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert seen == [1, 2]


def test_callbacks_that_wait() -> None:
    """A callback that waits by await_ leaves the others of its round to a stand-in: each runs once, in order."""
    seen: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: await_(asyncio.sleep(0.001)))
        for number in range(5):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0.002)

    run(main())
    assert seen == [0, 1, 2, 3, 4]


def test_nothing_is_kept() -> None:
    """What a callback was given is dropped when it has run."""

    class Thing:
        """Can be referred to weakly."""

    async def main() -> None:
        thing = Thing()
        reference = weakref.ref(thing)
        asyncio.get_running_loop().call_soon(id, thing)
        del thing
        await asyncio.sleep(0)
        assert reference() is None

    run(main())


def test_no_reference_is_lost_or_left() -> None:
    """Rounds of callbacks leave the counts of references as they were."""
    seen: list[int] = []

    def callback(number: int) -> None:
        seen.append(number)

    async def rounds(count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            loop.call_soon(callback, 5)
            loop.call_soon(callback, 5, context=contextvars.copy_context())
            loop.create_future().cancel()
            await asyncio.sleep(0)

    async def main() -> None:
        await rounds(5)
        gc.collect()
        before = sys.getrefcount(callback), sys.getrefcount(asyncio.get_running_loop())
        await rounds(1000)
        gc.collect()
        after = sys.getrefcount(callback), sys.getrefcount(asyncio.get_running_loop())
        assert all(now <= then + 2 for then, now in zip(before, after, strict=True))

    run(main())


def test_a_reader_that_is_called_again_and_again() -> None:
    """A reader is called for as long as there is something, also after it has waited for longer than a turn."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    seen: list[bytes] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def read() -> None:
            hubbub.sleep(0.002)  # meanwhile it is reported once more
            seen.append(ours.recv(1))
            if len(seen) == 3:
                loop.remove_reader(ours)
                done.set_result(None)

        loop.add_reader(ours, read)
        theirs.send(b"abc")
        await done

    run(main())
    assert seen == [b"a", b"b", b"c"]
    ours.close()
    theirs.close()


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
