# /// script
# dependencies = ["httpx>=0.27", "aiohttp>=3.10"]
# ///
"""httpx and aiohttp as asynchronous clients: on event loops of asyncio, one for each greenlet, and on the hub's."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
from hubbub_asyncio import await_, run
from trial.overlap import overlap
from trial.slow_http import slow_http


async def by_httpx(url: str) -> bytes:
    """Two requests at once of one client."""
    async with httpx.AsyncClient(verify=False) as client:  # authorities take long to load, and nothing is encrypted
        answers = await asyncio.gather(client.get(url), client.get(url))
        return answers[0].content


async def by_aiohttp(url: str) -> bytes:
    """The same."""

    async def get(session: aiohttp.ClientSession) -> bytes:
        async with session.get(url) as answer:
            return await answer.read()

    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(get(session), get(session))
        return answers[0]


WAYS: dict[str, Callable[[Awaitable[bytes]], bytes]] = {"asyncio.run": asyncio.run, "run": run, "await_": await_}

slowest = 0.0
with slow_http() as address:
    for client in (by_httpx, by_aiohttp):
        for name, way in WAYS.items():
            done = overlap(lambda number, client=client, way=way: way(client(f"{address}/{number}/delay/0.2")))
            assert done.results == [b"done"] * 20, (client, name)
            slowest = max(slowest, done.took)
print(f"httpx and aiohttp by {', '.join(WAYS)}: 20 times 2 requests of 0.2 s took at most {slowest:.2f} s")
