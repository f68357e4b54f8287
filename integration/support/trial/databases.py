"""Database servers for the length of a block, each with data of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trial.programs import find_program
from trial.servers import HOST, answers, as_user, free_port, scratch, server

__all__ = ["mariadb", "postgres"]


def _set_up(command: list[str | Path], folder: Path, **options: object) -> None:
    """Run a program that makes a server's first data; its output is shown when it fails."""
    program = find_program(str(command[0]))
    assert program, command[0]
    done = subprocess.run(
        [program, *map(str, command[1:])],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]  # those of Popen that as_user makes
    )
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}\n{done.stdout}")


@contextmanager
def postgres() -> Iterator[int]:
    """PostgreSQL, whose user ``postgres`` needs no password; its port. Debian: ``postgresql``."""
    port, options = free_port(), as_user("postgres")
    with scratch(options) as folder:
        data = folder / "data"
        _set_up(["initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"], folder, **options)
        command: list[str | Path] = ["postgres", "-D", data, "-h", HOST, "-p", str(port), "-k", folder]
        command += ["-c", "fsync=off", "-c", "max_connections=100"]
        with server(command, lambda: answers(port), folder=folder, stop=signal.SIGINT, **options):
            yield port


@contextmanager
def mariadb() -> Iterator[int]:
    """MariaDB, whose user ``root`` needs no password; its port. Debian: ``mariadb-server``."""
    port, options = free_port(), as_user("mysql")
    with scratch(options) as folder:
        data = folder / "data"
        _set_up(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
            folder,
            **options,
        )
        command: list[str | Path] = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--bind-address={HOST}"]
        command += [f"--port={port}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        with server(command, lambda: answers(port), folder=folder, **options):
            yield port
