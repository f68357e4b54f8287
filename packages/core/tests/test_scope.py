"""Cancel scopes: deadlines, shields, and cancellation that comes again."""

from __future__ import annotations

import hubbub
import pytest
from hubbub import CancelScope, Event, Greenlet, fail_after, move_on_after, shield, sleep, spawn


def test_move_on_after_ends_the_block_quietly(virtual_clock):
    """A move_on_after block that takes too long ends without an error and says so."""
    with move_on_after(5) as scope:
        sleep(60)
    assert scope.cancelled_caught
    assert virtual_clock.now() == pytest.approx(5)


def test_move_on_after_leaves_a_quick_block_alone(virtual_clock):
    """A block that ends in time is not cancelled, and its deadline is forgotten."""
    with move_on_after(5) as scope:
        sleep(1)
    sleep(10)
    assert not scope.cancelled_caught
    assert not scope.cancel_called


def test_fail_after_raises_timeout_error(virtual_clock):
    """A fail_after block that takes too long raises the builtin TimeoutError."""
    with pytest.raises(TimeoutError, match="5 seconds"), fail_after(5):
        sleep(60)


def test_a_foreign_timeout_passes_through_fail_after(virtual_clock):
    """A TimeoutError or Timeout that is not the scope's own is neither swallowed nor changed."""
    with pytest.raises(TimeoutError, match="mine"), fail_after(5):
        raise TimeoutError("mine")
    outer = hubbub.Timeout(1)
    with pytest.raises(hubbub.Timeout) as caught, outer, fail_after(5):
        sleep(60)
    assert caught.value is outer


def test_nested_deadlines_keep_their_owner(virtual_clock):
    """The outer deadline passes through the inner scope and is stopped by the outer one."""
    with move_on_after(1) as outer:
        with move_on_after(5) as inner:
            sleep(60)
        pytest.fail("the inner scope stopped the outer one's cancellation")
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


def test_a_swallowed_cancellation_comes_again(hub):
    """Code that swallows the cancellation gets it anew at its next wait."""
    swallowed = 0
    with CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            try:
                sleep(100)
            except hubbub.Cancelled:
                swallowed += 1
        sleep(100)
    assert swallowed == 3
    assert scope.cancelled_caught


def test_cancel_from_another_greenlet(hub):
    """A scope can be cancelled from outside, and what follows the block runs."""
    scope = CancelScope()
    after = []

    def work():
        with scope:
            Event().wait()
        after.append(True)

    worker = spawn(work)
    sleep(0)
    scope.cancel()
    worker.join(5)
    assert after == [True]


def test_a_shield_keeps_cancellation_out_until_it_ends(virtual_clock):
    """Inside a shield nothing is cancelled; the cancellation comes at the first wait after it."""
    steps = []
    with move_on_after(1):
        with shield():
            sleep(3)
            steps.append("shielded")
        sleep(60)
        steps.append("not reached")
    assert steps == ["shielded"]
    assert virtual_clock.now() == pytest.approx(3)


def test_a_shield_delays_kill(virtual_clock):
    """A greenlet that is killed inside a shield ends after the shield, not in it."""
    steps = []

    def work():
        with shield():
            sleep(3)
            steps.append("shielded")
        sleep(60)
        steps.append("not reached")

    worker = spawn(work)
    sleep(1)
    worker.kill()
    assert steps == ["shielded"]
    assert worker.successful()


def test_a_scope_cancelled_before_it_is_entered(hub):
    """Entering a scope that was cancelled before cancels the block at its first wait."""
    scope = CancelScope()
    scope.cancel()
    with scope:
        sleep(100)
    assert scope.cancelled_caught


def test_a_cancelled_scope_without_a_wait_ends_normally(hub):
    """A block that never waits ends normally, and later waits are not disturbed."""
    with CancelScope() as scope:
        scope.cancel()
    sleep(0)
    sleep(0.001)
    assert not scope.cancelled_caught


def test_a_cancelled_waiter_gives_back_what_it_was_handed(hub):
    """A permit handed over in the turn of the cancellation goes to the next waiter."""
    lock = hubbub.Semaphore(0)
    scope = CancelScope()
    got = []

    def first():
        with scope:
            lock.acquire()
            got.append("first")

    def second():
        lock.acquire()
        got.append("second")

    greenlets = [spawn(first), spawn(second)]
    sleep(0)
    scope.cancel()
    lock.release()
    hubbub.joinall(greenlets, timeout=5)
    assert got in (["second"], ["first"])
    if got == ["first"]:
        greenlets[1].kill()
    else:
        assert lock.counter == 0


def test_scope_misuse_is_named(hub):
    """Entering twice and leaving from another greenlet raise a RuntimeError that says so."""
    scope = CancelScope()
    with scope, pytest.raises(RuntimeError, match="twice"):
        scope.__enter__()
    with pytest.raises(ValueError, match="NaN"):
        CancelScope(float("nan"))
    other = CancelScope()
    entered = Greenlet.spawn(other.__enter__)
    entered.join()
    with pytest.raises(RuntimeError, match="greenlet that entered"):
        other.__exit__(None, None, None)
