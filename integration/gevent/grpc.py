# /// script
# dependencies = ["grpcio>=1.60"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""grpc with its gevent hook: blocking calls of many greenlets overlap, as do the handlers of a server beside them."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import time
from concurrent import futures

import gevent
import grpc
import grpc.experimental.gevent
from trial.overlap import overlap

grpc.experimental.gevent.init_gevent()
# Each blocking call of the client keeps a thread of the hub's pool, which has ten.
gevent.get_hub().threadpool.maxsize = 40


def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
    """The server's method."""
    time.sleep(0.2)
    return request.upper()


def count(request: bytes, context: grpc.ServicerContext):
    """A method that streams its answer."""
    for number in range(int(request)):
        yield b"%d" % number


handlers = {
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
    "Count": grpc.unary_stream_rpc_method_handler(count),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=40))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Trial", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    call = channel.unary_unary("/Trial/Wait")
    assert call(b"first", timeout=20) == b"FIRST"
    done = overlap(lambda number: call(b"call %d" % number, timeout=20))
    assert done.results == [b"CALL %d" % number for number in range(20)]
    stream = channel.unary_stream("/Trial/Count")
    assert list(stream(b"100", timeout=20)) == [b"%d" % number for number in range(100)]
server.stop(1).wait(10)
print(f"unary calls: {done}; a stream of 100")
