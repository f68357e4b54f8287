"""The interface of _thread on greenlets."""

from __future__ import annotations

import _thread
import sys
import threading
from typing import Any

import hubbub
import hubbub.threading
import pytest
from hubbub import thread
from hubbub.lowlevel import Hub


def test_ident(hub: Hub) -> None:
    """The first greenlet of a native thread has the thread's number, every other greenlet one of its own."""
    idents = [hubbub.spawn(thread.get_ident).get() for _ in range(2)]
    running = [hubbub.spawn(lambda: (hubbub.sleep(0), thread.get_ident())[1]) for _ in range(2)]
    assert thread.get_ident() == _thread.get_ident()
    assert thread.get_ident() not in idents
    assert len({one.get() for one in running}) == 2


def test_ident_in_hub(hub: Hub) -> None:
    """What runs in the hub, as a signal handler may, is part of the native thread: it may take its RLock again."""
    lock = thread.RLock()
    seen: list[Any] = []

    def callback() -> None:
        seen.append(thread.get_ident())
        with lock:
            seen.append(hubbub.threading.current_thread())

    with lock:
        hub.loop.run_callback(callback)
        hubbub.sleep(0.001)
    assert seen == [_thread.get_ident(), hubbub.threading.main_thread()]


def test_start(hub: Hub) -> None:
    """A thread runs with its arguments in an empty context, and start gives its number."""
    done: list[Any] = []

    def body(*args: Any, **kwargs: Any) -> None:
        done.append((thread.get_ident(), args, kwargs))

    ident = thread.start_new_thread(body, (1,), {"two": 2})
    hubbub.sleep(0)
    assert done == [(ident, (1,), {"two": 2})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, ()), "callable"), ((print, []), "tuple"), ((print, (), []), "dictionary")],
)
def test_wrong_arguments(hub: Hub, arguments: tuple[Any, ...], message: str) -> None:
    """Arguments of the wrong type are refused as _thread refuses them."""
    with pytest.raises(TypeError, match=message):
        thread.start_new_thread(*arguments)


def test_end(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """SystemExit ends a thread quietly; any other error goes to sys.unraisablehook, which is told the function.

    From CPython 3.13 on in the message, before as the object.
    """
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    def fail() -> None:
        raise ZeroDivisionError

    thread.start_new_thread(thread.exit, ())
    thread.start_new_thread(fail, ())
    hubbub.sleep(0)
    told: tuple[object, str] = (None, f"Exception ignored in thread started by {fail!r}")
    if sys.version_info < (3, 13):
        told = (fail, "Exception ignored in thread started by")
    assert [(item.exc_type, item.object, item.err_msg) for item in seen] == [(ZeroDivisionError, *told)]


def test_interrupt(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C that finds a thread reaches the main greenlet, and is not printed if that one catches it."""
    thread.start_new_thread(thread.interrupt_main, ())
    with pytest.raises(KeyboardInterrupt):
        hubbub.sleep(5)
    assert capsys.readouterr().err == ""


def test_lock(hub: Hub) -> None:
    """A lock lets one in at a time and others in turn; anybody may release it."""
    lock = thread.allocate_lock()
    order: list[int] = []

    def worker(number: int) -> None:
        with lock as taken:
            assert taken is True
            order.append(number)
            hubbub.sleep(0)

    lock.acquire()
    workers = [hubbub.spawn(worker, number) for number in range(3)]
    hubbub.sleep(0)
    assert order == []
    hubbub.spawn(lock.release)
    hubbub.joinall(workers, raise_error=True)
    assert order == [0, 1, 2]
    assert not lock.locked()


def test_release_unlocked(hub: Hub) -> None:
    """Releasing a free lock is a RuntimeError, before and after use."""
    lock = thread.allocate_lock()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="release unlocked lock"):
            lock.release()
        with lock:
            assert "<locked" in repr(lock)


@pytest.mark.parametrize("make", [thread.LockType, thread.RLock])
def test_limits(hub: Hub, make: Any) -> None:
    """Time limits are checked and kept as those of threading.Lock."""
    lock = make()
    hubbub.spawn(lock.acquire).join()
    assert lock.acquire(False) is False
    assert lock.acquire(timeout=0.01) is False
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="non-negative"):
        lock.acquire(timeout=-2)
    with pytest.raises(OverflowError):
        lock.acquire(timeout=thread.TIMEOUT_MAX * 2)


def test_after_fork(hub: Hub) -> None:
    """A lock that is renewed after a fork is free."""
    for lock in (thread.LockType(), thread.RLock()):
        lock.acquire()
        lock._at_fork_reinit()
        assert not lock.locked()
        assert lock.acquire(False)


def test_rlock(hub: Hub) -> None:
    """An RLock is taken again by its owner and by nobody else, and only its owner releases it."""
    lock = thread.RLock()
    with lock, lock:
        assert lock._recursion_count() == 2
        assert hubbub.spawn(lock.acquire, False).get() is False
    assert not lock.locked()
    assert hubbub.spawn(lock.acquire).get() is True
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock.release()


@pytest.mark.parametrize("make", [thread.LockType, thread.RLock])
def test_condition(hub: Hub, make: Any) -> None:
    """threading.Condition works on these locks: a greenlet that waits lets others take the lock."""
    lock = make()
    condition = threading.Condition(lock)
    said: list[str] = []

    def consumer() -> None:
        with condition:
            said.append("waits")
            while len(said) < 2:
                condition.wait_for(lambda: len(said) == 2, timeout=0)
                condition.release()
                hubbub.sleep(0)
                condition.acquire()
            said.append("got it")

    waiting = hubbub.spawn(consumer)
    hubbub.sleep(0)
    with condition:
        said.append("notifies")
        condition.notify()
    waiting.get(timeout=10)
    assert said == ["waits", "notifies", "got it"]


def test_across_threads(hub: Hub) -> None:
    """A lock released by another native thread wakes the greenlet that waits."""
    lock = thread.allocate_lock()
    lock.acquire()
    other = threading.Timer(0.05, lock.release)
    other.start()
    assert lock.acquire(timeout=10)
    other.join()
