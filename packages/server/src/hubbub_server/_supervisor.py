"""The process that watches the workers. It runs no hub: it waits for signals and for its children, and starts them.

A worker is a fresh interpreter that inherits the listening sockets, so connections queue in the kernel while workers
come and go, and none is refused.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from hubbub_server._listener import bind_plain, parse_address
from hubbub_server._reload import CHANGED
from hubbub_server._systemd import listen_fds, notify

__all__ = ["Supervisor"]

_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGQUIT") if hasattr(signal, name)
]
_YOUNG = 1.0
"""A worker that dies in its first second makes the next one wait."""


class _Worker:
    """One child."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, generation: int) -> None:
        self.process = process
        self.control = control
        self.generation = generation
        self.born = time.monotonic()
        self.ready = False
        self.silent = False
        self.leaving = False


class Supervisor:
    """Keeps as many workers as the options say.

    :param command: how a worker is started; its descriptors are appended.
    """

    def __init__(self, options: argparse.Namespace, command: list[str]) -> None:
        self.options = options
        self.command = command
        self.count: int = options.workers or 1
        self.workers: list[_Worker] = []
        self.listeners: list[socket.socket] = []
        """What all workers share."""
        self.places: list[socket.socket] = []
        """With SO_REUSEPORT: bound but not listening, so that the kernel gives them no connections. They keep the
        address while workers come and go, each with a listener of its own there."""
        self.generation = 0
        self.stopping = False
        self._delay = 0.0
        self._not_before = 0.0
        self._deadline = float("inf")
        self._ever_ready = False
        self._status = 0

    # Life -----------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until told to stop; the exit status.

        :raises OSError: an address cannot be bound.
        """
        self.listeners = listen_fds()
        if not self.listeners:
            self._bind()
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            self._announce()
            while not (self.stopping and not self.workers):
                self._fill()
                self._wait(reader)
                self._reap()
                self._retire()
                if time.monotonic() > self._deadline:
                    self._signal_all(signal.SIGKILL)
        finally:
            signal.set_wakeup_fd(-1)
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
                worker.control.close()
            for sock in (*self.listeners, *self.places, reader, writer):
                sock.close()
        return self._status

    def _bind(self) -> None:
        options = self.options
        for address in options.bind or ["127.0.0.1:8000"]:
            family, target = parse_address(address)
            if options.reuse_port and family != socket.AF_UNIX:
                self.places.append(bind_plain(family, target, None, True))
            else:
                self.listeners.append(bind_plain(family, target, options.backlog, False))

    def _announce(self) -> None:
        for sock in (*self.listeners, *self.places):
            self._say(f"listening on {sock.getsockname()!r} with {self.count} worker(s)")

    def _say(self, text: str) -> None:
        sys.stderr.write(f"hubbub-serve: {text} (supervisor, pid {os.getpid()})\n")
        sys.stderr.flush()

    # Waiting --------------------------------------------------------------------------------------------------------

    def _wait(self, reader: socket.socket) -> None:
        starting = [worker for worker in self.workers if not (worker.ready or worker.silent)]
        waited: list[Any] = [reader, *(worker.control for worker in starting)]
        soon = time.monotonic() + 60.0
        if len(self._current()) < self.count and not self.stopping:
            soon = self._not_before
        pause = max(min(soon, self._deadline) - time.monotonic(), 0.0)
        found, _, _ = select.select(waited, (), (), pause)
        if reader in found:
            self._take_signals(reader.recv(4096))
        for worker in starting:
            if worker.control in found:
                self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        if not worker.control.recv(1):
            worker.silent = True  # it is ending; waitpid(2) will tell
            return
        worker.ready = True
        self._delay = 0.0
        if not self._ever_ready and len([one for one in self._current() if one.ready]) >= self.count:
            self._ever_ready = True
            notify("READY=1")

    def _take_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGHUP:
                self._reload()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGQUIT:
                self.stopping = True
                self._signal_all(signal.SIGKILL)

    # Workers --------------------------------------------------------------------------------------------------------

    def _current(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.generation == self.generation and not worker.leaving]

    def _fill(self) -> None:
        """Start workers until there are enough, not faster than they can die."""
        while not self.stopping and len(self._current()) < self.count and time.monotonic() >= self._not_before:
            try:
                self.workers.append(self._start())
            except OSError as error:
                if not self._ever_ready:
                    raise
                # No memory, no descriptors, too many processes: that passes, and others may be serving.
                self._say(f"cannot start a worker: {error}")
                self._back_off()

    def _back_off(self) -> None:
        """Start no worker for a while, a longer one each time until a worker is ready."""
        self._delay = min(max(self._delay * 2, 0.5), 10.0)
        self._not_before = time.monotonic() + self._delay

    def _start(self) -> _Worker:
        mine, theirs = socket.socketpair()
        backlog = self.options.backlog
        own = [bind_plain(sock.family, sock.getsockname(), backlog, True) for sock in self.places]
        inherited = [*self.listeners, *own]
        command = [
            *self.command,
            f"--inherited={','.join(str(sock.fileno()) for sock in inherited)}",
            f"--control={theirs.fileno()}",
        ]
        try:
            process = subprocess.Popen(
                command,
                pass_fds=[sock.fileno() for sock in (*inherited, theirs)],
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        except BaseException:
            mine.close()
            raise
        finally:
            for sock in (*own, theirs):
                sock.close()
        return _Worker(process, mine, self.generation)

    def _reap(self) -> None:
        for worker in list(self.workers):
            status = worker.process.poll()
            if status is not None:
                self.workers.remove(worker)
                worker.control.close()
                self._died(worker, status)

    def _died(self, worker: _Worker, status: int) -> None:
        if worker.leaving or self.stopping:
            return
        if status == CHANGED:
            self._say("a module changed; starting anew")
            return
        age = time.monotonic() - worker.born
        self._say(f"worker {worker.process.pid} ended with status {status} after {age:.1f} s")
        if not self._ever_ready and not worker.ready and not self.options.reload:
            self._status = 1  # it cannot start at all: to try again would say the same again
            self._stop()
        elif worker.generation == self.generation and not worker.ready and self._older():
            self._say("the new workers do not start; keeping the old ones")
            self._keep_older()
        elif age < _YOUNG or self.options.reload:
            self._back_off()

    def _older(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.generation != self.generation and not worker.leaving]

    def _keep_older(self) -> None:
        """The newest generation is no good: the one before is the current again."""
        for worker in self._current():
            self._dismiss(worker)
        self.generation = max(worker.generation for worker in self._older())

    def _retire(self) -> None:
        """Once the new generation serves, the old one may go."""
        current = self._current()
        if len(current) >= self.count and all(worker.ready for worker in current):
            for worker in self._older():
                self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        worker.leaving = True
        worker.process.send_signal(signal.SIGTERM)

    def _reload(self) -> None:
        if not self.stopping:
            self._say("reloading")
            self.generation += 1
            self._not_before = 0.0

    def _stop(self) -> None:
        if self.stopping:
            self._deadline = 0.0  # asked twice: at once
            return
        self.stopping = True
        notify("STOPPING=1")
        for sock in (*self.listeners, *self.places):
            sock.close()  # so that what the kernel has queued is the workers' to serve, and nothing is queued after
        self._deadline = time.monotonic() + self.options.stop_seconds + 5.0
        for worker in self.workers:
            self._dismiss(worker)

    def _signal_all(self, number: int) -> None:
        self._deadline = float("inf")
        for worker in self.workers:
            worker.process.send_signal(number)


def _noted(number: int, frame: object) -> None:
    """The wake-up descriptor tells the main loop."""
