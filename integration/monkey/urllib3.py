# /// script
# dependencies = ["urllib3>=2", "trustme>=1.1"]
# ///
"""urllib3: a pool of connections, one that makes its users wait, and TLS."""

import hubbub_monkey

hubbub_monkey.patch_all()

import time

import urllib3
from trial.overlap import overlap
from trial.slow_http import slow_http, slow_https

with slow_http() as url:
    with urllib3.PoolManager(maxsize=20) as pool:
        free = overlap(lambda number: pool.request("GET", f"{url}/delay/0.2").data)
        assert free.results == [b"done"] * 20
    with urllib3.PoolManager(maxsize=10, block=True) as pool:
        begun = time.monotonic()
        overlap(lambda number: pool.request("GET", f"{url}/delay/0.1").data, each=0.1, jobs=20)
        assert time.monotonic() - begun > 0.2, "more than ten at once over ten connections"

with slow_https() as (url, authority), urllib3.PoolManager(maxsize=20, ca_certs=str(authority)) as pool:
    secure = overlap(lambda number: pool.request("GET", f"{url}/delay/0.2").data)
    assert secure.results == [b"done"] * 20
print(f"with TLS: {secure}")
