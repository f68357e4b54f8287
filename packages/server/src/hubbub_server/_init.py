"""Being process 1, as in a container.

Process 1 inherits the children of every process that ends before them, and has to reap them; and the kernel keeps from
it every signal that it has no handler for. A server that runs applications cannot do the first itself: it would take
the exit statuses of the application's own children away. So the first process only reaps and passes signals on, and its
child serves.
"""

from __future__ import annotations

import os
import signal

__all__ = ["become_init"]

_NOT_PASSED = frozenset(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGSTOP", "SIGCHLD", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP")
    if hasattr(signal, name)
)


def become_init() -> None:
    """If this is process 1: go on as its child, while process 1 waits for that, and ends with its status.

    To be called while there is one thread and no hub.
    """
    if os.getpid() != 1:
        return
    passed = {number for number in signal.valid_signals() if number not in _NOT_PASSED}
    waited = passed | {signal.SIGCHLD}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, waited)  # none is lost between the fork and the first wait
    child = os.fork()
    if child:
        _attend(child, waited)
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    if os.environ.get("LISTEN_PID") == "1":
        os.environ["LISTEN_PID"] = str(os.getpid())
    if os.environ.get("WATCHDOG_PID") == "1":
        os.environ["WATCHDOG_PID"] = str(os.getpid())


def _attend(child: int, waited: set[signal.Signals]) -> None:
    """Reap whatever there is and pass signals on until ``child`` ends."""
    while True:
        number = signal.sigwait(waited)
        if number == signal.SIGCHLD:
            _reap(child)
        else:
            os.kill(child, number)


def _reap(child: int) -> None:
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
