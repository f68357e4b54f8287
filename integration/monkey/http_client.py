# /// script
# dependencies = ["trustme>=1.1"]
# ///
"""http.client and urllib.request, plain and with TLS."""

import hubbub_monkey

hubbub_monkey.patch_all()

import http.client
import ssl
import urllib.request
from urllib.parse import urlsplit

from trial.overlap import overlap
from trial.slow_http import slow_http, slow_https


def fetch(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    """Two requests over one connection; what comes back."""
    connection.request("POST", "/echo/0.1", body)
    first = connection.getresponse().read()
    connection.request("GET", "/delay/0.1")
    response = connection.getresponse()
    assert response.read() == b"done"
    assert response.getheader("Carried") == "2"
    connection.close()
    return first


BODIES = [bytes([number]) * 100_000 for number in range(20)]

with slow_http() as url:
    plain = overlap(lambda number: fetch(http.client.HTTPConnection(urlsplit(url).netloc), BODIES[number]))
    assert plain.results == BODIES
    opened = overlap(lambda number: urllib.request.urlopen(f"{url}/delay/0.2").read())
    assert opened.results == [b"done"] * 20

with slow_https() as (url, authority):
    context = ssl.create_default_context(cafile=str(authority))
    host = urlsplit(url).netloc
    secure = overlap(lambda number: fetch(http.client.HTTPSConnection(host, context=context), BODIES[number]))
    assert secure.results == BODIES
print(f"with TLS: {secure}")
