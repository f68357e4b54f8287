"""Thread pools: functions in native threads, results to greenlets."""

import concurrent.futures
import ctypes
import gc
import os
import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar
from textwrap import dedent
from time import monotonic

import hubbub
import pytest
from hubbub import _workers
from hubbub.exceptions import InvalidThreadUseError
from hubbub.threadpool import Future, ThreadPool, ThreadPoolExecutor, to_thread

VARIABLE = ContextVar("VARIABLE", default="none")


@pytest.fixture
def gate():
    """Holds tasks until it is set."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def pool(hub):
    made = ThreadPool(3)
    yield made
    made.kill()


def eventually(condition):
    """Wait until ``condition()``, looking often; fail after 5 seconds."""
    limit = monotonic() + 5
    while not condition():
        assert monotonic() < limit, "it never came true"
        hubbub.sleep(0.001)


def blocked(gate, started):
    started.append(1)
    assert gate.wait(20)
    return threading.get_ident()


def test_a_block_waits_for_its_tasks(hub, gate):
    """A pool as a context manager: at the end of the block all tasks have finished, and the threads end."""
    started = []
    with ThreadPool(2) as pool:
        tasks = [pool.spawn(blocked, gate, started) for _ in range(3)]
        hubbub.spawn(gate.set)
    assert all(task.ready() for task in tasks)
    assert len(started) == 3
    eventually(lambda: pool.size == 0)


def test_a_block_that_fails_begins_no_more_tasks(hub, gate):
    """After an error in the block nothing waits: a task that runs is finished, one that waited fails."""
    started = []
    with pytest.raises(KeyError), ThreadPool(1) as pool:
        runs, waits = pool.spawn(blocked, gate, started), pool.spawn(blocked, gate, started)
        eventually(lambda: started)
        raise KeyError
    with pytest.raises(RuntimeError, match="killed"):
        waits.get(timeout=5)
    gate.set()
    runs.get(timeout=5)
    assert started == [1]


def test_spawn_gives_a_result(pool):
    """spawn returns at once; the result comes from another thread, with arguments passed on."""
    task = pool.spawn(lambda *args, **kwargs: (threading.get_ident(), args, kwargs), 1, key=2)
    ident, args, kwargs = task.get(timeout=5)
    assert ident != threading.get_ident()
    assert (args, kwargs) == ((1,), {"key": 2})


def test_others_run_meanwhile(pool, gate):
    """Greenlets run while threads are busy."""
    tasks = [pool.spawn(gate.wait, 20) for _ in range(3)]
    hubbub.sleep(0.01)
    gate.set()
    assert [task.get(timeout=5) for task in tasks] == [True] * 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, hubbub.GreenletExit, GeneratorExit])
def test_failures_are_carried(pool, error):
    """Whatever a task raises is raised by get and apply; the threads are still there."""

    def fail():
        raise error("words")

    for _ in range(10):
        with pytest.raises(error, match="words"):
            pool.apply(fail)
        task = pool.spawn(fail)
        with pytest.raises(error):
            task.get(timeout=5)
        assert isinstance(task.exception, error)
    assert pool.map(abs, range(6)) == list(range(6))
    assert pool.size <= 3
    assert len(pool) == 0


def test_apply_and_kin(pool):
    """apply, map, imap, imap_unordered, apply_async and map_async do as their names say."""
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.map(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]
    assert list(pool.imap(abs, [-1, -2])) == [1, 2]
    assert list(pool.imap(pow, [2, 3], [3, 2])) == [8, 9]
    assert sorted(pool.imap_unordered(abs, [-1, -2, -3])) == [1, 2, 3]
    assert list(pool.imap_unordered(abs, [])) == []
    called = []
    assert pool.apply_async(abs, (-5,), callback=called.append).get(timeout=5) == 5
    assert pool.map_async(abs, [-1], callback=called.append).get(timeout=5) == [1]
    eventually(lambda: called == [5, [1]])


def test_failure_in_a_map(pool):
    """A failing item fails the map; the pool goes on."""
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda number: 1 // number, [1, 0, 2])
    pool.join()
    assert pool.apply(abs, (-1,)) == 1


def test_no_more_threads_than_maxsize(pool, gate):
    """Tasks beyond the number of threads wait for their turn, in order."""
    started = []
    tasks = [pool.spawn(blocked, gate, started) for _ in range(10)]
    eventually(lambda: len(started) == 3)
    hubbub.sleep(0.01)
    assert len(started) == 3
    assert pool.size == 3
    assert len(pool) == 10
    gate.set()
    assert len({task.get(timeout=5) for task in tasks}) <= 3
    assert len(pool) == 0


def test_tasks_begin_in_order(hub):
    """A pool of one thread runs tasks in the order of spawn."""
    pool, order = ThreadPool(1), []
    for number in range(100):
        pool.spawn(order.append, number)
    pool.join()
    assert order == list(range(100))
    pool.kill()


def test_maxsize_grows(pool, gate):
    """A larger maxsize lets waiting tasks begin at once."""
    started = []
    for _ in range(6):
        pool.spawn(blocked, gate, started)
    eventually(lambda: len(started) == 3)
    pool.maxsize = 5
    assert pool.maxsize == 5
    eventually(lambda: len(started) == 5)


def test_maxsize_shrinks(pool, gate):
    """With a smaller maxsize idle threads end at once, busy ones after their task."""
    started = []
    for _ in range(3):
        pool.spawn(blocked, gate, started)
    eventually(lambda: len(started) == 3)
    pool.maxsize = 1
    assert pool.size == 3
    gate.set()
    pool.join()
    eventually(lambda: pool.size == 1)
    pool.maxsize = 3
    pool.map(abs, range(9))
    pool.maxsize = 1
    eventually(lambda: pool.size == 1)
    assert pool.apply(abs, (-1,)) == 1


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), ("3", TypeError), (1.5, TypeError)])
def test_bad_sizes(pool, size, error):
    """A pool has at least one thread."""
    with pytest.raises(error):
        ThreadPool(size)
    with pytest.raises(error):
        pool.maxsize = size
    assert pool.maxsize == 3


def test_not_callable(pool):
    """What cannot be called is refused by spawn, and takes no slot."""
    with pytest.raises(TypeError):
        pool.spawn(5)
    assert len(pool) == 0


def test_join_waits_for_all(pool, gate):
    """join returns when the last task is finished, not before."""
    for _ in range(5):
        pool.spawn(gate.wait, 20)
    joiners = [hubbub.spawn(pool.join) for _ in range(2)]
    hubbub.sleep(0.01)
    assert not any(joiner.ready() for joiner in joiners)
    gate.set()
    hubbub.joinall(joiners, timeout=5)
    assert all(joiner.successful() for joiner in joiners)
    pool.join()


def test_kill(pool, gate):
    """kill lets running tasks finish, fails those that wait, and leaves a usable pool."""
    started = []
    running = [pool.spawn(blocked, gate, started) for _ in range(3)]
    waiting = [pool.spawn(abs, -1) for _ in range(3)]
    eventually(lambda: len(started) == 3)
    pool.kill()
    for task in waiting:
        with pytest.raises(RuntimeError, match="killed"):
            task.get(timeout=5)
    assert pool.apply(abs, (-2,)) == 2
    gate.set()
    assert all(task.get(timeout=5) for task in running)
    pool.join()


def test_killed_caller_leaves_no_trace(pool, gate):
    """A greenlet that is killed while it waits for a task returns at once; the task finishes and frees its thread."""
    started = []
    caller = hubbub.spawn(pool.apply, blocked, (gate, started))
    eventually(lambda: started)
    caller.kill(timeout=5)
    assert caller.dead
    gate.set()
    pool.join()
    assert pool.map(abs, range(5)) == list(range(5))


def test_idle_threads_end(hub):
    """A thread without work ends after idle_seconds."""
    pool = ThreadPool(3, idle_seconds=0.01)
    pool.map(abs, range(6))
    eventually(lambda: pool.size == 0)
    assert pool.apply(abs, (-1,)) == 1


def test_busy_hand_over(hub):
    """No task is lost when threads end and tasks come at the same moment."""
    pool = ThreadPool(2, idle_seconds=0.0005)
    for number in range(300):
        assert pool.apply(abs, (-number,)) == number
        if number % 3 == 0:
            hubbub.sleep(0.0005)
    pool.kill()


def test_worker_that_is_shot(pool, gate):
    """A thread that ends by an exception from outside is replaced, and its task fails instead of hanging."""
    started = []

    def spin():
        started.append(threading.get_ident())
        while not gate.is_set():
            pass

    tasks = [pool.spawn(spin) for _ in range(3)]
    eventually(lambda: len(started) == 3)
    for ident in started:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
    for task in tasks:
        with pytest.raises(SystemExit):
            task.get(timeout=5)
    gate.set()
    assert pool.map(abs, range(6)) == list(range(6))


def test_no_thread_can_be_started(hub, monkeypatch):
    """If the system refuses a first thread spawn raises; if there is one already the task waits for it."""
    pool = ThreadPool(2, idle_seconds=None)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_workers, "_start_new_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            pool.spawn(abs, -1)
    assert len(pool) == 0
    assert pool.apply(abs, (-1,)) == 1
    gate = threading.Event()
    busy = pool.spawn(gate.wait, 20)
    with monkeypatch.context() as patch:
        patch.setattr(_workers, "_start_new_thread", refuse)
        task = pool.spawn(abs, -2)
    gate.set()
    assert (busy.get(timeout=5), task.get(timeout=5)) == (True, 2)
    pool.kill()


def test_only_from_the_thread_of_its_hub(pool):
    """spawn from a foreign thread is refused; apply there, in a task of the pool for instance, just calls."""

    def foreign():
        with pytest.raises(InvalidThreadUseError):
            pool.spawn(abs, -1)
        return pool.apply(abs, (-1,)), pool.apply(threading.get_ident) == threading.get_ident()

    assert pool.apply(foreign) == (1, True)


def test_hub_in_a_worker(pool):
    """A task may use greenlets of its own thread; that hub ends with the thread."""

    def task():
        got = hubbub.spawn(lambda: 3).get()
        return got, weakref.ref(hubbub.get_hub())

    got, hub_of_worker = pool.apply(task)
    assert got == 3
    assert hub_of_worker() is not hubbub.get_hub()
    pool.kill()

    def gone():
        gc.collect()
        return hub_of_worker() is None or hub_of_worker().destroyed

    eventually(gone)


def test_to_thread(hub):
    """to_thread runs a function in a thread with the caller's context variables, which it does not change."""
    VARIABLE.set("caller's")

    def task(*args, **kwargs):
        seen = VARIABLE.get()
        VARIABLE.set("task's")
        return threading.get_ident() != main, seen, args, kwargs

    main = threading.get_ident()
    assert to_thread(task, 1, key=2) == (True, "caller's", (1,), {"key": 2})
    assert VARIABLE.get() == "caller's"
    with pytest.raises(ZeroDivisionError):
        to_thread(divmod, 1, 0)


def test_default_pool(hub):
    """The hub's own pool has 10 threads, is made on first use, and may be replaced."""
    assert hub.threadpool.maxsize == 10
    assert hub.threadpool is hub.threadpool
    mine = ThreadPool(1)
    hub.threadpool = mine
    assert hub.threadpool is mine
    del hub.threadpool
    assert hub.threadpool is not mine


def test_names_do_not_need_the_users_pool(hub, gate):
    """When all threads of the user's pool are blocked, names and files are still served."""
    started = []
    tasks = [hub.threadpool.spawn(blocked, gate, started) for _ in range(10)]
    eventually(lambda: len(started) == 10)
    with hubbub.Timeout(10):
        assert hub.resolver.getaddrinfo("localhost", 80)
        assert hub.file_pool.apply(abs, (-1,)) == 1
    gate.set()
    assert all(task.get(timeout=5) for task in tasks)


def test_tracing(pool):
    """threading.settrace and setprofile reach the tasks."""
    seen = []
    previous = sys.gettrace(), threading.gettrace(), threading.getprofile()
    threading.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name))

    def traced_function():
        return 1

    try:
        pool.apply(traced_function)
    finally:
        threading.setprofile(previous[2])
        pool.kill()
    assert "traced_function" in seen
    assert (sys.gettrace(), threading.gettrace()) == previous[:2]


def test_tracing_ends_with_the_thread(pool):
    """A thread takes off its trace and profile functions before it ends: else the whole process stays instrumented."""
    seen = []
    previous = threading.gettrace(), threading.getprofile()
    threading.settrace(lambda frame, event, arg: None)
    threading.setprofile(lambda frame, event, arg: seen.append(arg) if event == "c_call" else None)
    try:
        pool.apply(int)
    finally:
        threading.settrace(previous[0])
        threading.setprofile(previous[1])
        pool.kill()
    eventually(lambda: sys.setprofile in seen)
    assert sys.settrace in seen


class Plain:
    """A job that calls a function, and has nothing to deliver."""

    def __init__(self, function):
        self.function = function

    def __call__(self):
        self.function()

    def deliver(self):
        pass

    def abandon(self):
        return True


def test_threads_in_advance(gate):
    """Workers can be told how many threads to have: new ones start, idle ones end, busy ones after their job."""
    workers = _workers.Workers(3, None)
    workers.resize(2)
    assert workers.size == 2
    done = []
    for number in range(3):
        workers.submit(Plain(lambda number=number: (gate.wait(10), done.append(number))))
    workers.resize(1)
    assert workers.size == 1
    gate.set()
    eventually(lambda: sorted(done) == [0, 1, 2])
    workers.resize(0)
    assert workers.size == 0
    workers.submit(Plain(lambda: done.append("again")))
    eventually(lambda: "again" in done)
    workers.dismiss_all()


def test_refused_tracing(pool, monkeypatch):
    """A thread that may not set its profile function, as an audit hook can decide, fails the task."""

    def refused():
        raise RuntimeError("not allowed")

    monkeypatch.setattr("hubbub._workers._getprofile", refused)
    with hubbub.Timeout(10), pytest.raises(RuntimeError, match="not allowed"):
        pool.apply(len, ("x",))
    monkeypatch.undo()
    with hubbub.Timeout(10):
        assert pool.apply(len, ("x",)) == 1


def test_no_dummy_threads_are_left(pool):
    """Tasks that ask for current_thread() leave nothing behind in the threading module."""
    before = threading.active_count()
    for _ in range(5):
        pool.apply(threading.current_thread)
        pool.kill()
    eventually(lambda: threading.active_count() <= before)


def test_nothing_is_kept(pool):
    """Neither arguments nor results nor errors of a finished task are held by the pool."""

    class Thing:
        pass

    thing = Thing()
    gone = [weakref.ref(thing)]
    result = pool.apply(lambda arg: Thing(), (thing,))
    gone.append(weakref.ref(result))
    del thing, result

    def all_gone():
        gc.collect()
        return not any(reference() for reference in gone)

    eventually(all_gone)


def test_repr(pool):
    """The repr shows how full the pool is."""
    assert "threads=0/3 unfinished=0" in repr(pool)


# ThreadPoolExecutor ---------------------------------------------------------------------------------------------------


@pytest.fixture
def executor(hub):
    with ThreadPoolExecutor(2) as made:
        yield made


def test_executor(executor):
    """submit and map give what the functions return and raise, as in concurrent.futures."""
    assert isinstance(executor, concurrent.futures.Executor)
    future = executor.submit(divmod, 7, 2)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result() == (3, 1)
    assert future.exception() is None
    failed = executor.submit(divmod, 1, 0)
    assert isinstance(failed.exception(), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]


def test_futures_wait_cooperatively(executor, gate):
    """Other greenlets run while one waits for a future; a time limit raises TimeoutError."""
    future = executor.submit(gate.wait, 20)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    waiters = [hubbub.spawn(future.result) for _ in range(3)]
    hubbub.sleep(0.001)
    gate.set()
    assert [waiter.get(timeout=5) for waiter in waiters] == [True] * 3


def test_futures_with_wait(executor, gate):
    """Futures may be waited for with hubbub.wait, beside greenlets."""
    slow, quick = executor.submit(gate.wait, 20), executor.submit(abs, -1)
    assert hubbub.wait([slow, quick], count=1, timeout=5) == [quick]
    gate.set()
    assert set(hubbub.wait([slow, quick], timeout=5)) == {slow, quick}


def test_future_is_unlinked(executor, gate):
    """A link that was undone is not called, and does not keep the loop."""
    called = []
    future = executor.submit(gate.wait, 20)
    future.rawlink(called.append)
    future.unlink(called.append)
    gate.set()
    future.result()
    hubbub.sleep(0.01)
    assert called == []
    assert hubbub.get_hub().loop.refs == 0


def test_cancel(executor, gate):
    """A future that has not begun can be cancelled; who waits for it is told."""
    busy = [executor.submit(gate.wait, 20) for _ in range(2)]
    future = executor.submit(abs, -1)

    def wait():
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
        return "cancelled"

    waiter = hubbub.spawn(wait)
    hubbub.sleep(0)
    assert future.cancel()
    assert waiter.get(timeout=5) == "cancelled"
    eventually(lambda: busy[0].running())
    assert not busy[0].cancel()
    gate.set()


def test_shutdown(hub, gate):
    """After shutdown nothing is taken; what was taken is finished first, or cancelled if asked for."""
    executor = ThreadPoolExecutor(1)
    busy, waiting = executor.submit(gate.wait, 20), executor.submit(abs, -1)
    ender = hubbub.spawn(executor.shutdown)
    hubbub.sleep(0.001)
    assert not ender.ready()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    gate.set()
    ender.get(timeout=5)
    assert (busy.result(), waiting.result()) == (True, 1)
    gate.clear()
    executor = ThreadPoolExecutor(1)
    busy, waiting = executor.submit(gate.wait, 20), executor.submit(abs, -1)
    eventually(busy.running)
    executor.shutdown(wait=False, cancel_futures=True)
    assert waiting.cancelled()
    gate.set()
    assert busy.result(timeout=5)


def test_executor_from_other_threads(executor):
    """Any thread may submit and wait."""
    got = []
    threads = [
        threading.Thread(target=lambda n=n: got.append(executor.submit(abs, -n).result(timeout=5))) for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(5))


def test_executor_of_no_size(hub):
    """As in concurrent.futures, an executor has at least one thread."""
    with pytest.raises(ValueError, match="greater than 0"):
        ThreadPoolExecutor(0)
    assert isinstance(ThreadPoolExecutor().submit(abs, -1), Future)


@pytest.mark.unsanitized
def test_interpreter_exit(loop_name):
    """A process with busy and idle threads, pending tasks, waiting greenlets and talkative destructors ends quietly."""
    text = """
        import threading, time, hubbub
        from hubbub.threadpool import ThreadPool, ThreadPoolExecutor

        class Talkative:
            def __del__(self):
                queue.put(1)
                event.set()
                hubbub.get_hub().loop.run_callback(int)

        queue, event = hubbub.Queue(), hubbub.Event()
        kept, cycle = Talkative(), [Talkative()]
        cycle.append(cycle)
        pool = ThreadPool(2)
        pool.map(abs, range(5))
        pool.spawn(time.sleep, 60)
        executor = ThreadPoolExecutor(2)
        futures = [executor.submit(time.sleep, 0.01) for _ in range(5)]
        hubbub.get_hub().threadpool.spawn(time.sleep, 60)
        threading.Thread(target=hubbub.sleep, args=(60,), daemon=True).start()
        hubbub.spawn(hubbub.sleep, 60)
        hubbub.spawn_later(60, print)
        hubbub.sleep(0.01)
        print("end")
    """
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [sys.executable, "-c", dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_thread_is_idle_before_it_delivers(hub):
    """A greenlet that is woken by a task finds its thread idle: the next task needs no other thread."""
    pool = ThreadPool(5, hub=hub)
    for _ in range(50):
        pool.apply(int)
    assert pool.size == 1
    assert pool._workers.idle == 1
    pool.kill()


def test_the_outcome_of_a_finished_task_is_kept(hub, monkeypatch):
    """A thread that is ended after its task, before the outcome was delivered, delivers it all the same."""
    pool = ThreadPool(1, hub=hub)
    fetch = _workers.Workers.fetch
    calls = []

    def ended(workers, worker):
        calls.append(1)
        if len(calls) == 2:
            raise SystemExit
        return fetch(workers, worker)

    monkeypatch.setattr(_workers.Workers, "fetch", ended)
    assert pool.apply(int, ("7",)) == 7
    monkeypatch.undo()
    assert pool.apply(int, ("8",)) == 8
    pool.kill()
