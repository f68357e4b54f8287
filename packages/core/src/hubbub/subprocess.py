"""Child processes: the standard module's interface, whose waits let other greenlets run.

:class:`Popen` is the standard library's, with its way of starting a child (vfork, posix_spawn) and with pipes and waits
that are cooperative. It may be used from any thread. A process descriptor tells of the child's end, so no SIGCHLD
handler is needed or touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, update_wrapper
from inspect import signature
from subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    CompletedProcess,
    SubprocessError,
    TimeoutExpired,
    list2cmdline,
)
from typing import Any, AnyStr

from greenlet import GreenletExit

from hubbub._originals import close as _os_close
from hubbub._originals import monotonic
from hubbub._processes import wait_for_end
from hubbub.fileobject import NO_LINE_BUFFERING, PolledFile, TextFile, buffered, share
from hubbub.greenlet import Greenlet
from hubbub.hub import get_hub
from hubbub.scope import shield
from hubbub.waiting import joinall

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "list2cmdline",
    "run",
]
if sys.platform == "win32":
    from subprocess import STARTUPINFO

    __all__ += ["STARTUPINFO"]

_Popen = subprocess.Popen  # the original: patching replaces it in its module
_WINDOWS = sys.platform == "win32"
_CHUNK = 1 << 16


def _position(name: str) -> int:
    """The position of an argument of the standard library's method that starts a child."""
    method: Any = _Popen._execute_child  # type: ignore[attr-defined]  # not public
    return list(signature(method).parameters).index(name) - 1


_PARENT_ENDS = () if _WINDOWS else tuple(_position(name) for name in ("p2cwrite", "c2pread", "errread"))


class Popen(_Popen[AnyStr]):
    """:class:`subprocess.Popen`, cooperative. All arguments, results and errors are the same.

    :func:`hubbub.wait` can also wait for the end of the process.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bufsize = args[1] if len(args) > 1 else kwargs.get("bufsize", -1)
        self._bufsize: Any = -1 if bufsize is None else bufsize
        self._parent_ends = (-1, -1, -1)
        self._unopened: set[int] = set()
        self._watch: Greenlet | None = None
        self._heard: dict[Any, list[bytes]] = {}
        self._unsent: memoryview | None = None
        self._killed = False
        get_hub()  # first: without a hub nobody could wait for the child
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            for fd in self._unopened:
                _os_close(fd)
            raise

    # Starting -------------------------------------------------------------------------------------------------------
    # The standard library's constructor gets only the child's ends of the pipes: it makes no files of the parent's.

    def _get_handles(self, *args: Any) -> Any:
        base: Any = super()
        if _WINDOWS:
            return base._get_handles(*args)
        for file in args:
            share(file)  # our end of another child's pipe becomes an end of this one's
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = base._get_handles(*args)
        self._parent_ends = (p2cwrite, c2pread, errread)
        self._unopened = {fd for fd in self._parent_ends if fd >= 0}
        return p2cread, -1, -1, c2pwrite, -1, errwrite

    def _execute_child(self, *args: Any) -> None:
        base: Any = super()
        if _WINDOWS:
            base._execute_child(*args)
            return
        given = list(args)
        for position, fd in zip(_PARENT_ENDS, self._parent_ends, strict=True):
            given[position] = fd
        self._open_files()
        base._execute_child(*given)

    def _open_files(self) -> None:
        text: Any = self.text_mode  # type: ignore[attr-defined]  # the stubs lack it
        size = self._bufsize
        by_line = text and size == 1
        if size == 1:
            if not text:
                warnings.warn(NO_LINE_BUFFERING, RuntimeWarning, stacklevel=5)
            size = -1
        for name, fd in zip(("stdin", "stdout", "stderr"), self._parent_ends, strict=True):
            if fd < 0:
                continue
            writes = name == "stdin"
            raw = PolledFile(fd, "wb" if writes else "rb")
            self._unopened.discard(fd)
            file: Any = buffered(raw, size)
            setattr(self, name, file)
            if text:
                file = TextFile(file, self.encoding, self.errors, None, writes and by_line, writes)  # type: ignore[attr-defined]  # the stubs lack them
                setattr(self, name, file)

    # Waiting --------------------------------------------------------------------------------------------------------

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            base: Any = super()
            if _WINDOWS:
                result: int = get_hub().threadpool.apply(base._wait, (timeout,))
                return result
            if wait_for_end(self.pid, self._look, timeout) is None:
                raise TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def _look(self) -> int | None:
        """The exit status if the process has ended."""
        base: Any = super()
        lock: Any = self._waitpid_lock  # type: ignore[attr-defined]  # not public
        if self.returncode is None and lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = base._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        base._handle_exitstatus(status)
            finally:
                lock.release()
        return self.returncode

    def ready(self) -> bool:
        """Whether it has ended."""
        return self.poll() is not None

    def rawlink(self, callback: Callable[[Any], Any]) -> None:
        """Call ``callback(self)`` on the hub when the process has ended.

        :raises TypeError: ``callback`` is not callable.
        """
        if not callable(callback):
            raise TypeError(f"the callback must be callable, not {callback!r}")
        if self._watch is None:
            self._watch = Greenlet.spawn(self._wait, None)
        self._watch.rawlink(_EndLink(self, callback))

    def unlink(self, callback: Callable[[Any], Any]) -> None:
        """Undo one :meth:`rawlink`, if it has not been called."""
        if self._watch is not None:
            self._watch.unlink(callback)

    def send_signal(self, sig: int) -> None:
        """:meth:`subprocess.Popen.send_signal`."""
        super().send_signal(sig)
        self._killed = self._killed or sig == getattr(signal, "SIGKILL", None)

    def __exit__(self, exc_type: Any, value: Any, traceback: Any) -> None:
        """End the block: close the pipes and wait for the process.

        One that was killed ends soon, so nothing interrupts that wait: a scope that stays cancelled would leave it.
        """
        with shield() if self._killed else nullcontext():
            super().__exit__(exc_type, value, traceback)

    # Talking --------------------------------------------------------------------------------------------------------

    def _communicate(self, input: Any, endtime: float | None, orig_timeout: float | None) -> Any:
        """One greenlet per pipe moves data until all are closed or the time is up; a later call goes on from there."""
        if _WINDOWS:
            base: Any = super()
            return get_hub().threadpool.apply(base._communicate, (input, endtime, orig_timeout))
        errors: list[BaseException] = []
        movers = [Greenlet.spawn(_guarded, errors, move) for move in self._movers(input)]
        try:
            joinall(movers, None if endtime is None else max(endtime - monotonic(), 0.0))
            if errors:
                raise errors[0]
            if not all(mover.ready() for mover in movers):
                raise TimeoutExpired(
                    self.args, orig_timeout or 0.0, self._heard_from(self.stdout), self._heard_from(self.stderr)
                )
        finally:
            for mover in movers:
                mover.kill(block=False)
        self.wait(None if endtime is None else endtime - monotonic())
        return self._result(self.stdout), self._result(self.stderr)

    def _movers(self, input: Any) -> list[Callable[[], None]]:
        movers: list[Callable[[], None]] = []
        if self.stdin and self.stdin.closed is not True:
            if self._unsent is None:
                if input and self.text_mode:  # type: ignore[attr-defined]  # the stubs lack it
                    input = input.encode(self.stdin.encoding, self.stdin.errors)  # type: ignore[attr-defined]  # a text file
                self._unsent = memoryview(input or b"").cast("B")
            movers.append(self._send)
        for file in (self.stdout, self.stderr):
            if file:
                self._heard.setdefault(file, [])
                if not file.closed:
                    movers.append(partial(self._hear, file))
        return movers

    def _send(self) -> None:
        """Write the input, as far as the child wants it, and close the pipe."""
        stdin: Any = self.stdin
        try:
            stdin.flush()
            raw = getattr(stdin, "buffer", stdin)
            raw = getattr(raw, "raw", raw)
            while self._unsent:
                self._unsent = self._unsent[raw.write(self._unsent) :]
        except BrokenPipeError:
            pass  # the child has ended or does not read: no error, as in subprocess
        try:
            stdin.close()
        except BrokenPipeError:
            pass

    def _hear(self, file: Any) -> None:
        binary = getattr(file, "buffer", file)
        read = getattr(binary, "read1", binary.read)
        heard = self._heard[file]
        while data := read(_CHUNK):
            heard.append(data)
        file.close()

    def _heard_from(self, file: Any) -> bytes | None:
        return b"".join(self._heard[file]) or None if file else None

    def _result(self, file: Any) -> Any:
        if not file:
            return None
        data = b"".join(self._heard[file])
        if not self.text_mode:  # type: ignore[attr-defined]  # the stubs lack it
            return data
        return self._translate_newlines(data, file.encoding, file.errors)  # type: ignore[attr-defined]  # not public


# With the signatures of this version of Python.
update_wrapper(Popen.__init__, _Popen.__init__)
update_wrapper(Popen.__exit__, _Popen.__exit__)
update_wrapper(Popen.send_signal, _Popen.send_signal)


class _EndLink:
    """A link to the end of a process."""

    __slots__ = ("callback", "process")

    def __init__(self, process: Popen[Any], callback: Callable[[Any], Any]) -> None:
        self.process = process
        self.callback = callback

    def __call__(self, _: Greenlet) -> None:
        self.callback(self.process)


def _guarded(errors: list[BaseException], move: Callable[[], None]) -> None:
    try:
        move()
    except GreenletExit:
        raise
    except BaseException as error:
        errors.append(error)


# The functions --------------------------------------------------------------------------------------------------------


def run(
    *popenargs: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    **kwargs: Any,
) -> CompletedProcess[Any]:
    """:func:`subprocess.run`.

    :param timeout: seconds; then the child is killed.
    :raises TimeoutExpired: with the output so far.
    :raises CalledProcessError: ``check`` is true and the child failed.
    """
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        kwargs["stdin"] = PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        kwargs["stdout"] = kwargs["stderr"] = PIPE
    with Popen(*popenargs, **kwargs) as process:
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException as error:
            process.kill()
            if isinstance(error, TimeoutExpired):
                process.wait()
            raise
        code = process.poll() or 0
    if check and code:
        raise CalledProcessError(code, process.args, stdout, stderr)
    return CompletedProcess(process.args, code, stdout, stderr)


def call(*popenargs: Any, timeout: float | None = None, **kwargs: Any) -> int:
    """:func:`subprocess.call`: the exit status."""
    with Popen(*popenargs, **kwargs) as process:
        try:
            return process.wait(timeout)
        except BaseException:
            process.kill()
            raise


def check_call(*popenargs: Any, **kwargs: Any) -> int:
    """:func:`subprocess.check_call`.

    :raises CalledProcessError: the child failed.
    """
    code = call(*popenargs, **kwargs)
    if code:
        raise CalledProcessError(code, kwargs["args"] if kwargs.get("args") is not None else popenargs[0])
    return 0


def check_output(*popenargs: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """:func:`subprocess.check_output`: what the child wrote to its standard output.

    :raises CalledProcessError: the child failed.
    """
    for name in ("stdout", "check"):
        if name in kwargs:
            raise ValueError(f"{name} argument not allowed, it will be overridden.")
    if "input" in kwargs and kwargs["input"] is None:
        text = any(kwargs.get(name) for name in ("universal_newlines", "text", "encoding", "errors"))
        kwargs["input"] = "" if text else b""
    return run(*popenargs, stdout=PIPE, timeout=timeout, check=True, **kwargs).stdout


def getstatusoutput(cmd: Any, *, encoding: str | None = None, errors: str | None = None) -> tuple[int, str]:
    """:func:`subprocess.getstatusoutput`: status and output of a shell command, without the last newline."""
    done = run(cmd, shell=True, text=True, stdout=PIPE, stderr=STDOUT, encoding=encoding, errors=errors)
    return done.returncode, done.stdout.removesuffix("\n")


def getoutput(cmd: Any, *, encoding: str | None = None, errors: str | None = None) -> str:
    """:func:`subprocess.getoutput`: the output of a shell command."""
    return getstatusoutput(cmd, encoding=encoding, errors=errors)[1]
