"""What callbacks and rounds promise: each test holds for those in C and for those in Python."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import sys
from collections import deque
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
