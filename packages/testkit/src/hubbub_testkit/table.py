"""The promises of a native loop's C table, as tests.

A package that implements the table (``hb.cdef.h``, driven by ``hubbub.loop.ring.RingLoop``) subclasses
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

__all__ = ["READ", "STAT", "TIMER", "WRITE", "NativeLoop", "TableSuite"]

READ, WRITE, TIMER, STAT = 1, 2, 4, 8

# How long a test waits for what must come, in seconds, before it fails.
_PATIENCE = 20.0


class NativeLoop:
    """The C table of one loop, with exceptions for error codes and lists for rings."""

    def __init__(self, extension: Any, flags: int = 0) -> None:
        """Makes a loop; raises OSError if the table refuses."""
        self.lib = extension.lib
        self.ffi = extension.ffi
        error = self.ffi.new("int *")
        self.pointer = self.lib.hb_create(flags, error)
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

    def poll(self, block: bool = False) -> list[tuple[int, int]]:
        """One turn; returns the ring's entries (key, events)."""
        return self._entries(self._check(self.lib.hb_poll(self.pointer, block)))

    def _entries(self, count: int) -> list[tuple[int, int]]:
        flat = self.ffi.unpack(self.lib.hb_fired(self.pointer), 2 * count) if count else []
        return list(zip(flat[::2], flat[1::2], strict=True))

    def poll_for(self, seconds: float) -> list[tuple[int, int]]:
        """One turn of at most so many seconds; returns the ring's entries."""
        return self._entries(self._check(self.lib.hb_poll_for(self.pointer, seconds)))

    def wait(self, seconds: float = _PATIENCE) -> list[tuple[int, int]]:
        """Polls until there is an entry; fails if none comes in time."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if entries := self.poll(block=True):
                return entries
        raise AssertionError(f"nothing fired in {seconds} s")

    def arm(self, fd: int, events: int) -> None:
        """Asks for events of a descriptor."""
        self._check(self.lib.hb_arm(self.pointer, fd, events))

    def forget(self, fd: int) -> None:
        """Drops a descriptor's handle."""
        self._check(self.lib.hb_forget(self.pointer, fd))

    def start_timer(self, slot: int, after: float, repeat: float = 0.0) -> None:
        """Starts a slot's timer."""
        self._check(self.lib.hb_timer_start(self.pointer, slot, after, repeat))

    def stop_timer(self, slot: int) -> None:
        """Stops a slot's timer."""
        self._check(self.lib.hb_timer_stop(self.pointer, slot))

    def start_stat(self, slot: int, path: Path, interval: float = 0.1) -> None:
        """Starts to watch a path."""
        self._check(self.lib.hb_stat_start(self.pointer, slot, os.fsencode(path), interval))

    def stop_stat(self, slot: int) -> None:
        """Stops watching a path."""
        self._check(self.lib.hb_stat_stop(self.pointer, slot))

    def wake(self) -> None:
        """Wakes a waiting poll."""
        self.lib.hb_wake(self.pointer)

    def now(self) -> float:
        """The cached time, in seconds."""
        return float(self.lib.hb_now(self.pointer))

    def update_now(self) -> float:
        """The time, read now, in seconds."""
        return float(self.lib.hb_update_now(self.pointer))

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
    """A pipe (reading end, writing end), non-blocking; ends that the body closed may stay closed."""
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


def _spin_until(moment: float) -> None:
    """Lets time pass without the loop's knowing."""
    while time.monotonic() <= moment:
        pass


def _lateness(loop: NativeLoop, seconds: float) -> float:
    """How much later than asked, in seconds, a timer fires; below 0 is too early."""
    start = time.monotonic()
    loop.start_timer(0, seconds)
    assert loop.wait() == [(0, TIMER)]
    return time.monotonic() - start - seconds


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
        """Where descriptors run out, making a loop fails with EMFILE and leaves none open."""

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
                # What a library keeps for the whole process is its own business.
                assert len(_open_descriptors() - before) <= 2
            assert outcomes == {0, errno.EMFILE}

        assert _in_child(body) == 0

    def test_destroy_with_everything_alive(self, tmp_path: Path) -> None:
        """A loop can be ended with handles, timers and stats alive, and closes all it opened."""
        NativeLoop(self.extension, self.flags).destroy()
        before = _open_descriptors()
        with _pipe() as (r, w), _pipe() as (r2, _):
            loop = NativeLoop(self.extension, self.flags)
            loop.arm(r, READ)
            loop.arm(w, WRITE)
            loop.start_timer(3, 10.0)
            loop.start_stat(5, tmp_path)
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
        """Interest in both directions is one entry with both bits."""
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
        """A disarmed descriptor is silent until it is armed again, and then fires for what came before."""
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
        """A descriptor may be entered without interest in any event."""
        with _pipe() as (r, w):
            loop.arm(r, 0)
            os.write(w, b"x")
            assert loop.poll() == []
            loop.arm(r, READ)
            assert loop.wait() == [(r, READ)]

    def test_change_of_interest(self, loop: NativeLoop) -> None:
        """What is armed last counts, whether or not there was a poll in between."""
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
        """Of 5,000 descriptors that are ready at once none is lost, and none comes twice in a turn."""
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

    # -- descriptors that are none, or no longer ------------------------------------------

    @pytest.mark.parametrize("fd", [-1, -(2**31), 2**31 - 1])
    def test_not_a_descriptor(self, loop: NativeLoop, fd: int) -> None:
        """A number that is no descriptor is refused with EBADF."""
        for events in (READ, WRITE, 0):
            with pytest.raises(OSError) as caught:
                loop.arm(fd, events)
            assert caught.value.errno == errno.EBADF
        assert loop.poll() == []

    def test_closed_descriptor(self, loop: NativeLoop) -> None:
        """A closed descriptor is refused with EBADF, new to the loop or known to it."""
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
        """To watch the loop's own descriptors is refused or does nothing, but does no harm."""
        for fd in _open_descriptors():
            if "[" not in os.readlink(f"/proc/self/fd/{fd}"):
                continue
            try:
                loop.arm(fd, READ)
            except OSError:
                continue
            loop.poll()
            loop.forget(fd)
        loop.start_timer(0, 0.001)
        assert loop.wait() == [(0, TIMER)]

    def test_forget(self, loop: NativeLoop) -> None:
        """A forgotten descriptor is silent, and forgetting it again is ENOENT."""
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
        """A number that was forgotten and closed serves its next owner."""
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
        """To forget a number that was closed and is another's already does neither any harm."""
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
        """A number that became another file while it was disarmed serves that file once it is armed again."""
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
        """Whoever waits for a descriptor that was closed before the poll is woken to find out."""
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

    # -- timers --------------------------------------------------------------------------

    def test_timer_of_zero(self, loop: NativeLoop) -> None:
        """A timer of 0 seconds or less fires in the next poll, even one that does not wait."""
        for seconds in (0.0, -1.0, -math.inf):
            loop.start_timer(7, seconds)
            assert loop.poll() == [(7, TIMER)]
            assert loop.poll() == []

    @pytest.mark.parametrize("seconds", [0.0003, 0.0012, 0.0022, 0.0123])
    def test_precision(self, loop: NativeLoop, seconds: float) -> None:
        """A timer never fires early, and is not rounded up to whole milliseconds."""
        late = [_lateness(loop, seconds) for _ in range(25)]
        assert min(late) >= 0
        assert min(late) < 0.0005  # rounding up would cost 0.7 ms or more

    def test_stale_clock(self, loop: NativeLoop) -> None:
        """A timer counts from the moment of its start, however long ago the last poll was."""
        late = []
        for _ in range(10):
            loop.poll()
            _spin_until(time.monotonic() + 0.005)
            late.append(_lateness(loop, 0.002))
        assert min(late) >= 0
        assert min(late) < 0.001

    def test_order(self, loop: NativeLoop) -> None:
        """Timers due in the same turn fire in the order of their deadlines."""
        slots = list(range(300))
        random.Random(1).shuffle(slots)
        earliest, latest = {}, {}
        for slot in slots:
            earliest[slot] = time.monotonic() + slot * 1e-4
            loop.start_timer(slot, slot * 1e-4)
            latest[slot] = time.monotonic() + slot * 1e-4
        _spin_until(max(latest.values()))
        fired = [slot for slot, _ in loop.poll()]
        assert sorted(fired) == sorted(slots)
        for i, slot in enumerate(fired):
            assert all(earliest[slot] <= latest[other] for other in fired[i:])

    def test_order_of_equals(self, loop: NativeLoop) -> None:
        """Timers of the same length fire in the order of being started, also when started again."""
        slots = list(range(100))
        random.Random(2).shuffle(slots)
        for slot in range(100):
            loop.start_timer(slot, 0.0)
        for slot in slots:
            loop.start_timer(slot, 0.0)
        assert loop.poll() == [(slot, TIMER) for slot in slots]

    def test_stop(self, loop: NativeLoop) -> None:
        """A stopped timer does not fire, and stopping one that does not run is no error."""
        loop.start_timer(1, 0.0)
        loop.start_timer(2, 0.0)
        loop.stop_timer(1)
        loop.stop_timer(1)
        loop.stop_timer(900)
        loop.stop_timer(-1)
        assert loop.poll() == [(2, TIMER)]

    def test_stopped_timer_ends_no_wait(self, loop: NativeLoop) -> None:
        """A poll waits for the first timer that runs, whatever earlier ones were stopped."""
        loop.start_timer(1, 0.002)
        loop.start_timer(2, 0.03)
        assert loop.poll() == []
        loop.start_timer(3, 0.001)
        loop.stop_timer(1)
        assert loop.wait() == [(3, TIMER)]
        loop.start_timer(4, 0.002)
        loop.poll()
        loop.stop_timer(4)
        assert loop.poll(block=True) == [(2, TIMER)]

    def test_restart(self, loop: NativeLoop) -> None:
        """Starting a running timer sets its deadline anew, later or earlier."""
        loop.start_timer(1, 0.0)
        loop.start_timer(1, 0.02)
        assert loop.poll() == []
        loop.start_timer(2, 10.0)
        loop.start_timer(2, 0.0)
        assert loop.poll() == [(2, TIMER)]
        assert loop.wait() == [(1, TIMER)]

    def test_repeat(self, loop: NativeLoop) -> None:
        """A repeating timer keeps to its grid until it is stopped."""
        start = time.monotonic()
        loop.start_timer(1, 0.005, 0.01)
        for i in range(5):
            assert loop.wait() == [(1, TIMER)]
            assert time.monotonic() - start >= 0.005 + i * 0.01
        loop.stop_timer(1)
        _spin_until(time.monotonic() + 0.011)
        assert loop.poll() == []

    def test_overdue_repeat(self, loop: NativeLoop) -> None:
        """A repeating timer fires once in a turn, however many of its deadlines have passed."""
        loop.start_timer(1, 0.0, 1e-12)
        loop.start_timer(2, 0.0, 0.001)
        _spin_until(time.monotonic() + 0.02)
        for _ in range(3):
            entries = loop.poll()
            assert entries.count((1, TIMER)) == 1
            assert entries.count((2, TIMER)) <= 1
        loop.stop_timer(1)
        loop.stop_timer(2)

    def test_ten_thousand_timers(self, loop: NativeLoop) -> None:
        """Of 10,000 timers, all that are not stopped fire, once, in order of their deadlines."""
        dice = random.Random(3)
        after = [dice.randrange(1, 1000) * 1e-5 for _ in range(10_000)]
        for slot, seconds in enumerate(after):
            loop.start_timer(slot, 60.0 + seconds)
        for slot, seconds in enumerate(after):
            loop.start_timer(slot, seconds)
        stopped = set(dice.sample(range(10_000), 5_000))
        for slot in stopped:
            loop.stop_timer(slot)
        fired: list[int] = []
        while len(fired) < 5_000:
            fired += [key for key, events in loop.wait() if events == TIMER]
            assert len(set(fired)) == len(fired)
        assert set(fired) == set(range(10_000)) - stopped
        assert loop.poll() == []

    def test_far_timers(self, loop: NativeLoop) -> None:
        """Huge and infinite times are accepted and do not fire."""
        for slot, seconds in enumerate((1e9, 1e18, 1e300, math.inf)):
            loop.start_timer(slot, seconds, seconds)
        assert loop.poll() == []
        loop.start_timer(9, 0.001)
        assert loop.wait() == [(9, TIMER)]
        for slot in range(3):
            loop.stop_timer(slot)
        loop.start_timer(9, 0.001)
        assert loop.wait() == [(9, TIMER)]

    @pytest.mark.parametrize(
        ("slot", "after", "repeat"),
        [(0, math.nan, 0.0), (0, 1.0, math.nan), (0, 1.0, -1.0), (-1, 1.0, 0.0), (2**31 - 1, 1.0, 0.0)],
    )
    def test_bad_timer(self, loop: NativeLoop, slot: int, after: float, repeat: float) -> None:
        """NaN, a negative repeat and a slot that is none are refused with EINVAL."""
        with pytest.raises(OSError) as caught:
            loop.start_timer(slot, after, repeat)
        assert caught.value.errno == errno.EINVAL
        assert loop.poll() == []

    def test_descriptors_and_timers_together(self, loop: NativeLoop) -> None:
        """One turn brings descriptors and timers, of the same number too."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            loop.start_timer(r, 0.0)
            os.write(w, b"x")
            assert sorted(loop.poll()) == [(r, READ), (r, TIMER)]

    def test_descriptor_ends_a_timed_wait(self, loop: NativeLoop) -> None:
        """A descriptor that turns ready ends a wait whose timer is far."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            loop.start_timer(0, 3600.0)
            thread = threading.Thread(target=os.write, args=(w, b"x"))
            thread.start()
            assert loop.wait() == [(r, READ)]
            thread.join()

    def test_limited_wait(self, loop: NativeLoop) -> None:
        """A wait with a limit ends then and not before, precisely, or earlier with what fires."""
        late = []
        for seconds in [0.0003, 0.0022] * 10:
            start = time.monotonic()
            assert loop.poll_for(seconds) == []
            late.append(time.monotonic() - start - seconds)
        assert min(late) >= 0
        assert min(late) < 0.0005  # rounding up would cost 0.7 ms or more
        with _pipe() as (r, w):
            loop.arm(r, READ)
            os.write(w, b"x")
            assert loop.poll_for(_PATIENCE) == [(r, READ)]
            loop.forget(r)
        loop.start_timer(0, 0.005)
        assert loop.poll_for(0) == []
        assert loop.poll_for(1e-9) == []
        assert loop.poll_for(_PATIENCE) == [(0, TIMER)]
        loop.start_timer(0, 0.001)
        assert loop.poll_for(-1) == [(0, TIMER)]
        loop.wake()
        assert loop.poll_for(_PATIENCE) == []

    def test_clock(self, loop: NativeLoop) -> None:
        """The loop's time is that of time.monotonic(), read at update_now and at each poll."""
        before = time.monotonic()
        now = loop.update_now()
        after = time.monotonic()
        assert before - 1e-6 <= now <= after + 1e-6
        _spin_until(after + 0.001)
        assert loop.now() == now
        loop.poll()
        assert after < loop.now() <= time.monotonic() + 1e-6

    # -- waking --------------------------------------------------------------------------

    def test_wake_from_another_thread(self, loop: NativeLoop) -> None:
        """Another thread runs while a poll waits, and wakes it."""
        for _ in range(50):
            thread = threading.Thread(target=loop.wake)
            thread.start()
            assert loop.poll(block=True) == []
            thread.join()

    def test_wake_before_the_poll(self, loop: NativeLoop) -> None:
        """A wake-up that comes before the wait is not lost, and several are one."""
        for _ in range(5):
            loop.wake()
        assert loop.poll(block=True) == []
        loop.start_timer(0, 0.005)
        assert loop.poll(block=True) == [(0, TIMER)]

    def test_every_wake(self, loop: NativeLoop) -> None:
        """Not one of many wake-ups in a row is lost."""
        rounds, noticed = 2000, threading.Semaphore(0)

        def waker() -> None:
            for _ in range(rounds):
                loop.wake()
                assert noticed.acquire(timeout=_PATIENCE)

        thread = threading.Thread(target=waker)
        thread.start()
        for _ in range(rounds):
            loop.start_timer(0, _PATIENCE)
            assert loop.poll(block=True) == []
            noticed.release()
        thread.join()

    def test_signal_ends_a_wait(self, loop: NativeLoop) -> None:
        """A signal ends a wait at once, so that Python can run its handler."""
        ran = []
        before = signal.signal(signal.SIGALRM, lambda *_: ran.append(time.monotonic()))
        try:
            loop.start_timer(0, _PATIENCE)
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            while not ran:
                assert loop.poll(block=True) == []
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    # -- stats ---------------------------------------------------------------------------

    def test_stat_of_a_file(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A change of a file's size, or of its content alone, fires once."""
        path = tmp_path / "file"
        path.write_bytes(b"one")
        loop.start_stat(4, path)
        assert loop.poll() == []
        path.write_bytes(b"three")
        assert loop.wait() == [(4, STAT)]
        time_ns = path.stat().st_mtime_ns
        path.write_bytes(b"seven")
        os.utime(path, ns=(time_ns, time_ns + 1000))
        assert loop.wait() == [(4, STAT)]
        loop.start_timer(0, 0.3)
        assert loop.wait() == [(0, TIMER)]

    def test_stat_of_what_comes_and_goes(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A path may lead nowhere at first; its coming and going fire."""
        path = tmp_path / "later"
        loop.start_stat(0, path)
        path.mkdir()
        assert loop.wait() == [(0, STAT)]
        path.rmdir()
        assert loop.wait() == [(0, STAT)]

    def test_stat_through_a_link(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A symbolic link is followed: what it leads to is watched."""
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_bytes(b"x")
        link.symlink_to(target)
        loop.start_stat(0, link)
        target.write_bytes(b"longer")
        assert loop.wait() == [(0, STAT)]

    def test_stop_stat(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A stat that was stopped, or moved to another path, says no more of the old one."""
        old, new = tmp_path / "old", tmp_path / "new"
        loop.start_stat(0, old)
        loop.start_stat(0, new)
        loop.start_stat(1, old)
        loop.stop_stat(1)
        loop.stop_stat(1)
        loop.stop_stat(77)
        old.touch()
        loop.start_timer(0, 0.3)
        assert loop.wait() == [(0, TIMER)]
        new.touch()
        assert loop.wait() == [(0, STAT)]

    def test_bad_stat(self, loop: NativeLoop, tmp_path: Path) -> None:
        """A slot that is none is refused with EINVAL."""
        for slot in (-1, 2**31 - 1):
            with pytest.raises(OSError) as caught:
                loop.start_stat(slot, tmp_path)
            assert caught.value.errno == errno.EINVAL

    # -- fork ----------------------------------------------------------------------------

    def test_child_starts_clean(self, loop: NativeLoop, tmp_path: Path) -> None:
        """After hb_fork a child's loop has no descriptors, timers or stats, and works."""
        with _pipe() as (r, w):
            loop.arm(r, READ)
            loop.start_timer(0, 0.0)
            loop.start_stat(0, tmp_path / "file")
            os.write(w, b"x")

            def body() -> None:
                loop.fork()
                (tmp_path / "file").touch()
                assert loop.poll() == []
                loop.wake()
                assert loop.poll(block=True) == []
                loop.arm(r, READ)
                assert loop.wait() == [(r, READ)]
                loop.forget(r)
                loop.start_timer(0, 0.002)
                assert loop.wait() == [(0, TIMER)]
                loop.start_stat(0, tmp_path / "other")
                (tmp_path / "other").touch()
                assert loop.wait() == [(0, STAT)]
                loop.verify()
                loop.destroy()

            assert _in_child(body) == 0

    @pytest.mark.parametrize("how", ["forks", "destroys"])
    def test_parent_is_not_disturbed(self, loop: NativeLoop, tmp_path: Path, how: str) -> None:
        """What a child does with its copy of the loop takes nothing from the parent."""
        with _pipe() as (r, w), _pipe() as (r2, w2):
            for fd in (r, r2):
                loop.arm(fd, READ)
            loop.start_stat(3, tmp_path / "file", 0.5)
            assert loop.poll() == []
            loop.start_timer(0, 0.05)

            def body() -> None:
                if how == "forks":
                    loop.fork()
                    loop.arm(r, READ)
                    loop.wake()
                    loop.start_timer(0, 0.0)
                    loop.wait()
                loop.destroy()

            assert _in_child(body) == 0
            assert loop.wait() == [(0, TIMER)]
            assert loop.poll() == []
            os.write(w, b"x")
            assert loop.wait() == [(r, READ)]
            os.write(w2, b"x")
            assert sorted(loop.poll()) == [(r, READ), (r2, READ)]
            loop.forget(r)
            loop.forget(r2)
            (tmp_path / "file").touch()
            assert loop.wait() == [(3, STAT)]

    def test_fork_without_forking(self, loop: NativeLoop) -> None:
        """hb_fork in the same process leaves an empty loop that works."""
        with _pipe() as (r, w):
            for _ in range(3):
                loop.arm(r, READ)
                loop.start_timer(0, 0.0)
                loop.fork()
                assert loop.poll() == []
            loop.arm(r, READ)
            os.write(w, b"x")
            assert loop.wait() == [(r, READ)]

    # -- trouble -------------------------------------------------------------------------

    def test_descriptors_of_the_loop_closed(self) -> None:
        """A process that closes all its descriptors, the loop's too, gets an error and not its end."""

        def body() -> None:
            loop = NativeLoop(self.extension, self.flags)
            with _pipe() as (r, _):
                loop.arm(r, READ)
                loop.poll()
            os.closerange(3, 256)
            for block in (False, True):
                try:
                    loop.start_timer(0, 0.01)
                    loop.poll(block)
                except OSError as error:
                    assert error.errno == errno.EBADF  # noqa: PT017 - not every backend has a descriptor

        assert _in_child(body) == 0

    def test_random_calls(self, loop: NativeLoop) -> None:
        """20,000 random calls, sound and unsound, leave a consistent loop that reports what is armed only."""
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

        def start_timer() -> None:
            loop.start_timer(dice.randrange(50), dice.uniform(-0.001, 0.001), dice.choice([0.0, 0.0, 0.001]))

        def stop_timer() -> None:
            loop.stop_timer(dice.randrange(50))

        def poll() -> None:
            for key, events in loop.poll():
                if events != TIMER:
                    assert key in armed
                    assert events & ~armed[key] == 0

        calls = [arm, arm, arm, arm, forget, replace, send, unsound, start_timer, stop_timer, poll, poll]
        for i in range(20_000):
            dice.choice(calls)()
            if i % 500 == 0:
                loop.verify()
        for fd in armed:
            loop.forget(fd)
        for a, b in pairs:
            a.close()
            b.close()
