"""Child processes, files, forks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hubbub.abc import READ

from hubbub_testkit.conformance.kit import Kit, in_turn, needs_fork, needs_pidfd

__all__ = ["ProcessPromises"]


class ProcessPromises(Kit):
    """The ends of child processes are reported, and a loop goes on in a forked child."""

    @needs_fork
    @needs_pidfd
    @pytest.mark.parametrize("status", [0, 7])
    def test_child_watcher(self, loop: Any, status: int) -> None:
        """A child watcher is called when the process has ended, and knows its status."""
        child = subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({status})"])
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        child.returncode = os.waitstatus_to_exitcode(watcher.rstatus)
        assert (watcher.rpid, child.returncode) == (child.pid, status)

    @needs_fork
    @needs_pidfd
    def test_child_that_has_ended_already(self, loop: Any) -> None:
        """A child that ended before its watcher started is reported all the same."""
        child = subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read()
        child.stdout.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        child.returncode = os.waitstatus_to_exitcode(watcher.rstatus)
        assert child.returncode == 0

    @needs_pidfd
    def test_child_of_nobody(self, loop: Any) -> None:
        """A process that other code has reaped counts as ended with status 255."""
        child = subprocess.Popen([sys.executable, "-S", "-c", ""])
        child.wait()
        watcher = loop.child(child.pid)
        watcher.start(watcher.stop)
        loop.run()
        assert os.waitstatus_to_exitcode(watcher.rstatus) == 255

    @pytest.mark.parametrize("pid", [0, -1])
    def test_child_bad_number(self, loop: Any, pid: int) -> None:
        """A process id below 1 is a ValueError."""
        with pytest.raises(ValueError, match="process"):
            loop.child(pid)

    def test_stat_watcher(self, loop: Any, tmp_path: Path) -> None:
        """A stat watcher is called when a file appears, changes and goes; attr and prev tell what changed."""
        path = tmp_path / "file"
        seen: list[tuple[int | None, int | None]] = []
        steps: list[Callable[[], Any]] = [
            partial(path.write_bytes, b"one"),
            partial(path.write_bytes, b"three"),
            path.unlink,
        ]
        watcher = loop.stat(str(path), interval=0.01)

        def changed() -> None:
            seen.append(
                (
                    watcher.prev.st_size if watcher.prev is not None and watcher.prev.st_nlink else None,
                    watcher.attr.st_size if watcher.attr is not None and watcher.attr.st_nlink else None,
                )
            )
            if steps:
                steps.pop(0)()
            else:
                watcher.stop()

        watcher.start(changed)
        steps.pop(0)()
        loop.run()
        assert seen == [(None, 3), (3, 5), (5, None)]

    def in_child(self, work: Callable[[], object]) -> None:
        """Fork, do ``work`` in the child, and fail with its traceback if it raised or took too long."""
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self.patience)
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                os.write(writer, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(writer)
        try:
            with open(reader, "rb") as output:
                text = output.read().decode()
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        finally:
            status = os.waitpid(pid, 0)[1]
        assert os.waitstatus_to_exitcode(status) == 0, text or "the child hung"

    @needs_fork
    def test_reinit_in_the_child(self, loop: Any, pair: Any) -> None:
        """After fork and reinit the child's loop works without the parent's watchers; the parent's loop goes on."""
        left, right = pair
        seen: list[str] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(in_turn(partial(seen.append, "parent"), watcher.stop))
        timer = loop.timer(3600.0)
        timer.start(seen.append, "parent's timer")
        loop.run_callback(seen.append, "parent's callback")

        def child() -> None:
            loop.reinit()
            loop.run()  # does not wait for anything of the parent's
            assert seen == []
            mine, peer = socket.socketpair()
            watcher = loop.io(mine.fileno(), READ)
            watcher.start(in_turn(partial(seen.append, "child"), watcher.close))
            peer.send(b"x")
            loop.timer(0.001).start(seen.append, "child's timer")
            loop.run()
            assert sorted(seen) == ["child", "child's timer"]

        self.in_child(child)
        timer.stop()
        right.send(b"x")
        loop.run()
        assert sorted(seen) == ["parent", "parent's callback"]

    @needs_fork
    def test_fork_watcher(self, loop: Any) -> None:
        """A fork watcher is called in the child by reinit, and not in the parent."""
        seen: list[int] = []
        watcher = loop.fork(ref=False)
        watcher.start(seen.append, 1)

        def child() -> None:
            loop.reinit()
            loop.run()
            assert seen == [1]

        self.in_child(child)
        loop.run()
        assert seen == []

    @needs_fork
    def test_wake_up_in_the_child(self, loop: Any) -> None:
        """In the child, threads wake the loop as they do in the parent."""

        def child() -> None:
            loop.reinit()
            keep = loop.async_()
            keep.start(lambda: None)
            thread = threading.Timer(0.01, loop.run_callback_threadsafe, [keep.stop])
            thread.start()
            loop.run()
            thread.join()

        self.in_child(child)

    @needs_fork
    def test_destroy_in_the_child(self, loop: Any, pair: Any) -> None:
        """Destroying the loop in the child leaves the parent's alone."""
        left, right = pair
        seen: list[int] = []
        watcher = loop.io(left.fileno(), READ)
        watcher.start(in_turn(partial(seen.append, 1), watcher.stop))
        loop.run(nowait=True)

        def child() -> None:
            loop.reinit()
            loop.destroy()

        self.in_child(child)
        right.send(b"x")
        loop.run()
        assert seen == [1]
