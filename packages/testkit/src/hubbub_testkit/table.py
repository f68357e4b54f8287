"""The promises of a native loop's C table, as tests.

A package that implements the table (``hb.cdef.h``, driven by ``hubbub.loop.ring.RingBackend``) subclasses
:class:`TableSuite` in its tests and names its extension module::

    class TestTable(TableSuite):
        extension = _libev

The tests use real descriptors, real time and real forks, and no hub.
"""

from __future__ import annotations

import errno
import math
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

__all__ = ["READ", "WRITE", "NativeLoop", "TableSuite"]

READ, WRITE = 1, 2

# How many seconds a test waits for what must happen before it fails.
_PATIENCE = 20.0


class NativeLoop:
    """The C table of one loop, with exceptions for error codes and lists for rings."""

    def __init__(self, extension: Any, flags: int = 0) -> None:
        """Makes a loop; raises OSError if the table refuses."""
        self.lib: Any = extension.lib
        self.ffi: Any = extension.ffi
        error = self.ffi.new("int *")
        self.pointer: Any = self.lib.hb_create(flags, error)
        if not self.pointer:
            raise OSError(error[0], os.strerror(error[0]))

    def _check(self, result: int) -> int:
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def destroy(self) -> None:
        """Ends the loop."""
        pointer, self.pointer = self.pointer, self.ffi.NULL
        self._check(self.lib.hb_destroy(pointer))
        self.lib.hb_free(pointer)

    def poll(self, seconds: float = 0.0) -> list[tuple[int, int]]:
        """One turn of at most so many seconds, below 0 without limit; returns the ring's entries (fd, events)."""
        count = self._check(self.lib.hb_poll(self.pointer, seconds))
        assert self.lib.hb_count(self.pointer) == count
        return self.ring(count)

    def ring(self, count: int) -> list[tuple[int, int]]:
        """The first entries of the ring."""
        flat = self.ffi.unpack(self.lib.hb_fired(self.pointer), 2 * count) if count else []
        return list(zip(flat[::2], flat[1::2], strict=True))

    def wait(self, seconds: float = _PATIENCE) -> list[tuple[int, int]]:
        """Polls until there is an entry; fails if none comes in time."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            if entries := self.poll(left):
                return entries
        raise AssertionError(f"nothing fired in {seconds} s")

    def idle(self, seconds: float) -> float:
        """Polls until the time is up; returns by how many seconds it was late. Fails if there is an entry."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            assert self.poll(left) == []
        return -left

    def arm(self, fd: int, events: int) -> None:
        """Arms a descriptor for events."""
        self._check(self.lib.hb_arm(self.pointer, fd, events))

    def forget(self, fd: int) -> None:
        """Drops the handle of a descriptor."""
        self._check(self.lib.hb_forget(self.pointer, fd))

    def wake(self) -> None:
        """Wakes a waiting poll."""
        self.lib.hb_wake(self.pointer)

    def own(self) -> None:
        """Makes the loop the calling thread's."""
        self._check(self.lib.hb_own(self.pointer))

    def fork(self) -> None:
        """Makes the loop the child's own."""
        self._check(self.lib.hb_fork(self.pointer))

    def backend_fd(self) -> int:
        """The descriptor of the backend or -1."""
        return int(self.lib.hb_backend_fd(self.pointer))

    def backend(self) -> str:
        """The name of the backend."""
        return str(self.ffi.string(self.lib.hb_backend(self.pointer)).decode())

    def verify(self) -> None:
        """Raises OSError if the loop's structures contradict one another."""
        self._check(self.lib.hb_verify(self.pointer))


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A non-blocking pipe (reading end, writing end); the body of the block may close either end."""
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
    numbers = [(end, os.fstat(end).st_ino) for end in ends]
    try:
        yield ends
    finally:
        for end, inode in numbers:
            try:
                same = os.fstat(end).st_ino == inode
            except OSError:
                continue
            if same:
                os.close(end)


@contextmanager
def _sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of connected, non-blocking sockets."""
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        yield a, b


@contextmanager
def _descriptor_limit(soft: int) -> Iterator[None]:
    """Sets the number of descriptors this process may have."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def _in_child(body: Callable[[], object]) -> int:
    """Runs ``body`` in a forked child; returns its exit status: 0, 1 after an exception, below 0 a signal's number."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _open_descriptors() -> set[int]:
    """The numbers of this process's open descriptors."""
    found = set()
    for name in os.listdir("/dev/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # listdir's own
        found.add(int(name))
    return found


class TableSuite:
    """Tests of a C table; a subclass names the extension module and, if it likes, the flags of hb_create."""

    extension: ClassVar[Any]
    flags: ClassVar[int] = 0

    @pytest.fixture
    def loop(self) -> Iterator[NativeLoop]:
        """A loop that must be consistent and end cleanly after each test."""
        loop = NativeLoop(self.extension, self.flags)
        yield loop
        loop.verify()
        loop.destroy()

    # -- making and ending ---------------------------------------------------------------

    def test_names(self, loop: NativeLoop) -> None:
        """A loop names its backend and its library's version."""
        assert loop.backend().isalnum()
        assert self.extension.ffi.string(self.extension.lib.hb_version())[:1].isdigit()

    def test_unknown_flags(self) -> None:
        """Flags that choose no backend of this build are refused with EINVAL."""
        unknown = 1 << 5 | 1 << 14
        assert not self.extension.lib.hb_backends() & unknown
        with pytest.raises(OSError) as caught:
            NativeLoop(self.extension, unknown)
        assert caught.value.errno == errno.EINVAL

    def test_every_backend(self) -> None:
        """Every bit of hb_backends makes a loop, or the kernel lacks it and an error says so."""
        backends = self.extension.lib.hb_backends()
        for bit in (1 << i for i in range(16) if backends & 1 << i):
            try:
                loop = NativeLoop(self.extension, bit)
            except OSError:
                continue
            with _pipe() as (r, w):
                loop.arm(r, READ)
                os.write(w, b"x")
                assert loop.wait() == [(r, READ)]
                loop.destroy()

    def test_no_descriptors_left(self) -> None:
        """When descriptors run out, making a loop fails with EMFILE and leaves none open."""

        def body() -> None:
            before = _open_descriptors()
            free = [fd for fd in range(1000) if fd not in before]
            outcomes = set()
            for spare in range(8):
                with _descriptor_limit(free[spare]):
                    try:
                        loop = NativeLoop(self.extension, self.flags)
                    except OSError as error:
                        outcomes.add(error.errno)
                    else:
                        outcomes.add(0)
                        loop.destroy()
                # The descriptors that a library keeps for the whole process do not count.
                assert len(_open_descriptors() - before) <= 2
            assert outcomes == {0, errno.EMFILE}

        assert _in_child(body) == 0

    def test_destroy_with_handles_alive(self) -> None:
        """A loop can be ended with handles alive, armed and not, and closes all it opened."""
        NativeLoop(self.extension, self.flags).destroy()
        before = _open_descriptors()
        with _pipe() as (r, w), _pipe() as (r2, _):
            loop = NativeLoop(self.extension, self.flags)
            loop.arm(r, READ)
            loop.arm(w, WRITE)
            loop.poll()
            loop.arm(r2, READ)
            loop.arm(w, 0)
            loop.destroy()
        assert _open_descriptors() == before

    def test_many_loops(self) -> None:
        """Making and ending loops leaks no descriptor."""
        NativeLoop(self.extension, self.flags).destroy()
        before = _open_descriptors()
        for _ in range(200):
            NativeLoop(self.extension, self.flags).destroy()
        assert _open_descriptors() == before

    # -- descriptors ---------------------------------------------------------------------

    def test_nothing_to_do(self, loop: NativeLoop) -> None:
        """A poll that must not wait returns no entries when nothing has happened."""
        with _pipe() as (r, _):
            loop.arm(r, READ)
            assert loop.poll() == []
            assert loop.poll() == []

    def test_readable(self, loop: NativeLoop) -> None:
        """A descriptor with something to read fires READ."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            os.write(w, b"x")
            assert loop.wait() == [(r, READ)]

    def test_writable(self, loop: NativeLoop) -> None:
        """A descriptor that takes data fires WRITE, one whose buffer is full does not."""
        with _pipe() as (r, w):
            loop.arm(w, WRITE)
            assert loop.wait() == [(w, WRITE)]
            while True:
                try:
                    os.write(w, bytes(4096))
                except BlockingIOError:
                    break
            assert loop.poll() == []
            while os.read(r, 1 << 20):
                if (w, WRITE) in loop.poll():
                    break

    def test_both_directions(self, loop: NativeLoop) -> None:
        """A descriptor armed for both directions has one entry with both bits."""
        with _sockets() as (a, b):
            loop.arm(a.fileno(), READ | WRITE)
            assert loop.wait() == [(a.fileno(), WRITE)]
            b.send(b"x")
            assert loop.wait() == [(a.fileno(), READ | WRITE)]

    def test_level_triggered(self, loop: NativeLoop) -> None:
        """An event comes again in every poll for as long as its cause lasts."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            os.write(w, b"xy")
            for _ in range(5):
                assert loop.poll() == [(r, READ)]
            os.read(r, 1)
            assert loop.poll() == [(r, READ)]
            os.read(r, 1)
            assert loop.poll() == []
            os.write(w, b"z")
            assert loop.wait() == [(r, READ)]

    def test_arm_again(self, loop: NativeLoop) -> None:
        """To ask for what is armed already changes nothing."""
        with _pipe() as (r, w):
            for _ in range(10):
                loop.arm(r, READ)
            os.write(w, b"x")
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]

    def test_disarm(self, loop: NativeLoop) -> None:
        """A disarmed descriptor does not fire until it is armed again, and then fires for what came before."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            assert loop.poll() == []
            loop.arm(r, 0)
            os.write(w, b"x")
            assert loop.poll() == []
            assert loop.poll() == []
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]

    def test_disarm_what_is_ready(self, loop: NativeLoop) -> None:
        """Disarming takes effect at once, although the cause lasts."""
        with _pipe() as (r, w):
            os.write(w, b"x")
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]
            loop.arm(r, 0)
            for _ in range(3):
                assert loop.poll() == []

    def test_arm_nothing_first(self, loop: NativeLoop) -> None:
        """A descriptor may be armed for no event at first."""
        with _pipe() as (r, w):
            loop.arm(r, 0)
            os.write(w, b"x")
            assert loop.poll() == []
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]

    def test_change_of_interest(self, loop: NativeLoop) -> None:
        """The last arming counts, whether or not there was a poll in between."""
        with _sockets() as (a, b):
            fd = a.fileno()
            b.send(b"x")
            for polled in (False, True):
                for events in (READ, WRITE, READ | WRITE, READ, READ | WRITE, WRITE):
                    loop.arm(fd, events)
                    if polled:
                        assert loop.wait() == [(fd, events)]
                assert loop.wait() == [(fd, WRITE)]

    def test_hang_up(self, loop: NativeLoop) -> None:
        """A peer that has gone fires every event that is armed."""
        with _sockets() as (a, b):
            loop.arm(a.fileno(), READ | WRITE)
            loop.poll()
            b.close()
            assert loop.wait() == [(a.fileno(), READ | WRITE)]
        with _pipe() as (r, w):
            loop.arm(r, READ)
            loop.poll()
            os.close(w)
            assert loop.wait() == [(r, READ)]
            loop.forget(r)

    def test_error(self, loop: NativeLoop) -> None:
        """An error condition fires what is armed, in every poll while it lasts."""
        with _pipe() as (r, w):
            loop.arm(w, WRITE)
            loop.poll()
            os.close(r)
            for _ in range(4):
                assert loop.wait() == [(w, WRITE)]
            loop.arm(w, 0)
            assert loop.poll() == []
            loop.arm(w, WRITE)
            assert loop.wait() == [(w, WRITE)]

    def test_refused_connection(self, loop: NativeLoop) -> None:
        """A connection that is refused fires the event that a connect waits for."""
        with socket.socket() as closed, socket.socket() as sock:
            closed.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            assert sock.connect_ex(closed.getsockname()) in (errno.EINPROGRESS, errno.ECONNREFUSED)
            loop.arm(sock.fileno(), WRITE)
            assert loop.wait() == [(sock.fileno(), WRITE)]
            loop.forget(sock.fileno())

    def test_many_at_once(self, loop: NativeLoop) -> None:
        """Of 5,000 descriptors that are readable at once none is lost, and none comes twice in a turn."""
        count = 5000
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < count + 200:
            pytest.skip(f"only {hard} descriptors allowed")
        with _descriptor_limit(count + 200), _pipe() as (r, w):
            copies = [os.dup(r) for _ in range(count)]
            try:
                for fd in copies:
                    loop.arm(fd, READ)
                assert loop.poll() == []
                os.write(w, b"x")
                seen: set[int] = set()
                turns = 0
                while len(seen) < count:
                    entries = loop.poll()
                    keys = [key for key, _ in entries]
                    assert len(set(keys)) == len(keys)
                    assert {events for _, events in entries} == {READ}
                    seen.update(keys)
                    turns += 1
                    assert turns < 200
                assert seen == set(copies)
                for fd in copies:
                    loop.forget(fd)
                assert loop.poll() == []
            finally:
                for fd in copies:
                    os.close(fd)

    # -- numbers that are no descriptor, or not any more ----------------------------------

    @pytest.mark.parametrize("fd", [-1, -(2**31), 2**31 - 1])
    def test_not_a_descriptor(self, loop: NativeLoop, fd: int) -> None:
        """A number that is no descriptor is refused with EBADF."""
        for events in (READ, WRITE, 0):
            with pytest.raises(OSError) as caught:
                loop.arm(fd, events)
            assert caught.value.errno == errno.EBADF
        assert loop.poll() == []

    def test_closed_descriptor(self, loop: NativeLoop) -> None:
        """A closed descriptor is refused with EBADF, whether or not the loop knows it."""
        r, w = os.pipe()
        loop.arm(w, 0)
        loop.arm(r, READ)
        os.close(r)
        os.close(w)
        for fd, events in ((r, READ | WRITE), (w, WRITE)):
            with pytest.raises(OSError) as caught:
                loop.arm(fd, events)
            assert caught.value.errno == errno.EBADF
            loop.forget(fd)
            with pytest.raises(OSError) as caught:
                loop.arm(fd, events)
            assert caught.value.errno == errno.EBADF

    def test_unwaitable_descriptor(self, loop: NativeLoop, tmp_path: Path) -> None:
        """Regular files and directories are refused with EPERM, for reading and for writing."""
        file = tmp_path / "file"
        file.write_bytes(b"x")
        for path, mode in ((file, os.O_RDWR), (tmp_path, os.O_RDONLY)):
            fd = os.open(path, mode)
            try:
                for events in (READ, WRITE):
                    with pytest.raises(OSError) as caught:
                        loop.arm(fd, events)
                    assert caught.value.errno == errno.EPERM
            finally:
                os.close(fd)
        assert loop.poll() == []

    @pytest.mark.skipif(sys.platform != "linux", reason="epoll's view of devices")
    def test_null_device(self, loop: NativeLoop) -> None:
        """A device that epoll refuses is refused with EPERM by every backend."""
        fd = os.open(os.devnull, os.O_RDWR)
        with pytest.raises(OSError) as caught:
            loop.arm(fd, READ)
        os.close(fd)
        assert caught.value.errno == errno.EPERM

    def test_unknown_events(self, loop: NativeLoop) -> None:
        """Events other than READ and WRITE are refused with EINVAL."""
        with _pipe() as (r, _):
            for events in (4, 8, -1, READ | 16):
                with pytest.raises(OSError) as caught:
                    loop.arm(r, events)
                assert caught.value.errno == errno.EINVAL

    @pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
    def test_own_descriptors(self, loop: NativeLoop) -> None:
        """Arming the loop's own descriptors is refused or does nothing, but does no harm."""
        for fd in _open_descriptors():
            if "[" not in os.readlink(f"/proc/self/fd/{fd}"):
                continue
            try:
                loop.arm(fd, READ)
            except OSError:
                continue
            loop.poll()
            loop.forget(fd)
        loop.idle(0.001)

    def test_forget(self, loop: NativeLoop) -> None:
        """A forgotten descriptor does not fire, and forgetting it again is ENOENT."""
        with _pipe() as (r, w):
            os.write(w, b"x")
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]
            loop.forget(r)
            assert loop.poll() == []
            for fd in (r, -1, 10**6):
                with pytest.raises(OSError) as caught:
                    loop.forget(fd)
                assert caught.value.errno == errno.ENOENT

    def test_forget_then_reuse(self, loop: NativeLoop) -> None:
        """A number that was forgotten and closed works for the next descriptor of that number."""
        for i in range(20):
            with _pipe() as (r, w):
                loop.arm(r, READ)
                if i % 2:
                    os.write(w, b"x")
                    assert loop.wait() == [(r, READ)]
                elif i % 3:
                    loop.poll()
                loop.forget(r)

    def test_reuse_then_forget(self, loop: NativeLoop) -> None:
        """Forgetting a number that was closed and is another descriptor's already harms neither."""
        with _pipe() as (other_r, other_w), _pipe() as (r, _):
            loop.arm(r, READ)
            loop.poll()
            os.dup2(other_r, r)
            loop.forget(r)
            loop.arm(r, READ)
            os.write(other_w, b"x")
            assert loop.wait() == [(r, READ)]
            loop.forget(r)
            os.close(r)

    @pytest.mark.parametrize("polled", [False, True])
    def test_reuse_while_disarmed(self, loop: NativeLoop, polled: bool) -> None:
        """A number that became another file while it was disarmed fires for that file once it is armed again."""
        with _pipe() as (other_r, other_w), _pipe() as (r, _):
            loop.arm(r, READ)
            loop.poll()
            loop.arm(r, 0)
            if polled:
                loop.poll()
            os.dup2(other_r, r)
            loop.arm(r, READ)
            os.write(other_w, b"x")
            assert loop.wait() == [(r, READ)]
            loop.forget(r)
            os.close(r)

    @pytest.mark.parametrize("polled", [False, True])
    @pytest.mark.parametrize("copied", [False, True])
    def test_reuse_while_armed(self, loop: NativeLoop, copied: bool, polled: bool) -> None:
        """A number that became another file while it was armed fires only for that file once it is armed again."""
        with _pipe() as (other_r, other_w), _pipe() as (r, w):
            copy = os.dup(r) if copied else -1
            loop.arm(r, READ)
            if polled:
                loop.poll()
            os.dup2(other_r, r)
            loop.arm(r, READ)
            if copied:
                os.write(w, b"x")  # to the earlier file
                for _ in range(5):
                    loop.poll()
                loop.idle(0.005)
            os.write(other_w, b"x")
            assert loop.wait() == [(r, READ)]
            os.read(other_r, 1)
            loop.idle(0.005)
            loop.forget(r)
            os.close(r)
            if copied:
                os.close(copy)

    def test_reuse_by_a_regular_file(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A number that became a regular file is refused when it is armed again."""
        with _pipe() as (r, _):
            for events in (READ, 0):
                loop.arm(r, READ)
                loop.poll()
                loop.arm(r, events)
                before = os.dup(r)
                file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
                os.dup2(file, r)
                with pytest.raises(PermissionError):
                    loop.arm(r, READ)
                os.dup2(before, r)
                os.close(before)
                os.close(file)
                loop.forget(r)

    @pytest.mark.parametrize("polled", [False, True], ids=["before the poll", "after a poll"])
    @pytest.mark.parametrize("heir", ["nobody", "a regular file", "a socket"])
    def test_closed_behind_our_back(self, loop: NativeLoop, tmp_path: Path, polled: bool, heir: str) -> None:
        """A descriptor closed without forgetting, or reused, harms nothing and can be forgotten."""
        with _sockets() as (a, b):
            fd = os.dup(a.fileno())
            loop.arm(fd, READ | WRITE)
            if polled:
                loop.wait()
            os.close(fd)
            if heir == "a regular file":
                file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
                if file != fd:
                    os.dup2(file, fd)
                    os.close(file)
            elif heir == "a socket":
                os.dup2(b.fileno(), fd)
            for _ in range(3):
                assert all(key == fd for key, _ in loop.poll())
            loop.arm(fd, 0)
            loop.poll()
            loop.forget(fd)
            assert loop.poll() == []
            loop.arm(a.fileno(), WRITE)
            assert loop.wait() == [(a.fileno(), WRITE)]
            loop.forget(a.fileno())
            if heir != "nobody":
                os.close(fd)

    def test_closed_before_the_poll_is_reported(self, loop: NativeLoop) -> None:
        """A descriptor that was closed before the poll is reported, so that its waiter finds out."""
        r, w = os.pipe()
        loop.arm(r, READ)
        os.close(r)
        assert loop.wait() == [(r, READ)]
        os.close(w)

    def test_blocking_mode_is_kept(self, loop: NativeLoop) -> None:
        """A descriptor stays blocking or non-blocking as it was."""
        with _pipe() as (r, w):
            os.set_blocking(r, True)
            loop.arm(r, READ)
            loop.arm(w, WRITE)
            loop.poll()
            assert os.get_blocking(r)
            assert not os.get_blocking(w)

    # -- limits of a wait ----------------------------------------------------------------

    @pytest.mark.parametrize("seconds", [0.0003, 0.0012, 0.0022, 0.0123])
    def test_precision(self, loop: NativeLoop, seconds: float) -> None:
        """The limit of a wait is not rounded up to whole milliseconds."""
        # Rounding up would cost 0.7 ms or more. A busy machine may need several tries.
        assert any(loop.idle(seconds) < 0.0005 for _ in range(100))

    def test_limits_up_and_down(self, loop: NativeLoop) -> None:
        """Each poll has its own limit, whether that of the poll before was longer, shorter or infinite."""
        for before in (0.0, 1e-9, 0.001, 0.003, 30.0, -1.0):
            loop.wake()
            loop.poll(before)
            assert any(loop.idle(0.002) < 0.001 for _ in range(50))  # a busy machine may need several tries

    def test_a_wait_waits(self, loop: NativeLoop) -> None:
        """A wait sleeps: it takes hardly any CPU time and few turns, also after shorter ones."""
        loop.idle(0.001)
        cpu, turns, limit = time.process_time(), 0, time.monotonic() + 0.2
        while (left := limit - time.monotonic()) > 0:
            assert loop.poll(left) == []
            turns += 1
        assert turns < 20
        assert time.process_time() - cpu < 0.1

    @pytest.mark.parametrize("seconds", [0.0, -0.0, math.nan])
    def test_no_wait(self, loop: NativeLoop, seconds: float) -> None:
        """With a limit of 0, or NaN, a poll does not wait."""
        start = time.monotonic()
        for _ in range(20):
            assert loop.poll(seconds) == []
        assert time.monotonic() - start < 1.0

    @pytest.mark.parametrize("seconds", [1e9, 1e18, 1e300, math.inf, -1e-300, -1.0, -1e300, -math.inf])
    def test_far_limits(self, loop: NativeLoop, seconds: float) -> None:
        """A poll accepts huge limits and waits, as it does with every negative limit."""
        thread = threading.Timer(0.02, loop.wake)
        start = time.monotonic()
        thread.start()
        while time.monotonic() - start < 0.01:
            assert loop.poll(seconds) == []
        thread.join()

    def test_descriptor_ends_a_wait(self, loop: NativeLoop) -> None:
        """A descriptor that becomes readable ends a wait with a long limit."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            loop.idle(0.001)
            thread = threading.Timer(0.01, os.write, args=(w, b"x"))
            thread.start()
            assert loop.wait(3600.0) == [(r, READ)]
            thread.join()

    def test_ring_keeps_until_the_next_poll(self, loop: NativeLoop) -> None:
        """The entries of a poll can be read again, also after many more descriptors were armed."""
        with _pipe() as (r, w):
            os.write(w, b"x")
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]
            copies = [os.dup(w) for _ in range(200)]
            for fd in copies:
                loop.arm(fd, WRITE)
            assert loop.lib.hb_count(loop.pointer) == 1
            assert loop.ring(1) == [(r, READ)]
            for fd in copies:
                loop.forget(fd)
                os.close(fd)
            assert loop.poll() == [(r, READ)]

    # -- waking --------------------------------------------------------------------------

    def test_wake_from_another_thread(self, loop: NativeLoop) -> None:
        """Another thread runs while a poll waits, and wakes it."""
        for _ in range(50):
            thread = threading.Thread(target=loop.wake)
            thread.start()
            assert loop.poll(-1) == []
            thread.join()

    def test_wake_before_the_poll(self, loop: NativeLoop) -> None:
        """A wake-up that comes before the wait is not lost, and several are one."""
        for _ in range(5):
            loop.wake()
        start = time.monotonic()
        assert loop.poll(_PATIENCE) == []
        assert time.monotonic() - start < _PATIENCE / 2
        loop.idle(0.005)

    def test_every_wake(self, loop: NativeLoop) -> None:
        """Of many wake-ups in a row none is lost."""
        rounds, noticed = 2000, threading.Semaphore(0)

        def waker() -> None:
            for _ in range(rounds):
                loop.wake()
                assert noticed.acquire(timeout=_PATIENCE)

        thread = threading.Thread(target=waker)
        thread.start()
        for _ in range(rounds):
            start = time.monotonic()
            assert loop.poll(_PATIENCE) == []
            assert time.monotonic() - start < _PATIENCE / 2
            noticed.release()
        thread.join()

    def test_signal_ends_a_wait(self, loop: NativeLoop) -> None:
        """A signal ends a wait at once, so that Python can run its handler."""
        ran = []
        before = signal.signal(signal.SIGALRM, lambda *_: ran.append(time.monotonic()))
        try:
            for limit in (_PATIENCE, -1.0):
                ran.clear()
                start = time.monotonic()
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                while not ran:
                    assert loop.poll(limit) == []
                assert time.monotonic() - start < _PATIENCE / 2
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    # -- threads -------------------------------------------------------------------------

    def test_another_thread(self, loop: NativeLoop) -> None:
        """Another thread's calls are refused with EPROTO until it has taken the loop over."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            os.write(w, b"x")
            calls: list[Callable[[], object]] = [
                loop.poll,
                loop.verify,
                loop.destroy,
                partial(loop.arm, r, 0),
                partial(loop.forget, r),
            ]
            pointer = loop.pointer

            def refused() -> list[int | None]:
                seen = []
                for call in calls:
                    try:
                        call()
                    except OSError as error:
                        seen.append(error.errno)
                    loop.pointer = pointer
                return seen

            def adopted() -> list[tuple[int, int]]:
                loop.own()
                return loop.wait()

            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(refused).result(_PATIENCE) == [errno.EPROTO] * len(calls)
                assert thread.submit(adopted).result(_PATIENCE) == [(r, READ)]
                with pytest.raises(OSError) as caught:
                    loop.poll()
                assert caught.value.errno == errno.EPROTO
            loop.own()
            assert loop.poll() == [(r, READ)]

    def test_no_take_over_while_polling(self, loop: NativeLoop) -> None:
        """A loop that is waiting cannot be taken over by another thread: EBUSY."""
        seen: list[int] = []
        limit = time.monotonic() + _PATIENCE

        def take_over() -> None:
            while not seen and time.monotonic() < limit:
                if result := loop.lib.hb_own(loop.pointer):
                    seen.append(-result)
                else:
                    time.sleep(0.001)  # the poll had not begun: this thread got the loop, and the other takes it back
            loop.wake()

        thread = threading.Thread(target=take_over)
        thread.start()
        while not seen and time.monotonic() < limit:
            if loop.lib.hb_poll(loop.pointer, _PATIENCE) == -errno.EPROTO:
                loop.lib.hb_own(loop.pointer)
        thread.join()
        loop.own()
        assert seen == [errno.EBUSY]

    def test_no_loop(self) -> None:
        """A call with NULL for a loop fails with ENXIO, or does nothing."""
        lib, null = self.extension.lib, self.extension.ffi.NULL
        for function in (lib.hb_destroy, lib.hb_own, lib.hb_fork, lib.hb_verify):
            assert function(null) == -errno.ENXIO
        assert lib.hb_poll(null, 0) == -errno.ENXIO
        assert lib.hb_arm(null, 0, READ) == -errno.ENXIO
        assert lib.hb_forget(null, 0) == -errno.ENXIO
        assert lib.hb_count(null) == 0
        assert lib.hb_fired(null) == null
        assert lib.hb_backend_fd(null) == -1
        lib.hb_wake(null)
        lib.hb_free(null)

    def test_destroyed_loop(self) -> None:
        """Until hb_free, calls with a destroyed loop fail with ENXIO or do nothing, in any thread."""
        lib, loop = self.extension.lib, NativeLoop(self.extension, self.flags)
        pointer = loop.pointer
        with _pipe() as (r, w):
            os.write(w, b"x")
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]
            assert lib.hb_destroy(pointer) == 0

            def use() -> list[int]:
                lib.hb_wake(pointer)
                assert lib.hb_backend_fd(pointer) == -1
                assert lib.hb_fired(pointer)
                functions = (lib.hb_destroy, lib.hb_own, lib.hb_fork, lib.hb_verify)
                return [
                    *(function(pointer) for function in functions),
                    lib.hb_poll(pointer, 0),
                    lib.hb_arm(pointer, r, READ),
                    lib.hb_forget(pointer, r),
                ]

            with ThreadPoolExecutor(1) as thread:
                for results in (use(), thread.submit(use).result(_PATIENCE)):
                    assert set(results) == {-errno.ENXIO}
        lib.hb_free(pointer)

    def test_freed_without_destroy(self) -> None:
        """hb_free also destroys a loop that was not destroyed before."""
        NativeLoop(self.extension, self.flags).destroy()
        before = _open_descriptors()
        with _pipe() as (r, _):
            loop = NativeLoop(self.extension, self.flags)
            loop.arm(r, READ)
            loop.poll()
            self.extension.lib.hb_free(loop.pointer)
        assert _open_descriptors() == before

    def test_woken_while_destroyed(self) -> None:
        """Threads may wake a loop while it is destroyed, and after."""
        lib = self.extension.lib
        pointers: list[Any] = [self.extension.ffi.NULL]
        stop = threading.Event()

        def wake() -> None:
            while not stop.is_set():
                pointer = pointers[-1]
                for _ in range(100):
                    lib.hb_wake(pointer)

        with ThreadPoolExecutor(3) as threads:
            wakers = [threads.submit(wake) for _ in range(3)]
            for _ in range(200):
                loop = NativeLoop(self.extension, self.flags)
                pointers.append(loop.pointer)
                loop.poll(0.0005)
                loop._check(lib.hb_destroy(loop.pointer))
            stop.set()
            for waker in wakers:
                waker.result(_PATIENCE)
        for pointer in pointers:
            lib.hb_free(pointer)

    # -- fork ----------------------------------------------------------------------------

    def test_child_starts_clean(self, loop: NativeLoop) -> None:
        """After hb_fork a child's loop has no descriptors, and works."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            os.write(w, b"x")

            def body() -> None:
                loop.fork()
                assert loop.poll() == []
                loop.wake()
                assert loop.poll(-1) == []
                loop.arm(r, READ)
                assert loop.wait() == [(r, READ)]
                loop.forget(r)
                assert loop.idle(0.002) < _PATIENCE
                loop.verify()
                loop.destroy()

            assert _in_child(body) == 0

    @pytest.mark.parametrize("how", ["forks", "destroys"])
    def test_parent_is_not_disturbed(self, loop: NativeLoop, how: str) -> None:
        """What a child does with its copy of the loop does not affect the parent."""
        with _pipe() as (r, w), _pipe() as (r2, w2):
            for fd in (r, r2):
                loop.arm(fd, READ)
            assert loop.poll() == []

            def body() -> None:
                if how == "forks":
                    loop.fork()
                    loop.arm(r, READ)
                    loop.wake()
                    loop.poll(0.001)
                loop.destroy()

            assert _in_child(body) == 0
            loop.idle(0.01)
            os.write(w, b"x")
            assert loop.wait() == [(r, READ)]
            os.write(w2, b"x")
            assert sorted(loop.poll()) == [(r, READ), (r2, READ)]

    def test_fork_without_forking(self, loop: NativeLoop) -> None:
        """hb_fork in the same process leaves an empty loop that works."""
        with _pipe() as (r, w):
            for _ in range(3):
                loop.arm(r, READ)
                loop.fork()
                assert loop.poll() == []
            loop.arm(r, READ)
            os.write(w, b"x")
            assert loop.wait() == [(r, READ)]

    # -- trouble -------------------------------------------------------------------------

    def test_descriptors_of_the_loop_closed(self) -> None:
        """A process that closes all its descriptors, the loop's too, gets an error and does not crash."""

        def body() -> None:
            loop = NativeLoop(self.extension, self.flags)
            with _pipe() as (r, _):
                loop.arm(r, READ)
                loop.poll()
            os.closerange(3, 256)
            for seconds in (0.0, 0.01):
                try:
                    loop.poll(seconds)
                except OSError as error:
                    assert error.errno == errno.EBADF  # noqa: PT017 - not every backend has a descriptor

        assert _in_child(body) == 0

    def test_random_calls(self, loop: NativeLoop) -> None:
        """20,000 random calls, valid and invalid, leave a consistent loop that reports only what is armed."""
        dice = random.Random(4)
        pairs = [socket.socketpair() for _ in range(20)]
        armed: dict[int, int] = {}

        def arm() -> None:
            fd = dice.choice(pairs)[dice.randrange(2)].fileno()
            events = dice.randrange(4)
            loop.arm(fd, events)
            armed[fd] = events

        def forget() -> None:
            fd = dice.choice(pairs)[dice.randrange(2)].fileno()
            assert (self.extension.lib.hb_forget(loop.pointer, fd) == 0) == (armed.pop(fd, None) is not None)

        def replace() -> None:
            i = dice.randrange(len(pairs))
            for sock in pairs[i]:
                if dice.random() < 0.5:
                    self.extension.lib.hb_forget(loop.pointer, sock.fileno())
                    armed.pop(sock.fileno(), None)
                sock.close()
            pairs[i] = socket.socketpair()

        def send() -> None:
            dice.choice(pairs)[dice.randrange(2)].send(b"x")

        def unsound() -> None:
            for fd in (-1, 10**6):
                assert self.extension.lib.hb_arm(loop.pointer, fd, READ) == -errno.EBADF
                assert self.extension.lib.hb_forget(loop.pointer, fd) == -errno.ENOENT

        def poll() -> None:
            for fd, events in loop.poll(dice.choice([0.0, 0.0, 1e-6, math.nan])):
                assert fd in armed
                assert events & ~armed[fd] == 0

        calls = [arm, arm, arm, arm, forget, replace, send, unsound, poll, poll]
        for i in range(20_000):
            dice.choice(calls)()
            if i % 500 == 0:
                loop.verify()
        for fd in armed:
            loop.forget(fd)
        for a, b in pairs:
            a.close()
            b.close()
