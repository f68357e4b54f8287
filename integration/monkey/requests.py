# /// script
# dependencies = ["requests>=2.31", "trustme>=1.1"]
# ///
"""requests: sessions, one for all and one each, plain and with TLS, and its time limits."""

import hubbub_monkey

hubbub_monkey.patch_all()

import requests
from trial.overlap import overlap
from trial.slow_http import slow_http, slow_https

with slow_http() as url, requests.Session() as session:
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))
    for _ in range(2):
        shared = overlap(lambda number: session.get(f"{url}/delay/0.2"))
    assert [answer.content for answer in shared.results] == [b"done"] * 20
    carried = [int(answer.headers["Carried"]) for answer in shared.results]
    assert max(carried) > 1, "no connection was used again"
    try:
        session.get(f"{url}/delay/5", timeout=0.2)
    except requests.exceptions.ReadTimeout:
        pass
    else:
        raise AssertionError("a read without an answer has no end")

with slow_https() as (url, authority):
    upload = bytes(200_000)
    secure = overlap(lambda number: requests.post(f"{url}/echo/0.2", upload, verify=str(authority)).content)
    assert secure.results == [upload] * 20
print(f"with TLS: {secure}")
