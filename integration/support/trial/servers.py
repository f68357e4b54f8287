"""Servers for the length of a block: on a free port of the loopback interface, in a folder of their own."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trial.programs import find_program

__all__ = ["HOST", "answers", "as_user", "await_true", "free_port", "python_server", "scratch", "server", "skip"]

HOST = "127.0.0.1"
SKIPPED = 77
"""The exit status that says: this machine cannot have what the script needs. The last line says what that is."""


def skip(reason: str) -> None:
    """End the script: the machine cannot have what it needs."""
    print(reason, flush=True)
    sys.exit(SKIPPED)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody has."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody accepts connections at a port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def await_true(check: Callable[[], Any], seconds: float = 60, what: str = "the server answers") -> Any:
    """Ask again and again until ``check()`` is true, and return it.

    :raises TimeoutError: it is not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return found


def as_user(*names: str) -> dict[str, Any]:
    """Options of Popen to run a server as another user than root, which some refuse: the first that exists.

    :returns: nothing if this is not root.
    """
    if os.geteuid() != 0:
        return {}
    for name in (*names, "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise LookupError(f"no user of {names} exists")


@contextmanager
def scratch(options: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that is removed at the end, belonging to the user of :func:`as_user`."""
    with tempfile.TemporaryDirectory(prefix="hubbub-trial-", ignore_cleanup_errors=True) as folder:
        if "user" in options:
            os.chown(folder, options["user"], options["group"])
        yield Path(folder)


@contextmanager
def server(
    command: Sequence[str | Path],
    ready: Callable[[], Any],
    *,
    folder: Path,
    stop: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server meanwhile.

    :param command: a program, looked for also where Debian puts servers, and its arguments.
    :param ready: asked until it is true.
    :param folder: its working directory, where its output goes to a file too.
    :param stop: the signal that ends it. What has not ended after ten seconds is killed.
    :param options: of Popen.
    :raises RuntimeError: it ended by itself or never became ready; with its output.
    """
    program = find_program(str(command[0])) or str(command[0])
    log = folder / f"{Path(program).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *map(str, command[1:])],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )
    try:
        try:
            await_true(lambda: process.poll() is not None or ready(), what=f"{program} answers")
        except TimeoutError as error:
            raise RuntimeError(f"{error}\n{_text(log)}") from error
        if process.poll() is not None:
            raise RuntimeError(f"{program} ended with {process.returncode}\n{_text(log)}")
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def python_server(program: str | Path, *arguments: str) -> Iterator[int]:
    """Run a server written in Python, unpatched, in a process of its own; its port.

    :param program: the source of one that listens at the port ``int(sys.argv[1])``, or the path of its file.
    """
    port = free_port()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    with scratch({}) as folder:
        path = Path(program) if "\n" not in str(program) else folder / "server.py"
        if path.parent == folder:
            path.write_text(str(program))
        command: list[str | Path] = [sys.executable, path, str(port), *arguments]
        with server(command, lambda: answers(port), folder=folder, env=plain):
            yield port


def _text(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
