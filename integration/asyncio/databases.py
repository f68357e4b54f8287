# /// script
# dependencies = ["asyncpg>=0.29", "redis>=5", "sqlalchemy[asyncio]>=2", "aiosqlite>=0.20"]
#
# [tool.hubbub]
# programs = ["postgres", "initdb", "redis-server"]
# debian = ["postgresql", "redis-server"]
# ///
"""asyncpg, redis.asyncio and SQLAlchemy's asynchronous engine, on asyncio's own event loops and on the hub's."""

from __future__ import annotations

import hubbub_monkey

hubbub_monkey.patch_all()

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import redis.asyncio
import sqlalchemy
from hubbub_asyncio import await_, run
from sqlalchemy.ext.asyncio import create_async_engine
from trial.databases import postgres
from trial.overlap import overlap
from trial.servers import HOST, answers, free_port, scratch, server

WAYS: dict[str, Callable[[Awaitable[Any]], Any]] = {"asyncio.run": asyncio.run, "run": run, "await_": await_}


async def by_asyncpg(number: int) -> int:
    """A statement that takes time, and a prepared one."""
    connection = await asyncpg.connect(host=HOST, port=places["postgres"], user="postgres", database="postgres")
    try:
        await connection.execute("SELECT pg_sleep(0.5)")
        return await connection.fetchval("SELECT $1::int", number)
    finally:
        await connection.close()


async def by_redis(number: int) -> int:
    """A command that the server answers late, and one that it answers at once."""
    async with redis.asyncio.Redis(host=HOST, port=places["redis"]) as client:
        assert await client.blpop([f"nothing-{number}"], timeout=0.5) is None
        await client.set(f"own-{number}", number)
        return int(await client.get(f"own-{number}"))


async def by_engine(url: str, sleep: str, number: int) -> int:
    """SQLAlchemy switches greenlets of its own inside a task."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            if sleep:
                await connection.execute(sqlalchemy.text(sleep))
            else:
                await asyncio.sleep(0.5)
            found = await connection.execute(sqlalchemy.text("SELECT :number + 0"), {"number": number})
            return int(found.scalar_one())
    finally:
        await engine.dispose()


async def by_sqlalchemy(number: int) -> int:
    """Over asyncpg."""
    url = f"postgresql+asyncpg://postgres@{HOST}:{places['postgres']}/postgres"
    return await by_engine(url, "SELECT pg_sleep(0.5)", number)


async def by_sqlite(number: int) -> int:
    """Over aiosqlite, which has a thread for each connection."""
    return await by_engine("sqlite+aiosqlite://", "", number)


DRIVERS = [by_asyncpg, by_redis, by_sqlalchemy, by_sqlite]
places: dict[str, int] = {"redis": free_port()}
slowest = 0.0
with scratch({}) as folder, postgres() as places["postgres"]:
    command = ["redis-server", "--port", str(places["redis"]), "--bind", HOST, "--save", "", "--appendonly", "no"]
    with server(command, lambda: answers(places["redis"]), folder=folder):
        for driver in DRIVERS:
            for way in WAYS.values():
                done = overlap(lambda number, driver=driver, way=way: way(driver(number)), jobs=30, each=0.5)
                assert done.results == list(range(30)), (driver, done.results)
                slowest = max(slowest, done.took)
names = ", ".join(driver.__name__.removeprefix("by_") for driver in DRIVERS)
print(f"{names} by {', '.join(WAYS)}: 30 times 0.5 s at once took at most {slowest:.2f} s")
