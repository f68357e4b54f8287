# /// script
# dependencies = ["geventhttpclient>=2.3", "trustme>=1.1"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""geventhttpclient, unpatched: a client with a pool of connections, plain and with TLS."""

from __future__ import annotations

import time

import gevent
import gevent.pool
import gevent.ssl
from geventhttpclient import HTTPClient
from trial.slow_http import slow_http, slow_https


def together(client: HTTPClient, body: bytes) -> float:
    """Twenty requests of 0.2 s each at once; the seconds that they took."""

    def post(_: int) -> bytes:
        answer = client.post("/echo/0.2", body=body, headers={"Content-Length": str(len(body))})
        assert answer.status_code == 200
        return bytes(answer.read())

    begun = time.monotonic()
    assert gevent.pool.Pool(20).map(post, range(20)) == [body] * 20
    took = time.monotonic() - begun
    assert took < 2, took
    client.close()
    return took


with slow_http() as url:
    plain = together(HTTPClient.from_url(url, concurrency=20), b"body")
with slow_https() as (url, authority):
    options = {"ssl_context_factory": lambda: gevent.ssl.create_default_context(cafile=str(authority))}
    secure = together(HTTPClient.from_url(url, concurrency=20, ssl_options={}, **options), bytes(100_000))
print(f"20 requests of 0.2 s at once took {plain:.2f} s, with TLS {secure:.2f} s")
