"""The process that watches the workers. Its main thread runs no hub: it waits for signals and for its children, and
starts them.

A worker is a fresh interpreter that inherits the listening sockets, so connections queue in the kernel while workers
come and go, and none is refused.

There are never more processes than can be told beforehand. One generation of workers serves; at most one more is being
started, whatever number of signals asks for it; and the next is not begun before the last has gone, or has had
:data:`_PARTING` seconds to go.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hubbub_server._counters import Counters
from hubbub_server._logs import Logs
from hubbub_server._outlet import complain
from hubbub_server._reload import CHANGED
from hubbub_server._sockets import Sockets
from hubbub_server._staff import Staff
from hubbub_server._status import serve_status
from hubbub_server._systemd import Notifier
from hubbub_server._upgrade import Trial, block_signals, replace, take_over
from hubbub_server._worker import NEVER, Worker, start_worker
from hubbub_server.http.accesslog import escape_breaks

__all__ = ["REOPEN", "Supervisor"]

REOPEN = b"L"
"""What a worker is told when it shall open its logs anew."""
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU")
    if hasattr(signal, name)
]
_YOUNG = 5.0
"""A worker that has served for less than so many seconds when it dies makes the next one wait."""
_PARTING = 30.0
"""Seconds that retiring workers may keep the next generation waiting."""
_GRACE = 5.0
"""Seconds beyond its own time limit after which a worker that is to end is killed."""
_LAST_WORDS = 2.0
"""Seconds for a worker that stands still to say where, after SIGABRT."""
_MOST = 4
"""By signals there can be so many times the workers that the options say, or so many."""


class Supervisor:
    """Keeps as many workers as the options say.

    :param command: how a worker is started; its descriptors are appended.
    :param itself: how the program that runs the supervisor was started; SIGUSR2 replaces it by that.
    """

    def __init__(self, options: argparse.Namespace, command: list[str], itself: Sequence[str] = ()) -> None:
        self.options = options
        self.command = command
        self.count: int = options.workers or 1
        self.staff = Staff()
        self.sockets = Sockets()
        self.generation = 0
        self.stopping = False
        self.happened: Counter[str] = Counter()
        self.began = time.time()
        self._itself = itself
        self._trial: Trial | None = None
        """Finds out whether the program that is to take this one's place would start."""
        self._asked: Counter[int] = Counter()
        """Signals that came and were not dealt with."""
        self._wanted = False
        """Whether a new generation was asked for that was not begun."""
        self._telling = False
        """Whether the service manager was told of a change that has not ended."""
        self._notifier = Notifier()
        self._logs = Logs()
        self.events = self._logs.events(options)
        self._delay = 0.0
        self._not_before = 0.0
        self._renew_delay = 0.0
        self._deadline = NEVER
        self._last_round = time.monotonic()
        self._ever_ready = False
        """Whether a worker has begun to serve: then it is worthwhile to try again when one does not."""
        self._told = False
        """Whether the service manager was told that all of them had."""
        self._status = 0

    # Life -----------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Supervise until told to stop; the exit status.

        :raises OSError: an address cannot be bound.
        """
        taken = take_over()
        is_trial = taken is not None and taken["trial"]
        for number in () if is_trial else _SIGNALS:
            signal.signal(number, self._note)  # before anybody can see that it listens, and send one
        self.sockets.open(self.options, None if taken is None else taken["sockets"])
        if is_trial:
            return 0
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        # The descriptor only ends a wait; which signals came, Python itself remembers, however many there are.
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        if self.sockets.status is not None:
            serve_status(self.sockets.status, self)
        try:
            if taken is None:
                self._announce()
            else:
                self._go_on(taken)
            while not (self.stopping and not self.workers):
                self._try_round(reader)
        finally:
            signal.set_wakeup_fd(-1)
            if self._trial is not None:
                self._trial.end()
            for worker in self.workers:
                worker.process.kill()
                worker.process.wait()
                worker.control.close()
            self.sockets.close()
            reader.close()
            writer.close()
            self._logs.finish()
        return self._status

    @property
    def workers(self) -> list[Worker]:
        """Those that are there."""
        return self.staff.workers

    def census(self) -> tuple[list[Worker], Counters]:
        """See :class:`~hubbub_server._report.Reported`."""
        return self.staff.census()

    def _try_round(self, reader: socket.socket) -> None:
        try:
            self._round(reader)
        except Exception:
            if not self._ever_ready:
                raise
            # Ours to mend, and no reason to take the workers, who serve, along.
            self._say(f"a fault of the supervisor's:\n{traceback.format_exc()}")
            time.sleep(0.5)

    def _round(self, reader: socket.socket) -> None:
        self._renew()
        self._fill()
        self._wait(reader)
        self._take_signals()
        self._reap()
        self._retire()
        self._end_late()
        self._look_at_trial()
        self._notifier.again()

    def _announce(self) -> None:
        for sock in (*self.sockets.shared, *self.sockets.places):
            self._say(f"listening on {sock.getsockname()!r} with {self.count} worker(s)")
        if self.sockets.status is not None:
            self._say(f"the status is at {self.sockets.status.getsockname()!r}, under /-/")

    def _say(self, text: str) -> None:
        complain(f"hubbub-serve: {text} (supervisor, pid {os.getpid()})")
        if self.events is not None:
            self.events.write("supervisor", message=escape_breaks(text))

    # Waiting --------------------------------------------------------------------------------------------------------

    def _note(self, number: int, frame: object) -> None:
        """A handler of signals. The wake-up descriptor has ended the wait, or will."""
        self._asked[number] += 1

    def _wait(self, reader: socket.socket) -> None:
        """Until a signal, a worker's word, or the next thing that is due."""
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        speaking = {worker.control.fileno(): worker for worker in self.workers if not worker.silent}
        for descriptor in speaking:
            poll.register(descriptor, select.POLLIN)
        found = {descriptor for descriptor, _ in poll.poll(self._pause() * 1000)}
        self._logs.pump()
        self._count_time()
        if reader.fileno() in found:
            try:
                reader.recv(65536)
            except BlockingIOError:
                found.discard(reader.fileno())
        for descriptor in found & set(speaking):
            self._hear(speaking[descriptor])

    def _pause(self) -> float:
        """Seconds until something is due."""
        if self._asked:
            return 0.0
        now = time.monotonic()
        due = [60.0, self._deadline - now, *(worker.deadline - now for worker in self.workers)]
        if not self.stopping and (self._wanted or len(self._current()) < self.count):
            due.append(max(self._not_before - now, 0.05 if self._wanted else 0.0))
        if self._notifier.period is not None:
            due.append(self._notifier.period / 2)
        if self.options.stuck_seconds is not None:
            due.append(self.options.stuck_seconds / 4)
        if self._logs.waiting:
            due.append(0.5)
        if self._trial is not None:
            due.append(self._trial.deadline - now)
        return max(min(due), 0.0)

    def _count_time(self) -> None:
        """What has passed counts against silent workers, but not what this process itself has slept through."""
        now = time.monotonic()
        passed, self._last_round = now - self._last_round, now
        longest = 60.0 if self.options.stuck_seconds is None else self.options.stuck_seconds / 2
        for worker in self.workers:
            worker.since_beat += min(passed, longest)

    def _hear(self, worker: Worker) -> None:
        try:
            said = worker.control.recv(4096)
        except OSError:
            said = b""
        if not said:
            worker.silent = True  # it is ending; waitpid(2) will tell
            return
        worker.since_beat = 0.0
        if worker.ready:
            return
        worker.ready_at = time.monotonic()
        worker.deadline = NEVER if not worker.leaving else worker.deadline
        self._ever_ready = True
        if not self._told and self._complete():
            self._told = True
            self._notifier.ready()

    def _take_signals(self) -> None:
        asked, self._asked = self._asked, Counter()
        if asked[signal.SIGQUIT]:
            self._stop()
            self._kill_all()
        for number in (signal.SIGTERM, signal.SIGINT):
            for _ in range(min(asked[number], 2)):
                self._stop()
        if self.stopping:
            return
        if asked[signal.SIGUSR1]:
            self._reopen()
        change = asked[signal.SIGTTIN] - asked[signal.SIGTTOU]
        if change:
            self._resize(self.count + change)
        if asked[signal.SIGHUP]:
            self._wanted = True
        if asked[signal.SIGUSR2]:
            self._begin_upgrade()

    def _reopen(self) -> None:
        self._say("opening the logs anew")
        self._logs.reopen()
        for worker in self.workers:
            try:
                worker.control.send(REOPEN, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                continue  # it is ending, or stands still, which is seen elsewhere

    def _resize(self, count: int) -> None:
        configured = self.options.workers or 1
        self.count = min(max(count, 1), max(configured * _MOST, configured + _MOST))
        self._say(f"keeping {self.count} worker(s)")
        for worker in self._current():
            if worker.seat >= self.count:
                self._dismiss(worker)
        self._close_unused()

    def _close_unused(self) -> None:
        """Close the listeners of workers that have gone and are not followed by others, or not soon."""
        self.sockets.keep_own({worker.seat for worker in self.workers if not worker.leaving})

    # Workers --------------------------------------------------------------------------------------------------------

    def _current(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.generation == self.generation and not worker.leaving]

    def _older(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.generation != self.generation and not worker.leaving]

    def _complete(self) -> bool:
        """Whether as many of the newest generation serve as there shall be."""
        return sum(worker.ready for worker in self._current()) >= self.count

    def _renew(self) -> None:
        """Begin a new generation if one was asked for and the one before is through."""
        now = time.monotonic()
        if not self._wanted or self.stopping or self._older() or any(worker.starting for worker in self.workers):
            return
        leaving = [worker for worker in self.workers if worker.leaving]
        since = max((worker.deadline - self._parting() for worker in leaving), default=-NEVER)
        if len(leaving) > self.count or now < since + _PARTING or now < self._renew_delay:
            return
        self._say("reloading")
        self._wanted = False
        self._telling = True
        self._notifier.reloading()
        self.generation += 1
        self.happened["reloads"] += 1
        self._not_before = 0.0

    def _parting(self) -> float:
        return float(self.options.stop_seconds) + _GRACE

    def _fill(self) -> None:
        """Start workers until there are enough, not faster than they can die."""
        while not self.stopping and len(self._current()) < self.count and time.monotonic() >= self._not_before:
            try:
                self.staff.add(self._start())
            except OSError as error:
                if not self._ever_ready:
                    raise
                # No memory, no descriptors, too many processes: that passes, and others may be serving.
                self._say(f"cannot start a worker: {error}")
                self._back_off()

    def _back_off(self) -> None:
        """Start no worker for a while, a longer one each time until one has served for a while."""
        self._delay = min(max(self._delay * 2, 0.5), 10.0)
        self._not_before = time.monotonic() + self._delay
        self._close_unused()

    def _start(self) -> Worker:
        seats = {worker.seat for worker in self._current()}
        seat = next(number for number in range(len(seats) + 1) if number not in seats)
        worker = start_worker(
            self.command,
            [*self.sockets.shared, *self.sockets.own(seat, self.options.backlog)],
            self.generation,
            self.staff.free_number(),
            seat,
            counted=self.sockets.status is not None,
        )
        self.happened["starts"] += 1
        if self.options.start_seconds is not None:
            worker.deadline = worker.born + self.options.start_seconds
        return worker

    def _reap(self) -> None:
        for worker, status in self.staff.ended():
            self._died(worker, status)
        if self.staff.reap_orphans(() if self._trial is None else [self._trial.pid]):
            self._asked[signal.SIGCHLD] += 1  # it died just now; the next round asks after it

    def _died(self, worker: Worker, status: int) -> None:
        if worker.leaving or self.stopping:
            return
        if status == CHANGED:
            self._say("a module changed; starting anew")
            return
        now = time.monotonic()
        self.happened[worker.fate] += 1
        self._say(f"worker {worker.process.pid} ended with status {status} after {now - worker.born:.1f} s")
        served = now - worker.ready_at if worker.ready else 0.0
        if not self._ever_ready and not worker.ready and not self.options.reload:
            self._status = 1  # it cannot start at all: to try again would say the same again
            self._stop()
        elif worker.generation == self.generation and not worker.ready and self._older():
            self._say("the new workers do not start; keeping the old ones")
            self._keep_older()
        elif served < _YOUNG or self.options.reload:
            self._back_off()
        else:
            self._delay = 0.0

    def _keep_older(self) -> None:
        """The newest generation is no good: the one before is the current again."""
        for worker in self._current():
            self._dismiss(worker)
        self.generation = max(worker.generation for worker in self._older())
        self._renew_delay = time.monotonic() + 1.0
        self.happened["failed_reloads"] += 1
        self._changed()

    def _changed(self) -> None:
        """A change has ended, one way or the other."""
        if self._telling:
            self._telling = False
            self._notifier.ready()

    def _retire(self) -> None:
        """Once the new generation serves, the old one may go."""
        if not self._complete():
            return
        if older := self._older():
            for worker in older:
                self._dismiss(worker)
            self._close_unused()
        if not self.stopping and self._trial is None:
            self._changed()

    def _dismiss(self, worker: Worker) -> None:
        worker.leaving = True
        worker.deadline = time.monotonic() + self._parting()
        worker.process.send_signal(signal.SIGTERM)

    def _end_late(self) -> None:
        """End those that stand still, or have not begun or ended in their time."""
        now = time.monotonic()
        if now > self._deadline:
            self._kill_all()
        for worker in self.workers:
            if now > worker.deadline:
                worker.deadline = NEVER
                if worker.fate == "died":
                    worker.fate = "late"
                if worker.starting:
                    self._say(f"worker {worker.process.pid} was not ready in {self.options.start_seconds:g} s")
                worker.process.kill()
            elif self._stands_still(worker):
                self._say(f"worker {worker.process.pid} has stood still for {worker.since_beat:.0f} s; it is ended")
                worker.deadline = now + _LAST_WORDS
                worker.fate = "stuck"
                worker.since_beat = 0.0
                worker.process.send_signal(signal.SIGABRT)

    def _stands_still(self, worker: Worker) -> bool:
        limit = self.options.stuck_seconds
        return worker.ready and not worker.leaving and limit is not None and worker.since_beat > limit

    def _stop(self) -> None:
        if self.stopping:
            self._deadline = 0.0  # asked twice: at once
            return
        self.stopping = True
        self._notifier.stopping()
        self.sockets.close_listeners()
        if self._trial is not None:
            self._trial.end()
            self._trial = None
        self._deadline = time.monotonic() + self._parting()
        for worker in self.workers:
            self._dismiss(worker)

    def _kill_all(self) -> None:
        self._deadline = NEVER
        for worker in self.workers:
            worker.process.kill()

    # Being replaced --------------------------------------------------------------------------------------------------

    def _begin_upgrade(self) -> None:
        """Find out whether the program would start anew; see :mod:`hubbub_server._upgrade`."""
        if self._trial is not None:
            return
        self._say("trying the program that is to take over")
        self._telling = True
        self._notifier.reloading()
        try:
            self._trial = Trial(self._itself, self._as_state(), self._descriptors())
        except OSError as error:
            self._give_up_upgrade(str(error))

    def _look_at_trial(self) -> None:
        verdict = None if self._trial is None else self._trial.verdict()
        if verdict is None:
            return
        self._trial = None
        if verdict:
            self._be_replaced()
        else:
            self._give_up_upgrade("it does not start")

    def _be_replaced(self) -> None:
        """Go on as the new program."""
        mask = block_signals()
        self._logs.finish()
        try:
            replace(self._itself, self._as_state(mask), self._descriptors(), self._notifier.environ())
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._give_up_upgrade(str(error))

    def _give_up_upgrade(self, reason: str) -> None:
        self.happened["failed_upgrades"] += 1
        self._say(f"the new program does not take over: {reason}; this one goes on")
        self._changed()

    def _descriptors(self) -> list[int]:
        return [*self.sockets.descriptors(), *self.staff.descriptors()]

    def _as_state(self, mask: Sequence[int] = ()) -> dict[str, Any]:
        """All that the new program must know, for JSON."""
        return {
            "sockets": self.sockets.as_state(),
            **self.staff.as_state(),
            "count": self.count,
            "configured": self.options.workers or 1,
            "generation": self.generation,
            "happened": dict(self.happened),
            "began": self.began,
            "asked": [int(number) for number in self._asked.elements()],
            "mask": list(mask),
        }

    def _go_on(self, taken: dict[str, Any]) -> None:
        """Go on with what the program before has left. Its workers serve until others do, of the new code."""
        self.staff.take(taken)
        if taken["configured"] == (self.options.workers or 1):
            self.count = taken["count"]
        self.generation = taken["generation"]
        self.happened.update(taken["happened"])
        self.happened["upgrades"] += 1
        self.began = taken["began"]
        self._asked.update(taken["asked"])
        self._ever_ready = self._told = self._telling = self._wanted = True
        self._say("has taken over")
        self._announce()
        signal.pthread_sigmask(signal.SIG_SETMASK, taken["mask"])
