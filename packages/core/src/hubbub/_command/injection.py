"""Has a process answer that has no control socket: by :func:`sys.remote_exec` (PEP 768), from CPython 3.14 on.

The interpreter of the process runs a script when its main thread next executes Python code. The script starts a native
thread that connects to a socket of ours and answers there, as a control socket would.

A hub that waits for events executes nothing. On Linux the command ends that wait as a debugger does: it traces the main
thread, interrupts it and lets go of it at once, so that the wait ends with EINTR and the loop looks around. No signal
is delivered, and no handler runs. Waits that the kernel would begin again (poll, select, sleep) end so on x86-64 alone.
"""

from __future__ import annotations

import ctypes
import os
import socket as _socket_module
import sys
import tempfile
from typing import Any

from hubbub._originals import monotonic, socket, waitpid

__all__ = ["Injection", "interrupt_wait"]

_LIMIT = 15.0
"""Seconds in which the process must have begun to answer."""
_BETWEEN = 0.3
"""Seconds between two looks whether it has, and between two interruptions of its wait."""
_SCRIPT = """\
def answer(path, allow_exec, note):
    import sys
    originals = sys.modules.get("hubbub._originals")
    if originals is None:
        with open(note, "w") as file:
            file.write("it does not use hubbub")
        return
    def run():
        try:
            from hubbub.control import answer_to
            answer_to(path, allow_exec)
        except BaseException as error:
            with open(note, "w") as file:
                file.write(repr(error))
    originals.start_new_thread(run, ())
answer({path!r}, {allow_exec!r}, {note!r})
"""


class Injection:
    """A script for the process ``pid``, and the socket at which it then answers.

    :raises OSError: the system refuses, for instance because the process is another user's.
    :raises RuntimeError: it is no Python of this version, or forbids it.
    """

    def __init__(self, pid: int, allow_exec: bool) -> None:
        self._pid = pid
        self._allow_exec = allow_exec

    def connection(self) -> Any:
        """The connection on which the process answers.

        :raises TimeoutError: it has not begun to in time.
        """
        with tempfile.TemporaryDirectory(prefix="hubbub-") as folder:
            path, script, note = (os.path.join(folder, name) for name in ("socket", "script.py", "note"))
            with socket(_socket_module.AF_UNIX, _socket_module.SOCK_STREAM) as listener:
                listener.bind(path)
                listener.listen(1)
                with open(script, "w") as file:
                    names = {"path": path, "allow_exec": self._allow_exec, "note": note}
                    file.write(f"exec({_SCRIPT.format(**names)!r}, {{}})\n")
                self._give(folder, path, script)
                remote_exec: Any = sys.remote_exec  # type: ignore[attr-defined]  # from 3.14 on
                remote_exec(self._pid, script)
                return self._accepted(listener, note)

    def _give(self, *paths: str) -> None:
        """Make the files those of the owner of the process, if that is another user."""
        try:
            found = os.stat(f"/proc/{self._pid}")
        except OSError:
            return  # no /proc: then it must be our own
        if found.st_uid != os.geteuid():
            for path in paths:
                os.chown(path, found.st_uid, found.st_gid)

    def _accepted(self, listener: Any, note: str) -> Any:
        listener.settimeout(_BETWEEN)
        end = monotonic() + _LIMIT
        while monotonic() < end:
            try:
                return listener.accept()[0]
            except TimeoutError:
                interrupt_wait(self._pid)
            if os.path.exists(note):
                with open(note) as file:
                    raise RuntimeError(file.read())
        raise TimeoutError(f"its main thread has executed no Python code for {_LIMIT:g} seconds")


_SEIZE, _INTERRUPT, _DETACH, _GETREGS, _SETREGS = 0x4206, 0x4207, 17, 12, 13  # ptrace(2)
_WALL = 0x40000000  # waitpid(2): threads too
_REGISTERS, _RESULT, _NUMBER = 27, 10, 15  # user_regs_struct of x86-64: how many, rax, orig_rax
_EINTR = -4
_BEGUN_AGAIN = (-514, -516)
"""ERESTARTNOHAND and ERESTART_RESTARTBLOCK of the kernel: what any handler's run turns into EINTR."""


def interrupt_wait(pid: int) -> bool:
    """End the system call in which the main thread of a process waits, without a signal. Linux.

    :returns: False if that is not possible here, or not allowed.
    """
    if not sys.platform.startswith("linux"):
        return False
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    if ptrace(_SEIZE, pid, None, None) < 0:
        return False
    try:
        if ptrace(_INTERRUPT, pid, None, None) < 0:
            return False
        waitpid(pid, _WALL)
        if os.uname().machine == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8:
            _do_not_begin_again(ptrace, pid)
        return True
    finally:
        ptrace(_DETACH, pid, None, None)


def _do_not_begin_again(ptrace: Any, pid: int) -> None:
    registers = (ctypes.c_long * _REGISTERS)()
    if ptrace(_GETREGS, pid, None, ctypes.byref(registers)) < 0:
        return
    if registers[_NUMBER] >= 0 and registers[_RESULT] in _BEGUN_AGAIN:
        registers[_RESULT], registers[_NUMBER] = _EINTR, -1
        ptrace(_SETREGS, pid, None, ctypes.byref(registers))
