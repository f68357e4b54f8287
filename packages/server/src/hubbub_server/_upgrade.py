"""Taking the place of a running supervisor: new code in the same process, with its children and its sockets.

The process stays, so its number does, and with it whatever watches it: a service manager, a container whose process 1
it is, its workers, who are its children still. What can fail is tried before: a *trial*, a process of its own, starts
the new program as far as its settings and sockets, with the same descriptors, and ends. Then the program is replaced by
:manpage:`execve(2)`; from there on nothing is new to it.

What the new program must know is JSON in a pipe, whose descriptor an environment variable names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["Trial", "block_signals", "replace", "take_over", "was_offered"]

_VARIABLE: Final = "HUBBUB_TAKE_OVER"
_SECONDS = 60.0
"""What a trial may take."""


def was_offered() -> bool:
    """Whether this program was started to take the place of another."""
    return _VARIABLE in os.environ


def take_over() -> dict[str, Any] | None:
    """What the program before has left, or None if there was none. Asked a second time, it is None.

    ``trial`` is true in it if this is a trial: then the sockets may be opened, and nothing else be done.

    :raises ValueError: it was written by a version that this one does not understand.
    """
    offered = os.environ.pop(_VARIABLE, None)
    if offered is None:
        return None
    kind, _, descriptor = offered.partition(":")
    with os.fdopen(int(descriptor), "rb") as file:
        state: dict[str, Any] = json.load(file)
    if state.get("version") != 1:
        raise ValueError(f"cannot take over from a version that says {state.get('version')!r}; start anew instead")
    state["trial"] = kind == "trial"
    return state


def _offer(state: Mapping[str, Any]) -> int:
    """The reading end of a pipe with the state.

    :raises OSError: no pipe is to be had, or it takes less than there is to say.
    """
    data = json.dumps({"version": 1, **state}).encode()
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        if os.write(writer, data) != len(data):
            raise OSError(f"a pipe does not take the {len(data)} bytes that are to be said")
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return reader


class Trial:
    """A process that finds out whether the new program would start.

    :param command: its command line.
    :param descriptors: what the state names.
    :raises OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], state: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        reader = _offer(state)
        try:
            self._process = subprocess.Popen(
                command,
                pass_fds=[*descriptors, reader],
                env={**os.environ, _VARIABLE: f"trial:{reader}"},
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        finally:
            os.close(reader)
        self.pid: int = self._process.pid
        self.deadline: float = time.monotonic() + _SECONDS
        """When it has taken too long."""

    def verdict(self) -> bool | None:
        """Whether the program would start; None as long as that is not known."""
        if time.monotonic() > self.deadline:
            self.end()
            return False
        status = self._process.poll()
        return None if status is None else status == 0

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def replace(
    command: Sequence[str], state: Mapping[str, Any], descriptors: Sequence[int], environ: Mapping[str, str]
) -> None:
    """Go on as another program. All signals are to be blocked, and are there: so none is lost on the way.

    :param environ: more variables for it.
    :raises OSError: that cannot be done, and everything is as before. Otherwise this does not return.
    """
    reader = _offer(state)
    try:
        for descriptor in (*descriptors, reader):
            os.set_inheritable(descriptor, True)
        os.execve(command[0], list(command), {**os.environ, **environ, _VARIABLE: f"exec:{reader}"})
    finally:
        os.close(reader)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)


def block_signals() -> list[int]:
    """Keep all signals waiting from now on; those that waited before."""
    return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())]
