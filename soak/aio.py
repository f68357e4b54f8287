"""Event loops of asyncio among greenlets: both ways of waiting, streams, processes, and an ASGI application."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import hubbub
from hubbub.io import Socket
from hubbub.running_loop import separate_running_loops
from hubbub_asyncio import as_future, await_, entered, in_greenlet, iterate, run
from hubbub_asyncio.asgi import ASGI
from hubbub_server import WSGIServer
from support.meter import Soak

separate_running_loops(asyncio.events)
soak = Soak(greenlets=16)
soak.expect(hubbub.Timeout, OSError, asyncio.CancelledError)


async def pause(chance: Random) -> int:
    """Now and then nothing, now and then a while."""
    await asyncio.sleep(chance.choice((0, 0, 0.0005, 0.003)))
    return 7


@soak.deed(20)
def awaiting(chance: Random) -> None:
    """A coroutine, waited for with a time limit that may be too short."""
    with hubbub.Timeout(chance.choice((20, 20, 0.0008)), False):
        if await_(pause(chance)) != 7:
            raise AssertionError("another result")


@soak.deed(10)
def killed(chance: Random) -> None:
    """A greenlet that waits for a coroutine is killed; the task is cancelled, or never begins."""
    seen: list[str] = []

    async def lasting() -> None:
        seen.append("begun")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    waiter = hubbub.spawn(await_, lasting())
    hubbub.sleep(chance.choice((0, 0.001)))
    waiter.kill()
    if seen not in ([], ["begun", "ended"]):
        raise AssertionError(f"the task goes on: {seen}")
    hubbub.sleep(0)
    if seen not in ([], ["begun", "ended"]):
        raise AssertionError(f"the task has begun after the kill: {seen}")


@soak.deed(10)
def event_loops(chance: Random) -> None:
    """An event loop of its own, tasks in it, a time limit, and greenlets that they wait for."""

    async def one(number: int) -> int:
        try:
            async with asyncio.timeout(chance.choice((20, 0.001))):
                return await in_greenlet(blocking, chance, number)
        except TimeoutError:
            return number

    async def main() -> list[int]:
        return await asyncio.gather(*(one(number) for number in range(5)))

    if run(main()) != list(range(5)):
        raise AssertionError("other results")


def blocking(chance: Random, number: int) -> int:
    """What waits as greenlets do, and for a coroutine."""
    hubbub.sleep(chance.choice((0, 0.002)))
    await_(pause(chance))
    return number


@soak.deed(10)
def in_the_middle(chance: Random) -> None:
    """A synchronous function waits in the middle of a task; others of the event loop go on."""

    async def task() -> int:
        return await_(pause(chance))

    async def main() -> list[int]:
        return await asyncio.gather(*(task() for _ in range(4)))

    if sum(await_(main())) != 28:
        raise AssertionError("other results")


@soak.deed(10)
def futures(chance: Random) -> None:
    """A coroutine waits for a greenlet and an event, and gives up now and then."""
    event = hubbub.Event()

    async def main() -> None:
        hubbub.spawn_later(chance.choice((0, 0.002)), event.set)
        try:
            async with asyncio.timeout(chance.choice((20, 0.0005))):
                await asyncio.gather(as_future(event), as_future(hubbub.spawn(hubbub.sleep, 0.001)))
        except TimeoutError:
            pass

    await_(main())


@soak.deed(10)
def iterating(chance: Random) -> None:
    """An asynchronous generator in a for loop, left early; a manager in a with statement."""

    async def numbers() -> Any:
        for number in range(5):
            await pause(chance)
            yield number

    for number in iterate(numbers()):
        if number == chance.choice((2, 9)):
            break
    lock = asyncio.Lock()
    with entered(lock):
        if not lock.locked():
            raise AssertionError("it was not entered")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except asyncio.CancelledError:
        pass  # at the end of run(); asyncio's streams of CPython 3.11 ask a cancelled task for its error
    writer.close()


@soak.deed(10)
def streams(chance: Random) -> None:
    """A server and a client by streams."""
    data = bytes(chance.randrange(1, 100_000))

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(data)
            if await reader.readexactly(len(data)) != data:
                raise AssertionError("other data")
            writer.close()
            await writer.wait_closed()

    await_(main()) if chance.random() < 0.5 else run(main())


@soak.deed(1)
def processes(chance: Random) -> None:
    """A child process."""

    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
        return (await process.communicate(b"hello"))[0]

    if await_(main()) != b"hello":
        raise AssertionError("other output")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body, waits, and answers, at once or in pieces; one path fails, one listens for the end."""
    body, more = b"", True
    while more and scope["path"] != "/unread":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(0.002)
    listener = asyncio.ensure_future(receive()) if scope["path"] == "/listen" else None
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/stream":
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"piece", "more_body": True})
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"%d." % len(body)})
    if listener is not None:
        await listener


server = WSGIServer(("127.0.0.1", 0), ASGI(application), log=None, error_log=None)
server.start()


@soak.deed(20)
def requests(chance: Random) -> None:
    """Requests to the ASGI application, some of which the client does not stay for."""
    with Socket() as client:
        client.settimeout(20)
        client.connect(server.address)
        for _ in range(chance.randrange(1, 5)):
            size = chance.choice((0, 0, 10, 100_000))
            path = chance.choice(("/", "/slow", "/stream", "/listen", "/unread"))
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
            client.sendall(bytes(size))
            if chance.random() < 0.1:
                return
            answer = b""
            while b"." not in answer.partition(b"\r\n\r\n")[2]:
                piece = client.recv(65536)
                if not piece:
                    return  # a body that was not read, and was too long, ends the connection
                answer += piece


if __name__ == "__main__":
    soak.main()
