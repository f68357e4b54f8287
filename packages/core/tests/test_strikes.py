"""Pools, channels, files, child processes, scopes: interrupted at every switch, all that they promise holds."""

from __future__ import annotations

import os
import threading
from typing import Any

import hubbub
import pytest
from hubbub import CancelScope, Event, GreenletExit, TaskGroup, Timeout, fileobject, sleep, spawn, subprocess
from hubbub.lowlevel import HubLocal
from hubbub.pool import Group, Pool
from hubbub.queue import Channel, Empty, Queue
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor
from hubbub_testkit.strikes import CANCEL, INTERRUPT, KILL, NOTHING, VICTIMS, at_every_switch

strikes = pytest.mark.parametrize("strike", VICTIMS, ids=lambda strike: strike.__name__.lower())


# Thread pools ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(hub):
    pool = ThreadPool(2)
    yield pool
    pool.kill()


@strikes
def test_thread_pool(hub, pool, strike):
    """A caller that is interrupted takes no task of others with it; the pool forgets the task when it has ended."""

    def work():
        return pool.apply(abs, (-1,)), pool.map(abs, [-1, -2, -3]), pool.spawn(abs, -4).get()

    def scenario(hit):
        hit.victim(work)
        other = spawn(work)
        assert other.get(timeout=10) == (1, [1, 2, 3], 4)
        hit.greenlet.join()
        pool.join()
        assert len(pool) == 0

    assert at_every_switch(scenario, strike) > 3


@strikes
def test_joining_a_thread_pool(hub, pool, strike):
    """Who waits for a pool and is interrupted leaves nothing; others that wait for it are woken."""

    def scenario(hit):
        gate = threading.Event()
        task = pool.spawn(gate.wait, 10)
        hit.victim(pool.join)
        other = spawn(pool.join)
        sleep(0)
        sleep(0)
        gate.set()
        other.get(timeout=10)
        assert task.get() is True
        assert not pool._joiners

    assert at_every_switch(scenario, strike) > 2


@strikes
def test_executor(hub, strike):
    """Who waits for a future and is interrupted leaves the future, and the executor, to the others."""
    executor = ThreadPoolExecutor(2)

    def work(future):
        return future.result(), executor.submit(abs, -2).result(10), list(executor.map(abs, [-1, -2]))

    def scenario(hit):
        gate = threading.Event()
        future = executor.submit(gate.wait, 10)
        hit.victim(work, future)
        other = spawn(work, future)
        sleep(0)
        gate.set()
        assert other.get(timeout=10) == (True, 2, [1, 2])
        hit.greenlet.join()
        for left in list(executor._futures):
            assert left.exception(10) is None

    assert at_every_switch(scenario, strike) > 3
    executor.shutdown()


@strikes
def test_shutdown_of_an_executor(hub, strike):
    """A shutdown that is interrupted while it waits can be repeated, and no thread stays."""

    def scenario(hit):
        executor = ThreadPoolExecutor(1)
        gate = threading.Event()
        running, waiting = executor.submit(gate.wait, 10), executor.submit(abs, -1)
        hit.victim(executor.shutdown)
        sleep(0)
        sleep(0)
        gate.set()
        executor.shutdown()
        assert (running.result(), waiting.result()) == (True, 1)
        with pytest.raises(RuntimeError):
            executor.submit(abs, 1)
        assert executor._workers.size == 0

    assert at_every_switch(scenario, strike) > 2


# Channels -------------------------------------------------------------------------------------------------------------


@strikes
@pytest.mark.parametrize("victim", ["putter", "getter"])
def test_channel(hub, strike, victim):
    """Each item whose put has returned is got once, and none is got whose put was interrupted before it was taken."""

    def scenario(hit):
        channel = Channel()
        put, got = [], []

        def putting(first):
            for item in range(first, first + 3):
                channel.put(item)
                put.append(item)

        def getting():
            while len(got) < 6:
                got.append(channel.get(timeout=10))

        if victim == "putter":
            hit.victim(putting, 0)
            other = spawn(putting, 10)
            getter = spawn(getting)
            other.join()
            hit.greenlet.join()
            sleep(0)
            getter.kill()
        else:
            hit.victim(getting)
            getter = spawn(getting)
            putters = [spawn(putting, 0), spawn(putting, 10)]
            hubbub.joinall(putters, timeout=10)
            sleep(0)
            hubbub.killall([getter, hit.greenlet])
        while True:
            try:
                got.append(channel.get(block=False))
            except Empty:
                break
        assert len(got) == len(set(got))
        assert set(put) <= set(got)
        assert len(set(got) - set(put)) <= (victim == "putter")
        assert channel.balance == 0

    assert at_every_switch(scenario, strike) > 3


# Pools of greenlets ---------------------------------------------------------------------------------------------------


@strikes
def test_pool_places(hub, strike):
    """Who waits for a place, or for the end of a pool, and is interrupted has no place; all are free in the end."""

    def scenario(hit):
        pool = Pool(2)
        done: list[int] = []
        results: list[Any] = []

        def work(number):
            sleep(0)
            done.append(number)

        def spawning():
            for number in range(4):
                pool.spawn(work, number)
            pool.join()
            results.append(pool.imap_unordered(abs, [1, 2, 3]))
            return list(results[0])

        hit.victim(spawning)
        for number in range(10, 13):
            pool.spawn(work, number)
        hit.greenlet.join()
        pool.join()
        if results:
            results[0].join()  # what feeds it goes on without its reader
        pool.join()
        assert set(done) >= {10, 11, 12}
        assert pool.free_count() == 2
        assert len(pool) == 0

    assert at_every_switch(scenario, strike) > 5


@strikes
def test_killing_a_group(hub, strike):
    """A kill of a group that is interrupted may be repeated: then the group is empty."""

    def scenario(hit):
        group = Group()

        def stubborn():
            try:
                sleep(10)
            except GreenletExit:
                sleep(0)

        for _ in range(3):
            group.spawn(stubborn)
        sleep(0)
        hit.victim(group.kill)
        sleep(0)
        group.kill()
        assert not group.greenlets
        assert not group.dying
        assert group.join(0)

    assert at_every_switch(scenario, strike) > 3


# Values of hubs -------------------------------------------------------------------------------------------------------


@strikes
def test_hub_local(hub, strike):
    """Of values that greenlets make at the same time one stays, the others are ended; an interrupted one is none."""

    def scenario(hit):
        made, ended = [], []

        def make(hub):
            sleep(0)
            made.append(object())
            return made[-1]

        variable = HubLocal("a value", make, end=ended.append)
        hit.victim(variable.get)
        others = [spawn(variable.get) for _ in range(2)]
        hubbub.joinall(others)
        hit.greenlet.join()
        assert others[0].value is others[1].value is variable.get()
        assert {*map(id, ended), id(variable.get())} == set(map(id, made))
        variable.forget()

    assert at_every_switch(scenario, strike) > 3


# Child processes ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/bin/cat"), reason="needs cat")
@pytest.mark.parametrize("strike", [KILL, CANCEL, INTERRUPT], ids=lambda strike: strike.__name__.lower())
def test_child_processes(hub, strike):
    """Who waits for a process and is interrupted leaves it to others: its status is there once, and no pipe stays."""

    def scenario(hit):
        process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def work():
            return process.communicate(b"x" * 10)[0], process.wait()

        with process:
            hit.victim(work)
            other = spawn(process.wait)
            sleep(0)
            hit.greenlet.join()
            if process.stdin and not process.stdin.closed:
                process.stdin.close()
            assert other.get(timeout=10) == 0
            assert process.wait(10) == 0
        if hit.returned:
            assert hit.returned == [(b"x" * 10, 0)]
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)

    assert at_every_switch(scenario, strike) > 2


@pytest.mark.skipif(not os.path.exists("/bin/true"), reason="needs true")
@pytest.mark.parametrize("strike", [KILL, CANCEL, INTERRUPT], ids=lambda strike: strike.__name__.lower())
@pytest.mark.parametrize("which", ["run", "check_output", "waitpid", "wait"])
def test_functions_for_child_processes(hub, strike, which, no_children):
    """No child is left, nor any descriptor, whatever function was interrupted where."""

    def waiting():
        pid = os.posix_spawn("/bin/true", ["true"], {}) if which in ("waitpid", "wait") else 0
        mine.append(pid)
        if which == "run":
            return subprocess.run(["/bin/cat"], input=b"a", capture_output=True, check=True).stdout
        if which == "check_output":
            return subprocess.check_output(["/bin/cat"], stdin=subprocess.DEVNULL)
        return hubbub.os.waitpid(pid, 0) if which == "waitpid" else hubbub.os.wait()

    mine = []

    def scenario(hit):
        del mine[:]
        hit.victim(waiting)
        hit.greenlet.join()
        if mine and mine[0] and not hit.returned:
            assert os.waitpid(mine[0], 0)[1] == 0  # the status was not swallowed
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    clean = which != "wait"  # the thread that waits for any child ends a little later
    assert at_every_switch(scenario, strike, clean=clean) > 1


# Files ----------------------------------------------------------------------------------------------------------------


@strikes
@pytest.mark.parametrize("owned", [True, False])
def test_reading_a_file(hub, strike, owned):
    """A reader that is interrupted leaves the turn, and all that it had not begun to take, to others."""

    def scenario(hit):
        readable, writable = os.pipe()
        reader, writer = fileobject.open(readable, "rb", closefd=owned), fileobject.open(writable, "wb")
        lines = []

        def reading():
            for line in iter(reader.readline, b""):
                lines.append(line)
                sleep(0)

        hit.victim(reading)
        other = spawn(reading)
        for number in range(4):
            writer.write(b"%d\n" % number)
            writer.flush()
            sleep(0)
        writer.close()
        other.get(timeout=10)
        reader.close()
        if not owned:
            os.close(readable)
        assert sorted(lines) == [b"0\n", b"1\n", b"2\n", b"3\n"]

    assert at_every_switch(scenario, strike) > 5


@strikes
def test_writing_a_file(hub, strike):
    """A writer that is interrupted holds up nobody, and what others write comes whole."""

    def scenario(hit):
        readable, writable = os.pipe()
        reader, writer = fileobject.open(readable, "rb"), fileobject.open(writable, "wb")
        written = [b"%d" % number * 50_000 for number in range(3)]

        def writing(data):
            writer.write(data)
            writer.flush()

        hit.victim(writing, written[0])
        others = [spawn(writing, data) for data in written[1:]]

        def ending():
            hubbub.joinall([*others, hit.greenlet])
            writer.close()

        closer = spawn(ending)
        data = reader.read()
        closer.get(timeout=10)
        reader.close()
        assert all(one.successful() for one in others)
        assert [data.count(b"1"), data.count(b"2")] == [50_000, 50_000]

    assert at_every_switch(scenario, strike) > 5


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_closing_a_file(hub, kind):
    """A file that is closed at any moment is closed: who waits in it, or for its turn, gets an error at once."""

    def scenario(hit):
        readable, writable = os.pipe()
        reader, writer = fileobject.open(readable, "rb"), fileobject.open(writable, "wb")
        file = reader if kind == "reader" else writer
        outcomes = []

        def using():
            try:
                if kind == "reader":
                    while reader.readline():
                        sleep(0)
                else:
                    while True:
                        writer.write(b"x" * 100_000)
                        writer.flush()
            except (OSError, ValueError) as error:
                outcomes.append(type(error))

        def close(_):
            spawn(quietly, file)

        def quietly(file):
            try:
                file.close()
            except (OSError, ValueError):
                pass

        hit.action = close if hit.action is not NOTHING else NOTHING
        users = [spawn(using) for _ in range(2)]
        sleep(0)
        os.write(writable, b"abc\n") if kind == "reader" else os.read(readable, 10)
        sleep(0)
        sleep(0)
        quietly(file)
        assert not hubbub.killall(users, block=False)
        hubbub.joinall(users)
        assert file.raw.closed
        quietly(reader)
        quietly(writer)

    assert at_every_switch(scenario, lambda hit: None) > 3


# Scopes, groups, limits -----------------------------------------------------------------------------------------------


@strikes
def test_nested_scopes_and_groups(hub, strike):
    """No member outlives its group, and what comes from outside is raised outside, whatever is nested in what."""

    def scenario(hit):
        alive = set()

        def member(name, depth):
            alive.add(name)
            try:
                with Timeout(10), CancelScope():
                    sleep(0)
                    if depth:
                        block(f"{name}.", depth - 1)
                    sleep(0)
            finally:
                with hubbub.shield():
                    sleep(0)
                alive.discard(name)

        def block(prefix, depth):
            try:
                with hubbub.move_on_after(10), TaskGroup() as group:
                    for number in range(2):
                        group.spawn(member, f"{prefix}{number}", depth)
                    with Timeout(10):
                        sleep(0)
            finally:
                assert not [name for name in alive if name.startswith(prefix)]

        hit.victim(block, "", 1)
        hit.greenlet.join()
        assert not alive

    assert at_every_switch(scenario, strike) > 8


@strikes
def test_a_failure_beside_a_strike(hub, strike):
    """A failure in a group and a strike from outside in any order: the group ends, and at least one of them is told."""

    class Failure(Exception):
        """Of a member."""

    def scenario(hit):
        seen = []

        def failing():
            sleep(0)
            sleep(0)
            raise Failure

        def work():
            try:
                with TaskGroup() as group:
                    group.spawn(failing)
                    group.spawn(sleep, 10)
                    sleep(10)
            except* Failure:
                seen.append("failure")
                sleep(0)
                sleep(0)

        hit.victim(work)
        hit.greenlet.join()
        assert seen or not hit.returned

    assert at_every_switch(scenario, strike) > 3


@strikes
def test_a_thread_that_sets(hub, strike):
    """Another thread's set, and a strike, in any order: nobody else misses the wake-up."""

    def scenario(hit):
        event, queue = Event(), Queue()

        def work():
            event.wait()
            return queue.get()

        hit.victim(work)
        others = [spawn(work) for _ in range(2)]
        sleep(0)
        thread = threading.Thread(target=lambda: (event.set(), [queue.put(number) for number in range(3)]))
        thread.start()
        hubbub.joinall(others, timeout=10)
        thread.join()
        hit.greenlet.join()
        got = [one.value for one in others] + hit.returned + [queue.get_nowait() for _ in range(len(queue))]
        assert sorted(got) == [0, 1, 2]

    assert at_every_switch(scenario, strike) > 3


# Forks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks(hub):
    """A child that is forked at any switch can use all of this at once, and the parent goes on."""

    def in_child():
        pool = ThreadPool(1)
        assert pool.apply(abs, (-1,)) == 1
        channel = Channel()
        spawn(channel.put, 2)
        assert channel.get(timeout=10) == 2
        with TaskGroup() as group:
            group.spawn(sleep, 0)
        assert hub.threadpool.apply(abs, (-3,)) == 3

    def fork(hit):
        pid = os.fork()
        if pid:
            children.append(pid)
            return
        status = 1
        try:
            spawn(in_child).get(timeout=20)
            status = 0
        finally:
            os._exit(status)

    children = []

    def scenario(hit):
        channel = Channel()
        pool = Pool(1)
        pool.spawn(channel.put, 1)
        task = hub.threadpool.spawn(abs, -1)
        with TaskGroup() as group:
            group.spawn(sleep, 0)
            assert channel.get() == 1
        assert task.get() == 1
        pool.join()
        while children:
            assert os.waitpid(children.pop(), 0)[1] == 0

    assert at_every_switch(scenario, fork) > 3
