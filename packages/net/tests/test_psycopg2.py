"""A C library that waits through ``wait_read`` and ``wait_write``: the README's example against a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubbub
import pytest
from hubbub.lowlevel import Hub

psycopg2 = pytest.importorskip("psycopg2", reason="needs psycopg2")
README = Path(__file__).resolve().parent.parent / "README.md"


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs. Debian keeps them beside PATH, a folder for each version."""
    beside = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, beside)))
    if found is None:
        pytest.skip(f"needs PostgreSQL: no {name}")
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The folder of the UNIX socket of a PostgreSQL server of our own."""
    initdb, postgres = program("initdb"), program("postgres")
    user: Any = {}
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == 0:  # the server refuses root
            import pwd

            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            shutil.chown(folder, nobody.pw_uid)
        data = f"{folder}/data"
        subprocess.run(
            [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        server = subprocess.Popen(
            [postgres, "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **user,
        )
        try:
            for _ in range(300):
                try:
                    psycopg2.connect(host=folder, user="postgres", dbname="postgres").close()
                    break
                except psycopg2.OperationalError:
                    time.sleep(0.1)
            yield folder
        finally:
            server.terminate()
            server.wait(timeout=30)


@pytest.fixture
def connect(hub: Hub, database: str) -> Iterator[Any]:
    (snippet,) = re.findall(r"```python\n(import psycopg2.*?)```", README.read_text(), re.DOTALL)
    exec(snippet, {})
    yield lambda: psycopg2.connect(host=database, user="postgres", dbname="postgres")
    psycopg2.extensions.set_wait_callback(None)


def test_queries_wait_beside_one_another(connect: Any, ticks: list[int]) -> None:
    """Ten queries wait in the server at a time for what an eleventh gives them; other greenlets run meanwhile."""

    def query(number: int) -> int:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(1), %s", (number,))
            return int(cursor.fetchone()[1])

    with connect() as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1)")
        running = [hubbub.spawn(query, number) for number in range(10)]
        waiting, before = 0, ticks[0]
        with hubbub.Timeout(30):
            while waiting < 10:
                cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
                (waiting,) = cursor.fetchone()
                hubbub.sleep(0.001)
        assert ticks[0] > before
    hubbub.joinall(running, raise_error=True)
    assert [greenlet.get() for greenlet in running] == list(range(10))


def test_a_large_answer_and_a_large_question(connect: Any) -> None:
    """Megabytes in both directions arrive whole."""
    text = "hubbub" * 1_000_000
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s, length(%s)", (text, text))
        assert cursor.fetchone() == (text, len(text))


def test_errors_of_the_server_come_through(connect: Any) -> None:
    """A wrong query is the library's own error."""
    with connect() as connection, connection.cursor() as cursor, pytest.raises(psycopg2.errors.SyntaxError):
        cursor.execute("SELEKT 1")
