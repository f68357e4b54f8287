"""A client of gRPC talks to a WSGI application: HTTP/2, messages in the body, status in the trailers.

The client is Google's, in a process of its own, as it has native threads. Messages are bytes: what is in them is the
business of both sides (gRPC over HTTP/2, "Length-Prefixed-Message").
"""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import hubbub
import pytest

pytest.importorskip("grpc")


def messages(source: Any) -> Iterator[bytes]:
    """Those of a request, as they come."""
    while head := source.read(5):
        size = struct.unpack(">xI", head)[0]
        yield source.read(size)


def message(data: bytes) -> bytes:
    return struct.pack(">xI", len(data)) + data


def service(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Four methods, one of each kind, and one that fails."""
    method = environ["PATH_INFO"].rpartition("/")[2]
    asked = messages(environ["wsgi.input"])
    start_response("200 OK", [("Content-Type", "application/grpc"), ("X-Initial", "first")])
    trailers = environ["hubbub.send_trailers"]
    if method == "Unary":
        yield message(next(asked).upper())
    elif method == "Many":
        for count in range(int(next(asked))):
            yield message(b"%d" % count)
    elif method == "Sum":
        yield message(b"%d" % sum(map(int, asked)))
    elif method == "Chat":
        for said in asked:
            yield message(b"you said " + said)
    elif method == "Large":
        yield message(next(asked) * 3)
    elif method == "Slow":
        next(asked)
        hubbub.sleep(5)
    else:
        trailers([("grpc-status", "12"), ("grpc-message", "there is no such method")])
        return
    trailers([("grpc-status", "0"), ("x-last", "bye")])


CLIENT = """
    import sys
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
        unary = channel.unary_unary("/site.Test/Unary")
        response, call = unary.with_call(b"hello", timeout=10, metadata=[("x-key", "value")])
        assert response == b"HELLO"
        assert ("x-initial", "first") in [tuple(pair) for pair in call.initial_metadata()]
        assert ("x-last", "bye") in [tuple(pair) for pair in call.trailing_metadata()]
        assert list(channel.unary_stream("/site.Test/Many")(b"1000", timeout=10)) == [b"%d" % n for n in range(1000)]
        assert channel.stream_unary("/site.Test/Sum")((b"%d" % n for n in range(1000)), timeout=10) == b"499500"
        chat = channel.stream_stream("/site.Test/Chat")
        heard = []
        def talk():
            for count in range(20):
                while len(heard) < count:  # each message is answered before the next is sent
                    pass
                yield b"%d" % count
        for said in chat(talk(), timeout=20):
            heard.append(said)
        assert heard == [b"you said %d" % n for n in range(20)]
        large = b"x" * 1000000
        assert channel.unary_unary("/site.Test/Large")(large, timeout=20) == large * 3
        futures = [unary.future(b"%d" % n, timeout=20) for n in range(300)]
        assert [future.result() for future in futures] == [b"%d" % n for n in range(300)]
        for method, code, text in (
            ("None", grpc.StatusCode.UNIMPLEMENTED, "there is no such method"),
            ("Slow", grpc.StatusCode.DEADLINE_EXCEEDED, ""),
        ):
            try:
                channel.unary_unary(f"/site.Test/{method}")(b"", timeout=0.5)
            except grpc.RpcError as error:
                assert error.code() == code, error
                assert text in error.details()
            else:
                raise AssertionError(method)
        assert unary(b"still", timeout=10) == b"STILL"
    print("done")
"""


def test_grpc(serve: Any, errors: Any) -> None:
    """Calls of all four kinds, large messages, many at a time, failures and deadlines are as they should be."""
    from hubbub import subprocess as cooperative

    server = serve(service, http2=True)
    process = cooperative.Popen(
        [sys.executable, "-c", textwrap.dedent(CLIENT), str(server.server_port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out == "done\n", said
    assert errors.getvalue() == ""
