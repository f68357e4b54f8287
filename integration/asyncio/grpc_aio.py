# /// script
# dependencies = ["grpcio>=1.60"]
# ///
"""grpc.aio, a client and a server, on an event loop of asyncio's and on the hub's, while greenlets go on."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from hubbub_asyncio import run
from trial.servers import HOST, free_port


async def echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """Answers late."""
    await asyncio.sleep(0.2)
    return request


async def each(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    """Answers each."""
    async for request in requests:
        yield request


class Handler(grpc.GenericRpcHandler):
    """The methods of the server."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a call."""
        return {
            "/trial/echo": grpc.unary_unary_rpc_method_handler(echo),
            "/trial/each": grpc.stream_stream_rpc_method_handler(each),
        }.get(details.method)


async def main() -> float:
    """Twenty calls at once, a stream, and an error."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port(f"{HOST}:{free_port()}")
    await server.start()
    async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
        call = channel.unary_unary("/trial/echo")
        begun = time.monotonic()
        answers = await asyncio.gather(*(call(b"%d" % number) for number in range(20)))
        took = time.monotonic() - begun
        assert answers == [b"%d" % number for number in range(20)]
        stream = channel.stream_stream("/trial/each")(iter([b"a", b"b"]))
        assert [answer async for answer in stream] == [b"a", b"b"]
        failed = await asyncio.gather(channel.unary_unary("/trial/nothing")(b""), return_exceptions=True)
        assert isinstance(failed[0], grpc.aio.AioRpcError), failed
        assert failed[0].code() is grpc.StatusCode.UNIMPLEMENTED
    await server.stop(None)
    return took


ticks = 0
done = threading.Event()


def tick() -> None:
    """Something else that goes on in the thread."""
    global ticks
    while not done.is_set():
        time.sleep(0.01)
        ticks += 1


ticker = threading.Thread(target=tick)
ticker.start()
times = [run(main()), asyncio.run(main())]
done.set()
ticker.join()
assert ticks > 20, ticks
assert max(times) < 2, times
print(f"20 calls of 0.2 s at once took {max(times):.2f} s; {ticks} ticks of another greenlet meanwhile")
