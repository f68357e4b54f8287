# /// script
# dependencies = ["pymysql>=1.1"]
#
# [tool.hubbub]
# programs = ["mariadbd", "mariadb-install-db"]
# debian = ["mariadb-server"]
# ///
"""pymysql over MariaDB: statements that take their time, and transactions that wait for one another."""

import hubbub_monkey

hubbub_monkey.patch_all()

import pymysql
from trial.databases import mariadb
from trial.overlap import overlap
from trial.servers import HOST


def connected(database: str | None = "trial") -> pymysql.Connection:
    """A connection of its own."""
    return pymysql.connect(host=HOST, port=port, user="root", database=database, ssl_disabled=True)


def ask(number: int) -> tuple[int, int]:
    """A statement that takes time, then a transaction on the row that all want."""
    with connected() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.2), %s", (number,))
        found = cursor.fetchone()
        cursor.execute("UPDATE counter SET value = value + 1")
        connection.commit()
        return found


with mariadb() as port:
    with connected(None) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE trial")
        cursor.execute("CREATE TABLE trial.counter (value INT)")
        cursor.execute("INSERT INTO trial.counter VALUES (0)")
        connection.commit()
    done = overlap(ask)
    assert done.results == [(0, number) for number in range(20)], done.results
    with connected() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT value FROM counter")
        assert cursor.fetchone() == (20,)
print(f"SELECT SLEEP: {done}")
