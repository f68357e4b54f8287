"""What signal handlers, destructors and other threads do in the middle of a pool's methods, forced at every step."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from functools import partial

import hubbub
import pytest
from greenlet import getcurrent
from hubbub import _workers, threadpool
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor

FILES = {_workers.__file__, threadpool.__file__}


class Interrupted(BaseException):
    """Raised by the handlers of these tests."""


class Interruption:
    """Calls ``action`` before the ``at``-th instruction of the pools' own code, in this greenlet.

    What a signal handler raises in the hub belongs to the main greenlet, and is the hub's business.
    """

    def __init__(self, at, action):
        self.left = at
        self.action = action
        self.struck = False
        self._greenlet = getcurrent()

    def _trace(self, frame, event, arg):
        if frame.f_code.co_filename not in FILES or getcurrent() is not self._greenlet:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if not self.left:
                sys.settrace(None)
                self.struck = True
                self.action()
        return self._trace

    def in_thread(self, frame, event, arg):
        """The trace function of another thread."""
        self._greenlet = getcurrent()
        return self._trace(frame, event, arg)

    def __enter__(self):
        self._before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # CPython 3.12 has opcodes for settrace if a frame wanted them before
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)
        # A trace function strikes on the way out of "with" too, where no handler runs. What that left taken would make
        # the threads of the pool wait for ever.
        for workers in list(_workers._all):
            while workers._mutex._is_owned():
                workers._mutex.release()


def at_every_step(operation, action):
    """Run ``operation`` again and again, with ``action`` before its first, second ... instruction; yields outcomes."""
    at = 0
    while True:
        at += 1
        error = value = None
        with Interruption(at, action) as interruption:
            try:
                value = operation()
            except Interrupted as caught:
                error = caught
        yield at, value, error
        if not interruption.struck:
            assert at > 10, "nothing was interrupted"
            return


def outcome(task):
    """What the task returned, or that it was killed."""
    task.wait()
    return task.value if task.successful() else str(task.exception).rpartition(" ")[2]


def interrupt():
    raise Interrupted


@pytest.fixture
def pool(hub):
    pool = ThreadPool(2)
    yield pool
    pool.kill()


def check(hub, pool, at):
    """The pool is as good as new."""
    with hubbub.Timeout(10, RuntimeError(f"step {at}: the pool hangs, {pool!r}")):
        pool.join()
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
    assert len(pool) == 0, at
    assert not hub.loop.holders, at
    assert pool.size <= pool.maxsize, at


def test_spawn_in_spawn(hub, pool):
    """A task that is submitted at any step of spawn is run, as is the one whose spawn that interrupted."""
    nested = []
    for at, task, _ in at_every_step(lambda: pool.spawn(abs, -1), lambda: nested.append(pool.spawn(abs, -2))):
        with hubbub.Timeout(10, RuntimeError(f"a task hangs after step {at}")):
            assert task.get() == 1
            assert all(one.get() == 2 for one in nested)
        check(hub, pool, at)
        if at % 3 == 0:
            pool.kill()  # so that threads must be started, too


def test_spawn_in_spawn_of_a_full_pool(hub):
    """The same while all threads are busy; never are there more than maxsize."""
    pool = ThreadPool(1)
    nested = []
    for at, task, _ in at_every_step(lambda: pool.spawn(abs, -1), lambda: nested.append(pool.spawn(abs, -2))):
        assert pool.size <= 1
        with hubbub.Timeout(10, RuntimeError(f"a task hangs after step {at}")):
            assert task.get() == 1
            assert all(one.get() == 2 for one in nested)
        if at % 2 == 0:
            pool.kill()
    check(hub, pool, "the end")
    pool.kill()


def test_spawn_that_is_interrupted(hub, pool):
    """A spawn that a signal handler ends runs the task or not, and leaves the pool in order either way."""
    ran = []
    for at, task, error in at_every_step(lambda: pool.spawn(ran.append, 1), interrupt):
        assert (task is None) == (error is not None)
        check(hub, pool, at)
        if at % 3 == 0:
            pool.kill()


def test_kill_in_spawn(hub, pool):
    """A kill at any step of spawn: the task is run or fails, but its result comes."""
    for at, task, _ in at_every_step(lambda: pool.spawn(abs, -1), pool.kill):
        with hubbub.Timeout(10, RuntimeError(f"the task hangs after step {at}")):
            assert outcome(task) in (1, "killed")
        check(hub, pool, at)


@pytest.mark.parametrize("action", ["spawn", "kill", "raise"])
def test_kill_is_interrupted(hub, action):
    """Whatever happens at any step of kill, every task has a result in the end."""
    pool = ThreadPool(1)

    def act():
        if action == "spawn":
            tasks.append(pool.spawn(abs, -3))
        elif action == "kill":
            pool.kill()
        else:
            raise Interrupted

    at = 0
    while True:
        at += 1
        gate = threading.Event()
        tasks = [pool.spawn(gate.wait, 10), pool.spawn(abs, -1), pool.spawn(abs, -2)]
        with Interruption(at, act) as steps:
            try:
                pool.kill()
            except Interrupted:
                pass
        gate.set()
        with hubbub.Timeout(10, RuntimeError(f"a task hangs after step {at}")):
            for task in tasks:
                assert outcome(task) in (True, 1, 2, 3, "killed")
        check(hub, pool, at)
        if not steps.struck:
            break
    assert at > 10
    pool.kill()


@pytest.mark.parametrize("action", ["spawn", "kill", "raise"])
def test_join_is_interrupted(hub, pool, action):
    """Whatever happens at any step of join, it returns when all is done, and leaves nothing behind if it cannot."""

    def act():
        if action == "spawn":
            pool.spawn(abs, -3)
        elif action == "kill":
            pool.kill()
        else:
            raise Interrupted

    def join():
        with hubbub.Timeout(10, RuntimeError("join hangs")):
            pool.join()

    def operation():
        pool.spawn(abs, -1)
        return join()

    for at, _, _ in at_every_step(operation, act):
        check(hub, pool, at)
        pool.apply(int)
        assert not pool._joiners, at


def test_join_that_is_killed(hub, pool):
    """A greenlet that is killed while it joins leaves nothing in the pool, and is not switched to later."""
    gate = threading.Event()
    task = pool.spawn(gate.wait, 10)
    joiner = hubbub.spawn(pool.join)
    hubbub.sleep(0)
    joiner.kill()
    assert not pool._joiners
    gate.set()
    assert task.get(timeout=10)
    pool.join()


def test_maxsize_is_changed_in_the_middle(hub, pool):
    """Another size at any step of spawn, and a spawn at any step of that, harm nobody."""
    sizes = iter(range(10**6))

    def resize():
        pool.maxsize = 1 + next(sizes) % 3

    for at, task, _ in at_every_step(lambda: pool.spawn(abs, -1), resize):
        assert task.get(timeout=10) == 1
        check(hub, pool, at)
    nested = []
    for at, _, _ in at_every_step(resize, lambda: nested.append(pool.spawn(abs, -1))):
        assert all(task.get(timeout=10) == 1 for task in nested)
        check(hub, pool, at)


@pytest.mark.parametrize("action", ["submit", "raise"])
def test_submit_is_interrupted(hub, action):
    """The executor's submit, too: what was submitted is run, and nothing hangs."""
    nested = []

    def act():
        if action == "submit":
            nested.append(executor.submit(abs, -2))
        else:
            raise Interrupted

    executor = ThreadPoolExecutor(2)
    for at, future, _ in at_every_step(lambda: executor.submit(abs, -1), act):
        if future is not None:
            assert future.result(timeout=10) == 1, at
        assert all(one.result(timeout=10) == 2 for one in nested)
        assert executor.submit(abs, -3).result(timeout=10) == 3
    with hubbub.Timeout(10, RuntimeError("shutdown hangs")):
        executor.shutdown()


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="CPython 3.12 crashes when several threads trace instructions"
)
def test_a_worker_that_is_shot_at_any_step(any_hub):
    """A thread that ends at any step of its own loses no task: each has a result, and the others go on."""
    pool = ThreadPool(1)

    def shoot():
        raise SystemExit

    for at in range(1, 200):
        interruption = Interruption(at, shoot)
        interruption._greenlet = None
        threading.settrace(lambda *event, trace=interruption: trace.in_thread(*event))
        shot = pool.spawn(abs, -1)
        with hubbub.Timeout(10, RuntimeError(f"the task hangs after step {at}")):
            try:
                assert shot.get() == 1
            except (SystemExit, RuntimeError):
                pass
        threading.settrace(None)
        with hubbub.Timeout(10, RuntimeError(f"another task hangs after step {at}")):
            try:  # the shot may have come as late as this
                assert pool.apply(abs, (-2,)) == 2
            except (SystemExit, RuntimeError):
                assert pool.apply(abs, (-3,)) == 3
        pool.kill()
    check(any_hub, pool, "the end")
    pool.kill()


def test_destructors_submit(hub):
    """Destructors that submit while the collector runs in the middle of anything do no harm."""
    pool, executor, got, elsewhere = ThreadPool(2), ThreadPoolExecutor(2), [], []

    class Submits:
        def __init__(self):
            self.me = self

        def __del__(self):
            if threading.get_ident() != hub.thread_ident:
                # The collector was at work in a thread of the pool, which may not submit.
                elsewhere.append(1)
                return
            got.append(pool.spawn(abs, -1))
            got.append(executor.submit(abs, -1))

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(100):
            Submits()
            assert pool.spawn(abs, -number).get(timeout=10) == number
            assert executor.submit(abs, -number).result(timeout=10) == number
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert all(one.result(timeout=10) == 1 for one in got)
    assert len(got) + 2 * len(elsewhere) == 200
    check(hub, pool, "the end")
    pool.kill()
    executor.shutdown()


def test_a_signal_handler_submits(hub):
    """A handler that a fast timer calls submits while main does the same; every task is run."""
    pool, executor, got = ThreadPool(2), ThreadPoolExecutor(2), []

    def handler(*_):
        if len(got) < 2000:
            got.append(pool.spawn(abs, -1))
            got.append(executor.submit(abs, -1))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(300):
            assert pool.spawn(abs, -number).get() == number
            assert executor.submit(abs, -number).result() == number
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert got
    assert all(one.result(timeout=10) == 1 for one in got)
    check(hub, pool, "the end")
    pool.kill()
    executor.shutdown()


def test_no_more_threads_than_maxsize_from_many_threads(hub):
    """However many threads submit to an executor at once, no more of its own run than it may have."""
    executor = ThreadPoolExecutor(2)
    running, most = [], []

    def task():
        running.append(1)
        most.append(len(running))
        running.pop()

    def submit():
        for _ in range(200):
            futures.append(executor.submit(task))

    futures = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=submit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for future in futures:
        future.result(timeout=10)
    assert max(most) <= 2
    executor.shutdown()


def test_shutdown_beside_submit(hub):
    """A submit that meets a shutdown in another thread is refused or done, and never left hanging."""
    for at in range(1, 400, 3):
        executor = ThreadPoolExecutor(1)
        future, refused = None, None
        with Interruption(at, partial(executor.shutdown, wait=False)) as interruption:
            try:
                future = executor.submit(abs, -1)
            except RuntimeError as error:
                refused = error
        assert (future is None) != (refused is None)
        if future is not None:
            assert future.result(timeout=10) == 1
        executor.shutdown()
        if not interruption.struck:
            return
