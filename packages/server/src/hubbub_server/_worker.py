"""A worker as its supervisor sees it: a child process, the socket by which they talk, and the page with its figures."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final

from hubbub_server._counters import Counters, Page

__all__ = ["NEVER", "Adopted", "Worker", "start_worker"]

NEVER: Final = float("inf")
"""The time of what does not happen."""


class Adopted:
    """A child that was started by the program whose place this one has taken, with what is needed of a
    :class:`subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._ask(os.WNOHANG)

    def wait(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._ask(0)

    def _ask(self, options: int) -> int | None:
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:
                self.returncode = 0  # it has ended, and somebody else knows how
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Worker:
    """One child.

    :param number: the smallest that no other worker has.
    :param seat: the smallest that no other has of those that are to serve with it. The worker that comes after it has
        the same.
    :param page: the descriptor of its figures, which is this object's now; None if nobody asks for any.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Adopted,
        control: socket.socket,
        generation: int,
        number: int = 0,
        page: int | None = None,
        seat: int = 0,
    ) -> None:
        self.process = process
        self.control = control
        self.generation = generation
        self.number = number
        self.seat = seat
        self.page_descriptor = page
        self._page = None if page is None else Page(page)
        self.born = time.monotonic()
        self.ready_at = NEVER
        self.silent = False
        self.leaving = False
        self.since_beat = 0.0
        """Seconds of the supervisor's time since it was heard of, without those in which the supervisor stood."""
        self.deadline = NEVER
        """When it is killed."""
        self.fate = "died"
        """How its end counts if it was not asked for: ``"died"``, ``"stuck"`` or ``"late"``."""

    @property
    def ready(self) -> bool:
        """Whether it has begun to serve."""
        return self.ready_at != NEVER

    @property
    def starting(self) -> bool:
        """Whether it is to serve, and has not begun."""
        return not (self.ready or self.leaving)

    @property
    def state(self) -> str:
        """``"starting"``, ``"serving"`` or ``"leaving"``."""
        return "leaving" if self.leaving else "serving" if self.ready else "starting"

    @property
    def counters(self) -> Counters:
        """Its figures as it has published them last."""
        return Counters() if self._page is None else self._page.read()

    def close(self) -> None:
        """It has ended, or is another's now."""
        self.control.close()
        if self._page is not None and self.page_descriptor is not None:
            self._page.close()
            os.close(self.page_descriptor)
            self._page = self.page_descriptor = None

    # Handing over ---------------------------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What its next supervisor must have."""
        return [self.control.fileno(), *([] if self.page_descriptor is None else [self.page_descriptor])]

    def as_state(self) -> dict[str, Any]:
        """What its next supervisor must know, for JSON."""
        return {
            "pid": self.process.pid,
            "control": self.control.fileno(),
            "page": self.page_descriptor,
            "generation": self.generation,
            "number": self.number,
            "seat": self.seat,
            "born": self.born,
            "ready_at": None if self.ready_at == NEVER else self.ready_at,
            "leaving": self.leaving,
            "deadline": None if self.deadline == NEVER else self.deadline,
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Worker:
        """The worker that :meth:`as_state` has described, in the program that has taken the supervisor's place.

        :raises OSError: a descriptor is not what it should be.
        """
        control = socket.socket(fileno=state["control"])
        control.set_inheritable(False)
        if state["page"] is not None:
            os.set_inheritable(state["page"], False)
        seat = state.get("seat", state["number"])  # a version before this one had none
        worker = cls(Adopted(state["pid"]), control, state["generation"], state["number"], state["page"], seat)
        worker.born = state["born"]
        worker.ready_at = NEVER if state["ready_at"] is None else state["ready_at"]
        worker.leaving = state["leaving"]
        worker.deadline = NEVER if state["deadline"] is None else state["deadline"]
        return worker


def start_worker(
    command: Sequence[str],
    listeners: Sequence[socket.socket],
    generation: int,
    number: int,
    seat: int,
    counted: bool,
) -> Worker:
    """Start one.

    :param command: its command line, to which its descriptors are appended.
    :param listeners: what it accepts from.
    :param counted: whether it shall publish figures.
    :raises OSError: there is no room for it.
    """
    mine, theirs = socket.socketpair()
    page: int | None = None
    try:
        page = Page.make() if counted else None
        process = _spawn(command, listeners, theirs, page)
        return Worker(process, mine, generation, number, page, seat)
    except BaseException:
        mine.close()
        if page is not None:
            os.close(page)
        raise
    finally:
        theirs.close()


def _spawn(
    command: Sequence[str], listeners: Sequence[socket.socket], control: socket.socket, page: int | None
) -> subprocess.Popen[bytes]:
    numbers = [*(sock.fileno() for sock in listeners), control.fileno(), *([] if page is None else [page])]
    return subprocess.Popen(
        [
            *command,
            f"--inherited={','.join(str(sock.fileno()) for sock in listeners)}",
            f"--control={control.fileno()}",
            *([] if page is None else [f"--counters={page}"]),
        ],
        pass_fds=numbers,
        stdin=subprocess.DEVNULL,
        process_group=0,
    )
