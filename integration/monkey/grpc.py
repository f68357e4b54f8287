# /// script
# dependencies = ["grpcio>=1.60"]
# ///
"""gRPC's own client over its server: the four kinds of calls, errors, time limits; and its server, patched."""

import hubbub_monkey

hubbub_monkey.patch_all()

import time
from collections.abc import Iterator

import grpc
from trial.overlap import overlap
from trial.servers import HOST, python_server

SERVER = """
import sys
from concurrent import futures
import grpc
import time

def echo(request, context):
    time.sleep(0.2)
    return request

def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "not here")

def join(requests, context):
    time.sleep(0.2)
    return b",".join(requests)

def split(request, context):
    for part in request.split(b","):
        time.sleep(0.1)
        yield part

def each(requests, context):
    for request in requests:
        yield request

METHODS = {
    "/trial/echo": grpc.unary_unary_rpc_method_handler(echo),
    "/trial/fail": grpc.unary_unary_rpc_method_handler(fail),
    "/trial/join": grpc.stream_unary_rpc_method_handler(join),
    "/trial/split": grpc.unary_stream_rpc_method_handler(split),
    "/trial/each": grpc.stream_stream_rpc_method_handler(each),
}

class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS[details.method]

def serve(address):
    server = grpc.server(futures.ThreadPoolExecutor(40), handlers=[Handler()])
    port = server.add_insecure_port(address)
    server.start()
    return server, port

if __name__ == "__main__":
    serve(f"127.0.0.1:{sys.argv[1]}")[0].wait_for_termination()
"""


def parts() -> Iterator[bytes]:
    """What a client streams."""
    yield from (b"a", b"b", b"c")


with python_server(SERVER) as port, grpc.insecure_channel(f"{HOST}:{port}") as channel:
    echo = channel.unary_unary("/trial/echo")
    echo(b"first", timeout=20)
    done = overlap(lambda number: echo(str(number).encode(), timeout=20))
    assert done.results == [str(number).encode() for number in range(20)]
    joined = overlap(lambda number: channel.stream_unary("/trial/join")(parts(), timeout=20))
    assert joined.results == [b"a,b,c"] * 20
    taken = overlap(lambda number: list(channel.unary_stream("/trial/split")(b"a,b", timeout=20)))
    assert taken.results == [[b"a", b"b"]] * 20
    both = list(channel.stream_stream("/trial/each")(parts(), timeout=20))
    assert both == [b"a", b"b", b"c"]
    response, call = echo.with_call(b"x", timeout=20)
    assert (response, call.code()) == (b"x", grpc.StatusCode.OK)
    for path, limit, code in (
        ("/trial/fail", 20, grpc.StatusCode.NOT_FOUND),
        ("/trial/echo", 0.05, grpc.StatusCode.DEADLINE_EXCEEDED),
    ):
        try:
            channel.unary_unary(path)(b"x", timeout=limit)
        except grpc.RpcError as error:
            assert error.code() == code, error  # noqa: PT017  # this is no test of pytest
        else:
            raise AssertionError(f"{path} did not fail")

scope = {"__name__": "patched"}
exec(SERVER, scope)
server, port = scope["serve"](f"{HOST}:0")
with grpc.insecure_channel(f"{HOST}:{port}") as channel:
    begun = time.monotonic()
    pending = [channel.unary_unary("/trial/echo").future(b"x", timeout=20) for _ in range(20)]
    assert [future.result() for future in pending] == [b"x"] * 20
    assert time.monotonic() - begun < 20 * 0.2 / 2
server.stop(1).wait(20)
print(f"unary calls: {done}")
