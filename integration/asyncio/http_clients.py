# /// script
# dependencies = ["httpx>=0.27", "aiohttp>=3.10"]
# ///
"""httpx and aiohttp as asynchronous clients: on event loops of asyncio, one for each greenlet, and on the hub's."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp
import httpx
from hubbub_asyncio import await_, run
from trial.overlap import at_once
from trial.slow_http import slow_http

GREENLETS = 20
MEET = 2 * GREENLETS + 1


async def by_httpx(url: str) -> bytes:
    """Two requests at once of one client."""
    # Authorities take long to load, and nothing is encrypted. The server alone says how long all may take.
    async with httpx.AsyncClient(verify=False, timeout=None) as client:
        answers = await asyncio.gather(client.get(url), client.get(url))
        return b" ".join(answer.content for answer in answers if answer.status_code == 200)


async def by_aiohttp(url: str) -> bytes:
    """The same."""

    async def get(session: aiohttp.ClientSession) -> bytes:
        async with session.get(url) as answer:
            return await answer.read() if answer.status == 200 else b""

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
        answers = await asyncio.gather(get(session), get(session))
        return b" ".join(answers)


def by_urllib(url: str) -> bytes:
    """One request by a greenlet that has no event loop: the others leave it its turn."""
    with urllib.request.urlopen(url) as answer:
        body: bytes = answer.read()
        return body


WAYS: dict[str, Callable[[Awaitable[bytes]], bytes]] = {"asyncio.run": asyncio.run, "run": run, "await_": await_}


def job(way: Callable[[Awaitable[bytes]], bytes], client: Callable[[str], Awaitable[bytes]], url: str) -> bytes:
    """What one greenlet does."""
    return way(client(url))


with slow_http() as address:
    for client in (by_httpx, by_aiohttp):
        for name, way in WAYS.items():
            url = f"{address}/meet/{client.__name__}-{name}/{MEET}"
            each = partial(job, way, client, url)
            done = at_once([*[each] * GREENLETS, partial(by_urllib, url)])
            assert done == [b"met met"] * GREENLETS + [b"met"], (client, name, done)
print(f"httpx and aiohttp by {', '.join(WAYS)}: {GREENLETS} times 2 requests, and one of a greenlet, at once each time")
