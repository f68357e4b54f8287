# /// script
# dependencies = ["psycopg[binary]>=3.2", "psycopg-pool>=3.2"]
#
# [tool.hubbub]
# programs = ["postgres", "initdb"]
# debian = ["postgresql"]
# ///
"""psycopg 3 over PostgreSQL: statements that take their time, notifications, and its pool of connections."""

import hubbub_monkey

hubbub_monkey.patch_all()

import threading

import psycopg
import psycopg_pool
from trial.databases import postgres
from trial.overlap import overlap
from trial.servers import HOST


def ask(number: int) -> tuple[int]:
    """A statement that takes time, over a connection of its own."""
    with psycopg.connect(target) as connection:
        connection.execute("SELECT pg_sleep(0.2)")
        return connection.execute("SELECT %s::int", (number,)).fetchone()


def pooled(number: int) -> tuple[int]:
    """The same over a connection of the pool."""
    with pool.connection() as connection:
        connection.execute("SELECT pg_sleep(0.2)")
        return connection.execute("SELECT %s::int", (number,)).fetchone()


def notify() -> None:
    """A listener gets what another greenlet sends."""
    received = []

    def listen() -> None:
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute("LISTEN news")
            ready.set()
            received.append(next(connection.notifies(timeout=10)).payload)

    ready = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(10)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("NOTIFY news, 'hello'")
    thread.join(10)
    assert received == ["hello"], received


with postgres() as port:
    target = f"host={HOST} port={port} user=postgres dbname=postgres"
    done = overlap(ask)
    assert done.results == [(number,) for number in range(20)]
    with psycopg_pool.ConnectionPool(target, min_size=10, max_size=10) as pool:
        pool.wait(30)
        assert overlap(pooled).results == done.results
    notify()
print(f"pg_sleep, {psycopg.pq.__impl__}: {done}")
