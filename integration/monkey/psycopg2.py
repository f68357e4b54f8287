# /// script
# dependencies = ["psycopg2-binary>=2.9"]
#
# [tool.hubbub]
# programs = ["postgres", "initdb"]
# debian = ["postgresql"]
# ///
"""psycopg2 over PostgreSQL. It waits in C, unless it is told to use its own function on select, which is patched."""

import hubbub_monkey

hubbub_monkey.patch_all()

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from trial.databases import postgres
from trial.overlap import overlap
from trial.servers import HOST

psycopg2.extensions.set_wait_callback(psycopg2.extras.wait_select)


def ask(number: int) -> tuple[int]:
    """A statement that takes time, over a connection of its own."""
    connection = psycopg2.connect(host=HOST, port=port, user="postgres", dbname="postgres")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2)")
        cursor.execute("SELECT %s", (number,))
        found = cursor.fetchone()
    connection.close()
    return found


with postgres() as port:
    done = overlap(ask)
    assert done.results == [(number,) for number in range(20)]
print(f"pg_sleep: {done}")
