"""The event loop on the hub: what asyncio promises, and that greenlets run beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import weakref

import hubbub
import pytest
import trustme
from hubbub import sleep, spawn
from hubbub.exceptions import InvalidThreadUseError
from hubbub.io import Socket
from hubbub_asyncio import HubEventLoop, acceleration, new_event_loop, run


@pytest.fixture(autouse=True, params=["python", "c"])
def methods(request):
    """Runs a test twice: with the methods in Python, and with those of hubbub-asyncio-speed if that is installed."""
    if request.param == "c":
        pytest.importorskip("hubbub_asyncio_speed")
    acceleration.slow_down()
    hubbub.configure(accelerators=None if request.param == "c" else False)
    yield
    hubbub.configure(accelerators=None)


@pytest.fixture
def loop(hub):
    loop = new_event_loop()
    yield loop
    if not loop.is_closed():
        loop.close()


def test_run(hub):
    """``run`` returns what the coroutine returns and raises what it raises, and closes its event loop."""
    loops = []

    async def value():
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return 7

    async def failing():
        raise KeyError("mine")

    assert run(value()) == 7
    with pytest.raises(KeyError, match="mine"):
        run(failing())
    assert isinstance(loops[0], HubEventLoop)
    assert loops[0].is_closed()


def test_in_several_greenlets(hub):
    """Any number of greenlets of a thread run an event loop each, at the same time."""

    async def work(number):
        mine = asyncio.get_running_loop()
        for _ in range(3):
            await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is mine
        return number

    greenlets = [spawn(run, work(number)) for number in range(20)]
    assert [greenlet.get() for greenlet in greenlets] == list(range(20))


def test_not_from_a_coroutine(hub):
    """A coroutine cannot ``run`` another one: it is told so, as by asyncio."""

    async def main():
        inner = asyncio.sleep(0)
        try:
            run(inner)
        finally:
            inner.close()

    with pytest.raises(RuntimeError, match="running event loop"):
        run(main())


def test_timers_in_order(virtual_clock):
    """Callbacks come at their time and in order, on the hub's clock; cancelled ones do not come."""
    loop = new_event_loop()
    called = []
    for delay in (3, 1, 2):
        loop.call_later(delay, lambda delay=delay: called.append((delay, loop.time())))
    loop.call_later(1.5, called.append, "cancelled").cancel()
    begin = loop.time()
    loop.call_later(4, loop.stop)
    loop.run_forever()
    loop.close()
    assert [delay for delay, _ in called] == [1, 2, 3]
    assert [at - begin for _, at in called] == pytest.approx([1, 2, 3])


def test_many_cancelled_timers(virtual_clock):
    """Cancelled timers are swept out, and a cancelled one at the front wakes nobody."""

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(500):
            loop.call_later(1000, print).cancel()
        await asyncio.sleep(1)
        return len(loop._scheduled)

    assert run(main()) < 200
    assert virtual_clock.now() == pytest.approx(1, abs=0.01)


def test_a_virtual_clock(virtual_clock):
    """asyncio's own functions follow the hub's virtual clock: an hour takes no time."""

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.sleep(7200)

    run(main())
    assert virtual_clock.now() == pytest.approx(3600)


def test_greenlets_beside_a_busy_event_loop(hub):
    """Tasks that are always ready do not keep greenlets from running, nor greenlets tasks."""
    counts = {"task": 0, "greenlet": 0}
    going = True

    def greenlet():
        while going:
            counts["greenlet"] += 1
            sleep(0)

    async def task():
        while counts["task"] < 2000:
            counts["task"] += 1
            await asyncio.sleep(0)

    other = spawn(greenlet)
    run(task())
    going = False
    other.join()
    assert counts["greenlet"] >= 50


def test_a_callback_may_wait(hub):
    """A task that waits as a greenlet does lets other greenlets run, and goes on in its event loop."""
    happened = []

    async def main():
        loop = asyncio.get_running_loop()
        sleep(0.01)
        happened.append("task")
        assert asyncio.get_running_loop() is loop

    spawn(happened.append, "greenlet")
    run(main())
    assert happened == ["greenlet", "task"]


@pytest.mark.parametrize("method", ["call_soon", "call_later", "create_task", "set_result"])
def test_from_another_greenlet(hub, loop, method):
    """Another greenlet of the thread may use an event loop that waits, without ``call_soon_threadsafe``."""
    future = loop.create_future()

    async def set_it():
        future.set_result("done")

    def act():
        if method == "call_soon":
            loop.call_soon(future.set_result, "done")
        elif method == "call_later":
            loop.call_later(0.001, future.set_result, "done")
        elif method == "create_task":
            loop.create_task(set_it())
        else:
            future.set_result("done")

    spawn(act)
    assert loop.run_until_complete(asyncio.wait_for(future, 30)) == "done"


def test_from_another_greenlet_in_debug_mode(hub, loop):
    """Debug mode complains of another native thread only, not of another greenlet."""
    loop.set_debug(True)
    future = loop.create_future()
    spawn(lambda: loop.call_soon(future.set_result, None))
    loop.run_until_complete(future)
    errors = []

    def thread():
        try:
            loop.call_soon(print)
        except RuntimeError as error:
            errors.append(str(error))

    async def main():
        native = threading.Thread(target=thread)
        native.start()
        while native.is_alive():
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert "call_soon_threadsafe" in errors[0]


def test_threads_wake_it(hub, loop):
    """``call_soon_threadsafe`` of another native thread reaches an event loop that waits without limit."""
    future = loop.create_future()
    native = threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, 3))
    loop.call_soon(native.start)
    assert loop.run_until_complete(future) == 3
    native.join(30)


def test_belongs_to_its_thread(hub, loop):
    """Another native thread that runs it is refused."""
    errors = []

    def thread():
        try:
            loop.run_forever()
        except InvalidThreadUseError as error:
            errors.append(error)

    native = threading.Thread(target=thread)
    native.start()
    native.join(30)
    assert len(errors) == 1


def test_an_executor(hub):
    """``run_in_executor`` and ``asyncio.to_thread`` run in native threads and come back."""

    async def main():
        return await asyncio.to_thread(threading.get_ident)

    assert run(main()) != threading.get_ident()


def test_nobody_will_wake_it(hub, loop):
    """An event loop that waits for what can never come is told, as every greenlet is."""
    with pytest.raises(hubbub.LoopExit, match="block forever"):
        loop.run_until_complete(loop.create_future())


def test_handles_for_other_threads(hub, loop):
    """call_soon_threadsafe gives what asyncio's own gives: from CPython 3.14 on a handle that any thread may cancel."""
    own = asyncio.SelectorEventLoop()
    try:
        expected = type(own.call_soon_threadsafe(print))
    finally:
        own.close()
    called = []
    assert type(loop.call_soon_threadsafe(called.append, 1)) is expected
    cancelled = loop.call_soon_threadsafe(called.append, 2)
    thread = threading.Thread(target=cancelled.cancel)
    thread.start()
    thread.join()
    assert cancelled.cancelled()
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert called == [1]


# Descriptors --------------------------------------------------------------------------------------------------------


def test_readers_and_writers(hub, loop):
    """A reader and a writer of one descriptor are told apart, replaced, and removed."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        events = []

        def writable():
            events.append("writable")
            loop.remove_writer(ours)
            theirs.send(b"x")

        def readable():
            events.append(ours.recv(10))
            loop.call_later(0.02, loop.stop)  # a writer that is still there would be called meanwhile

        loop.add_reader(ours, events.append, "replaced")
        loop.add_reader(ours, readable)
        loop.add_writer(ours, writable)
        with hubbub.fail_after(30):
            loop.run_forever()
        assert events == ["writable", b"x"]
        assert loop.remove_reader(ours)
        assert not loop.remove_reader(ours)
        assert not loop.remove_writer(ours)


@pytest.mark.parametrize("bad", [-1, "x", None, 1.5])
def test_what_is_no_descriptor(hub, loop, bad):
    """What is no descriptor is refused with a ValueError, as by selectors."""
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(bad, print)


def test_a_closed_descriptor(hub, loop):
    """A closed descriptor is refused and leaves nothing behind."""
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError):
        loop.add_reader(read, print)
    assert not loop.remove_reader(read)


def test_a_file_object_that_was_closed_is_found(hub, loop):
    """As by selectors: a file object is removed by itself though it has no descriptor any more; another one is not."""
    ours, theirs = socket.socketpair()
    with theirs:
        loop.add_reader(ours, print)
        loop.add_writer(ours, print)
        ours.close()
        assert loop.remove_reader(ours)
        assert loop.remove_writer(ours)
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            loop.remove_reader(ours)
    assert hub.loop.refs == 0


def test_streams(hub):
    """A server and its clients exchange data by streams, greenlets in between."""

    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def ask(address, number):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"%d" % number)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def main():
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            return await asyncio.gather(*(ask(address, number) for number in range(50)))

    assert run(main()) == [b"%d" % number for number in range(50)]


def test_much_data(hub):
    """Some megabytes come through whole, whatever the size of a read."""
    payload = os.urandom(1 << 20) * 3

    async def send(reader, writer):
        writer.write(payload)
        await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            data = await reader.read(-1)
            writer.close()
            await writer.wait_closed()
            return data

    assert run(main()) == payload


def test_tls(hub):
    """Streams over TLS, and ``start_tls`` on a plain connection."""
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    served = None

    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        served.set()

    async def upgrade(reader, writer):
        await reader.readline()
        writer.write(b"go on\n")
        await writer.start_tls(server_context)
        await echo(reader, writer)

    async def main():
        nonlocal served
        served = asyncio.Event()
        answers = []
        async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
            )
            writer.write(b"tls\n")
            answers.append(await reader.readline())
            writer.close()
            await writer.wait_closed()
            await served.wait()
            served.clear()
        async with await asyncio.start_server(upgrade, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            await reader.readline()
            await writer.start_tls(client_context, server_hostname="localhost")
            writer.write(b"upgraded\n")
            answers.append(await reader.readline())
            writer.close()
            await writer.wait_closed()
            await served.wait()
        return answers

    assert run(main()) == [b"tls\n", b"upgraded\n"]


def test_datagrams_and_unix_sockets(hub, tmp_path):
    """Datagram endpoints and UNIX sockets work."""

    class Answer(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)

    class Ask(asyncio.DatagramProtocol):
        def __init__(self):
            self.answer = asyncio.get_running_loop().create_future()

        def datagram_received(self, data, address):
            self.answer.set_result(data)

    async def hello(reader, writer):
        writer.write(b"unix")
        writer.close()

    async def main():
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Answer, local_addr=("127.0.0.1", 0))
        client, protocol = await loop.create_datagram_endpoint(Ask, remote_addr=server.get_extra_info("sockname"))
        client.sendto(b"udp")
        answers = [await protocol.answer]
        server.close()
        client.close()
        path = str(tmp_path / "socket")
        async with await asyncio.start_unix_server(hello, path):
            reader, writer = await asyncio.open_unix_connection(path)
            answers.append(await reader.read())
            writer.close()
            await writer.wait_closed()
        return answers

    assert run(main()) == [b"UDP", b"unix"]


# Processes and signals ----------------------------------------------------------------------------------------------


def test_subprocesses(hub):
    """Child processes, their pipes and their exit codes, several at a time."""

    async def child(code):
        program = f"import sys; data = sys.stdin.read(); print(data * 2, end=''); sys.exit({code})"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate(b"ab")
        return output, process.returncode

    async def main():
        return await asyncio.gather(*(child(code) for code in range(3)))

    assert run(main()) == [(b"abab", code) for code in range(3)]


def test_a_killed_subprocess(hub):
    """A child that a signal ends has its negative number as the exit code."""

    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        process.kill()
        return await process.wait()

    assert run(main()) == -signal.SIGKILL


def test_signal_handlers_of_several_loops(hub):
    """Each of several event loops in a thread has its handler for a signal called; removing one leaves the other."""

    async def wait_for_signal():
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, arrived.set)
        ready.append(loop)
        await asyncio.wait_for(arrived.wait(), 30)
        return loop.remove_signal_handler(signal.SIGUSR1), loop.remove_signal_handler(signal.SIGUSR1)

    ready = []
    greenlets = [spawn(run, wait_for_signal()) for _ in range(2)]
    while len(ready) < 2:
        sleep(0)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert [greenlet.get() for greenlet in greenlets] == [(True, False)] * 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((signal.SIGKILL, print), RuntimeError), ((1000, print), ValueError), (("x", print), TypeError)],
)
def test_bad_signals(hub, loop, arguments, error):
    """What is no signal, or cannot be caught, is refused."""
    with pytest.raises(error):
        loop.add_signal_handler(*arguments)


def test_ctrl_c(hub):
    """Ctrl-C cancels the main task of ``run`` and comes out as KeyboardInterrupt, as of :func:`asyncio.run`."""
    cancelled = []

    async def main():
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert cancelled == [True]


# Ends ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [hubbub.Timeout, hubbub.GreenletExit])
def test_an_interrupted_run(hub, error):
    """A greenlet that is interrupted while its event loop waits leaves ``run``; its tasks are cancelled."""
    cancelled = []

    async def main():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    def runner():
        with pytest.raises(error):
            run(main())

    greenlet = spawn(runner)
    sleep(0.01)
    greenlet.kill(error())
    assert greenlet.successful()
    assert cancelled == [True]


@pytest.mark.parametrize("error", [hubbub.Timeout, hubbub.GreenletExit])
def test_interrupted_again_at_the_end_of_run(hub, error):
    """A greenlet that is interrupted while the tasks of its ``run`` end waits for them, then it is interrupted."""
    ended = []

    async def slow_to_end():
        try:
            await asyncio.sleep(30)
        finally:
            ending.set()
            await asyncio.sleep(0.01)
            ended.append(True)

    async def main():
        tasks.append(asyncio.create_task(slow_to_end()))
        await asyncio.sleep(0)

    def runner():
        with pytest.raises(error):
            run(main())
        assert ended == [True]

    tasks = []
    ending = hubbub.Event()
    greenlet = spawn(runner)
    ending.wait()
    hubbub.get_hub().loop.run_callback(greenlet.throw, error())
    greenlet.get()


def test_a_failure_at_the_end_of_run(hub, caplog):
    """An error with which a task ends that is cancelled at the end of ``run`` is reported."""

    async def fails_in_the_end():
        try:
            await asyncio.sleep(30)
        finally:
            raise KeyError("in the end")

    async def main():
        tasks.append(asyncio.create_task(fails_in_the_end()))
        await asyncio.sleep(0)

    tasks = []
    run(main())
    assert "unhandled exception" in caplog.text
    assert "in the end" in caplog.text


def test_system_exit(hub):
    """SystemExit of a callback ends the event loop and comes out of ``run``."""

    async def main():
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await asyncio.sleep(30)

    with pytest.raises(SystemExit) as caught:
        run(main())
    assert caught.value.code == 3


def test_close(hub, loop):
    """A closed event loop watches nothing and refuses callbacks; it may be closed again; nothing keeps it alive."""
    read, write = os.pipe()
    try:
        loop.add_reader(read, print)
        loop.add_signal_handler(signal.SIGUSR2, print)
        loop.close()
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            loop.call_soon(print)
        with pytest.raises(RuntimeError, match="closed"):
            loop.call_soon_threadsafe(print)
    finally:
        os.close(read)
        os.close(write)
    assert hub.loop.refs == 0


def test_nothing_keeps_it(hub):
    """A closed event loop goes away without the collector's help once its last callback has been called."""
    loop = new_event_loop()
    loop.run_until_complete(asyncio.sleep(0, loop))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    import gc

    gc.collect()
    assert gone() is None


def test_a_task_that_computes_lets_the_hub_look_for_events(hub):
    """A task that computes for longer than a turn of the hub between its waits for nothing runs a few times at most
    before the hub has looked for events, and not a whole 16 times."""
    left, right = (Socket(fileno=end.detach()) for end in socket.socketpair())
    reader = hubbub.spawn(left.recv, 10)
    runs = []

    async def compute():
        right.send(b"x")
        while not reader.ready():
            runs.append(1)
            end = time.monotonic() + 2 * hub.loop.turn_seconds
            while time.monotonic() < end:
                pass
            await asyncio.sleep(0)

    hubbub.sleep(0)
    run(compute())
    assert reader.get() == b"x"
    assert len(runs) <= 6
    left.close()
    right.close()


def test_identity_of_threads_is_patched():
    """Patching gives each greenlet a thread identity of its own; the event loop knows its native thread anyway."""
    program = """
import _thread, greenlet
_thread.get_ident = lambda: id(greenlet.getcurrent())
import asyncio, hubbub
from hubbub_asyncio import await_, new_event_loop
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    print(hubbub.spawn(runner.run, asyncio.sleep(0, 1)).get())
print([waiter.get() for waiter in [hubbub.spawn(await_, asyncio.sleep(0, number)) for number in (2, 3)]])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "1\n[2, 3]\n"
    assert done.stderr == "" or sys.version_info[:3] == (3, 13, 0)  # its threading complains of dummy threads at exit
