"""A failure while a failure is reported changes nothing but the report."""

from __future__ import annotations

import gc
import io
import sys
import threading

import hubbub
import pytest
from hubbub import Greenlet, TaskGroup, event, sleep, spawn
from hubbub.pool import Pool
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor


class Failure(Exception):
    """What the greenlets of these tests fail with."""


def fail(error=Failure):
    raise error


class Stream(io.StringIO):
    """A standard error stream that fails."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def nasty(error):
    """An exception class whose texts cannot be had."""

    class Nasty(Exception):
        def __str__(self):
            raise error

        __repr__ = __str__

    return Nasty


class NastyFunction:
    """A function that cannot be shown."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_):
        raise Failure

    def __repr__(self):
        raise self.error

    def __getattr__(self, name):
        raise self.error


ERRORS = [RuntimeError, RecursionError, OSError, MemoryError, hubbub.GreenletExit, GeneratorExit, hubbub.Timeout]
# Classes: an instance would keep the frames through which it came.


@pytest.fixture(autouse=True)
def words(hub, monkeypatch):
    """What is reported, by the hub or on the process's own standard error stream."""
    hub.exception_stream = stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)
    return stream


def assert_all_is_well(hub, greenlet, kind=Failure):
    """It ended with its own error, who joins it goes on, and so does the hub."""
    joined = []
    joiner = spawn(lambda: (greenlet.join(), joined.append(1)))
    with hubbub.Timeout(5, AssertionError("something hangs")):
        joiner.join()
        greenlet.join()
        sleep(0.001)
    assert joined
    assert isinstance(greenlet.exception, kind)
    with pytest.raises(kind):
        greenlet.get()
    assert spawn(abs, -1).get() == 1
    assert hub.statistics().greenlets == 0


@pytest.mark.parametrize("error", ERRORS)
def test_stream_that_fails(hub, words, error):
    """Whatever writing to the error stream raises, the greenlet keeps its own error and is joined."""
    hub.exception_stream = Stream(error)
    assert_all_is_well(hub, spawn(fail))


@pytest.mark.parametrize("error", ERRORS)
def test_standard_error_that_fails(hub, monkeypatch, error):
    """The same with sys.stderr itself, the last one included."""
    hub.exception_stream = Stream(error)
    monkeypatch.setattr(sys, "__stderr__", Stream(error))
    assert_all_is_well(hub, spawn(fail))


@pytest.mark.parametrize("error", ERRORS)
def test_handler_that_fails(hub, words, error):
    """Whatever handle_error raises, nothing changes, and both errors are written."""

    def handle_error(*_):
        raise error

    hub.handle_error = handle_error
    assert_all_is_well(hub, spawn(fail))
    assert "Failure" in words.getvalue()
    assert error.__name__ in words.getvalue()
    del hub.handle_error


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interruption_of_the_report(hub, words, interrupt):
    """Ctrl-C or sys.exit in the middle of a report is raised in the main greenlet, and the greenlet keeps its error."""

    def handle_error(*_):
        del hub.handle_error
        raise interrupt

    hub.handle_error = handle_error
    failed = spawn(fail)
    with pytest.raises(interrupt):
        sleep(1)
    assert_all_is_well(hub, failed)
    assert "Failure" in words.getvalue()


@pytest.mark.parametrize("error", ERRORS)
def test_error_that_cannot_be_shown(hub, words, error):
    """An error whose texts raise is reported by its class."""
    kind = nasty(error)
    assert_all_is_well(hub, spawn(fail, kind), kind)
    assert "Nasty" in words.getvalue()


@pytest.mark.parametrize("error", ERRORS)
def test_function_that_cannot_be_shown(hub, words, error):
    """A greenlet whose function cannot be shown is reported all the same."""
    assert_all_is_well(hub, spawn(NastyFunction(error)))
    assert "Failure" in words.getvalue()


@pytest.mark.parametrize("error", ERRORS)
def test_greenlet_that_cannot_be_shown(hub, words, error):
    """So is one whose own repr raises."""

    class Nasty(Greenlet):
        def __repr__(self):
            raise error

    assert_all_is_well(hub, Nasty.spawn(fail))
    assert "Failure" in words.getvalue()


@pytest.mark.parametrize("error", ERRORS)
def test_links_that_fail(hub, words, error):
    """A link that raises keeps no other from being called, even if its report fails."""

    def handle_error(*_):
        raise error

    def bad(_):
        raise error

    called = []
    one = spawn(abs, -1)
    for link in (bad, called.append, bad, called.append):
        one.rawlink(link)
    hub.handle_error = handle_error
    one.join(5)
    sleep(0)
    assert called == [one, one]
    assert one.get() == 1
    del hub.handle_error


@pytest.mark.parametrize("error", ERRORS)
def test_failing_of_a_subclass(hub, words, error):
    """A subclass whose own handling of a failure fails has ended nevertheless, and is joined."""

    class Nasty(Greenlet):
        def _failed(self, failure):
            self._error = failure
            raise error

    assert_all_is_well(hub, Nasty.spawn(fail))


@pytest.mark.parametrize("error", ERRORS)
def test_groups_and_pools(hub, words, error):
    """Pools are left, and task groups end, though the report of a failure fails."""

    def handle_error(*_):
        raise error

    hub.handle_error = handle_error
    pool = Pool(1)
    for _ in range(3):
        pool.spawn(fail)
    with hubbub.Timeout(5, AssertionError("the pool hangs")):
        assert pool.join()
        with pytest.raises(ExceptionGroup), TaskGroup() as group:
            group.spawn(fail)
            group.spawn(sleep, 60)
    del hub.handle_error


@pytest.mark.parametrize("error", ERRORS)
def test_thread_pools(hub, words, error):
    """So do the tasks of thread pools."""

    def handle_error(*_):
        raise error

    hub.handle_error = handle_error
    pool = ThreadPool(1)
    with hubbub.Timeout(5, AssertionError("the pool hangs")):
        pool.spawn(fail)
        pool.join()
        with pytest.raises(Failure):
            pool.apply(fail)
        assert pool.apply(abs, (-1,)) == 1
    gc.collect()
    pool.kill()
    del hub.handle_error


# Failures of tasks that nobody asks for --------------------------------------------------------------------------


@pytest.fixture
def reported(hub):
    """What is reported to the hub."""
    seen = []
    hub.handle_error = lambda context, kind, error, tb: seen.append((context, error))
    return seen


def eventually(condition, collect=True):
    limit = hubbub.Timeout(5, AssertionError("it never came true"))
    with limit:
        while not condition():
            if collect:
                gc.collect()
            sleep(0.001)


def test_a_failed_task_is_reported(hub, reported):
    """The failure of a task whose result nobody keeps, or nobody asks for, is reported once."""
    pool = ThreadPool(2)
    gc.disable()
    try:
        pool.spawn(fail)
        pool.join()
        eventually(lambda: len(reported) == 1, collect=False)  # at once, without the garbage collector
    finally:
        gc.enable()
    kept = pool.spawn(fail)
    pool.join()
    assert not kept.successful()
    assert len(reported) == 1
    del kept
    eventually(lambda: len(reported) == 2)
    assert all(isinstance(error, Failure) for _, error in reported)
    assert reported[0][0] == (pool, fail)
    pool.kill()


def get(result, name="get"):
    with pytest.raises(Failure):
        getattr(result, name)()


def pass_on(result):
    other = event.AsyncResult()
    result.rawlink(other)
    get(other)


@pytest.mark.parametrize(
    "ask",
    [
        get,
        lambda result: get(result, "result"),
        lambda result: (result.wait(), result.exception),
        lambda result: (result.wait(), result.exc_info),
        pass_on,
        lambda result: hubbub.joinall([result]) and result.exception,
    ],
)
def test_a_failure_that_was_asked_for_is_not_reported(hub, reported, ask):
    """Whoever has asked for the error of a task has it; there is no report."""
    pool = ThreadPool(2)
    ask(pool.spawn(fail))
    with pytest.raises(Failure):
        pool.apply(fail)
    with pytest.raises(Failure):
        pool.map(fail, [Failure])
    with pytest.raises(Failure):
        hubbub.to_thread(fail)
    pool.join()
    gc.collect()
    sleep(0)
    assert not reported
    pool.kill()


def test_tasks_that_did_not_fail_are_not_reported(hub, reported):
    """Neither a task that was killed before it began, nor one that GreenletExit or SystemExit ended, is reported."""
    gate = threading.Event()
    pool = ThreadPool(1)
    pool.spawn(gate.wait, 10)
    pool.spawn(fail)
    pool.kill()
    gate.set()
    pool.join()
    pool.spawn(fail, hubbub.GreenletExit)
    pool.spawn(fail, SystemExit)
    pool.join()
    gc.collect()
    sleep(0)
    assert not reported


def test_a_failed_call_of_an_executor_is_reported(hub, reported):
    """So it is with futures: reported if they go away before anybody has asked."""
    executor = ThreadPoolExecutor(2)
    executor.submit(fail)
    eventually(lambda: len(reported) == 1)
    for ask in (lambda future: get(future, "result"), lambda future: future.exception()):
        ask(executor.submit(fail))
    future = executor.submit(fail)
    with pytest.raises(Failure):
        hubbub.wait([future])[0].result()
    executor.shutdown()
    del future
    gc.collect()
    sleep(0)
    assert len(reported) == 1


def test_a_failed_call_in_a_thread_without_a_hub(hub, monkeypatch):
    """Where there is no hub to tell, sys.unraisablehook is told."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def elsewhere():
        executor = ThreadPoolExecutor(1)
        executor.submit(fail)
        executor.shutdown(wait=False)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    eventually(lambda: [type(one.exc_value) for one in seen] == [Failure])


def test_interruptions_of_tasks_reach_main(hub):
    """KeyboardInterrupt that a task raised and nobody asks for is raised in the main greenlet."""
    hub.exception_stream = None
    pool = ThreadPool(1)
    pool.spawn(fail, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(1000):
            sleep(0.005)
    pool.kill()


def test_internal_pools_do_not_report(hub, reported):
    """A look-up that nobody waits for any more fails without a word."""
    pool = hub.file_pool
    pool.spawn(fail)
    pool.join()
    gc.collect()
    sleep(0)
    assert not reported
