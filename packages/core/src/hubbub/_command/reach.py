"""Finds the process that is meant, and asks it."""

from __future__ import annotations

import json
import os
import socket as _socket_module
import sys
from typing import TYPE_CHECKING, Any

from hubbub._command.injection import Injection
from hubbub._kernel import peer_of
from hubbub._originals import socket
from hubbub.control import default_path

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Failed", "Peer", "reach"]

_PATIENCE = 30.0
"""Seconds to wait for an answer, besides the time that the request itself takes."""


class Failed(Exception):
    """The process cannot be asked, or has refused the question. The text is for people."""


class Peer:
    """A process that answers.

    :param connection: to its control socket.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")

    def ask(self, ask: str, seconds: float | None = None, **more: Any) -> Any:
        """One question and its answer.

        :param seconds: how long the process is to look, where that can be said.
        :raises Failed: it refuses, or does not answer.
        """
        self.send(ask, seconds, **more)
        return self.receive()

    def send(self, ask: str, seconds: float | None = None, **more: Any) -> None:
        """The question alone, as :meth:`ask`. The answer has come when :meth:`fileno` is readable."""
        try:
            asked = {"ask": ask, **more}
            if seconds is not None:
                asked["seconds"] = seconds
            self._connection.settimeout(_PATIENCE + (seconds or 0.0))
            self._connection.sendall(json.dumps(asked).encode() + b"\n")
        except OSError as error:
            raise Failed(f"the process does not answer: {error}") from error

    def receive(self) -> Any:
        """The answer to what was sent."""
        try:
            line = self._file.readline()
        except OSError as error:
            raise Failed(f"the process does not answer: {error}") from error
        if not line.endswith(b"\n"):
            raise Failed("the process has closed the connection")
        told = json.loads(line)
        if "error" in told:
            raise Failed("".join([told["error"], "\n", *told.get("traceback", ())]).rstrip())
        return told["answer"]

    def fileno(self) -> int:
        """The descriptor of the connection."""
        number: int = self._connection.fileno()
        return number

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reach(target: str, allow_exec: bool = False) -> Peer:
    """The process with the number ``target``, or the one that listens at the path ``target``.

    :raises Failed: it cannot be reached; the text says what would help.
    """
    if not target.isdigit():
        return Peer(_connected(target))
    pid = int(target)
    if not _lives(pid):
        raise Failed(f"there is no process {pid}")
    for path in _paths(pid):
        if os.path.exists(path):
            connection = _connected(path)
            peer = peer_of(connection)
            if peer is None or peer[0] == pid:
                return Peer(connection)
            connection.close()  # another process listens where that one might have
    if not hasattr(sys, "remote_exec"):
        raise Failed(_advice(pid, "this Python has no sys.remote_exec (3.14 and later have)"))
    try:
        return Peer(Injection(pid, allow_exec).connection())
    except (OSError, RuntimeError, TimeoutError) as error:
        raise Failed(_advice(pid, f"sys.remote_exec: {error}")) from error


def _advice(pid: int, why: str) -> str:
    return (
        f"process {pid} has no control socket, and it cannot be entered: {why}.\n"
        "Start it with HUBBUB_CONTROL=/path/to/socket, or have it call hubbub.control.serve(); "
        "on Python 3.14 and later run this command by the same version, as its owner or root."
    )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True


def _paths(pid: int) -> list[str]:
    """Where the process may listen."""
    found = [default_path(pid)]
    try:
        found.append(f"/tmp/hubbub-{os.stat(f'/proc/{pid}').st_uid}/hubbub-{pid}.sock")
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return found  # no /proc, or another user's
    named = os.fsdecode(variables.get(b"HUBBUB_CONTROL", b"")).replace("{pid}", str(pid))
    return [os.path.join(folder, named), *found] if named else found


def _connected(path: str) -> Any:
    connection = socket(_socket_module.AF_UNIX, _socket_module.SOCK_STREAM)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise Failed(f"{path}: {error.strerror or error}") from error
    return connection
