"""Time limits."""

from __future__ import annotations

import gc
import math
import tracemalloc

import hubbub
import pytest
from hubbub import Event, Timeout, sleep, spawn, with_timeout


class Failure(Exception):
    """An exception of these tests."""


def test_raises_itself(hub):
    """A timeout raises itself in the greenlet that started it, not before its time."""
    begun = hub.loop.update_now()
    with pytest.raises(Timeout) as caught, Timeout(0.01) as limit:
        sleep(10)
    assert caught.value is limit
    assert hub.loop.update_now() - begun >= 0.0095


def test_does_not_fire_after_the_block(virtual_clock):
    """A block that ends in time ends its timeout."""
    with Timeout(5) as limit:
        sleep(1)
    assert not limit.pending
    sleep(10)


def test_leaves_nothing_after_the_block(hub):
    """A timeout whose block has ended does not keep the loop going."""
    with Timeout(3600):
        sleep(0)
    assert hub.join(timeout=1)


def test_is_no_exception(hub):
    """Timeout is a BaseException: except Exception does not swallow it."""
    assert issubclass(Timeout, BaseException)
    assert not issubclass(Timeout, Exception)


def test_none_never_fires(hub):
    """A timeout of None seconds never fires and never is pending."""
    with Timeout(None) as limit:
        sleep(0.001)
        assert not limit.pending
    assert str(limit) == ""


@pytest.mark.parametrize("seconds", [0, -1, 0.0])
def test_zero_and_negative_fire_in_the_next_turn(hub, seconds):
    """Zero or fewer seconds fire at the first wait, in the next turn."""
    with pytest.raises(Timeout), Timeout(seconds):
        sleep(5)


def test_nan_is_refused(hub):
    """NaN is no time."""
    with pytest.raises(ValueError, match="NaN"):
        Timeout(math.nan)


def test_silent(hub):
    """With exception=False the block ends quietly by its own timeout."""
    with Timeout(0.001, False) as limit:
        sleep(10)
    assert not limit.pending
    assert "silent" in str(limit)


def test_silent_lets_others_pass(hub):
    """A silent timeout swallows neither other exceptions nor another timeout."""
    with pytest.raises(Failure), Timeout(1, False):
        raise Failure
    with pytest.raises(Timeout) as caught, Timeout(0.001) as outer, Timeout(5, False):
        sleep(10)
    assert caught.value is outer


@pytest.mark.parametrize("exception", [Failure, Failure("an instance")])
def test_raises_another_exception(hub, exception):
    """An exception class or instance is raised instead of the timeout."""
    with pytest.raises(Failure) as caught, Timeout(0.001, exception):
        sleep(10)
    if isinstance(exception, Failure):
        assert caught.value is exception


def test_text(hub):
    """A text is part of the message of the timeout, which raises itself."""
    with pytest.raises(Timeout) as caught, Timeout(0.001, "reading the page"):
        sleep(10)
    assert str(caught.value) == "0.001 seconds: reading the page"


def test_str(hub):
    """str() tells the seconds."""
    assert str(Timeout(1)) == "1 second"
    assert str(Timeout(2.5)) == "2.5 seconds"


def test_repr(hub):
    """repr() tells the seconds and whether it is pending."""
    limit = Timeout(3)
    assert "seconds=3" in repr(limit)
    assert "pending" not in repr(limit)
    limit.start()
    assert "pending" in repr(limit)
    limit.close()


def test_outer_through_inner(hub):
    """An outer timeout that fires inside an inner block passes through it and is told apart by identity."""
    with pytest.raises(Timeout) as caught, Timeout(0.002) as outer, Timeout(5) as inner:
        sleep(10)
    assert caught.value is outer
    assert caught.value is not inner
    assert not inner.pending


def test_inner_before_outer(hub):
    """An inner timeout fires first and leaves the outer one running."""
    with Timeout(5) as outer:
        with pytest.raises(Timeout) as caught, Timeout(0.001) as inner:
            sleep(10)
        assert caught.value is inner
        assert outer.pending


def test_many_nested(hub):
    """Of many nested timeouts the one whose time has come fires, whatever its depth."""

    def nest(depth, limits):
        if not depth:
            sleep(10)
            return
        with Timeout(5 if depth != 7 else 0.002) as limit:
            limits[depth] = limit
            nest(depth - 1, limits)

    limits = {}
    with pytest.raises(Timeout) as caught:
        nest(20, limits)
    assert caught.value is limits[7]
    assert not any(limit.pending for limit in limits.values())


def test_start_and_cancel(hub):
    """A timeout can be started, cancelled and started again; starting a running one is a ValueError."""
    limit = Timeout(0.002)
    assert not limit.pending
    limit.start()
    assert limit.pending
    with pytest.raises(ValueError, match="already started"):
        limit.start()
    limit.cancel()
    limit.cancel()
    sleep(0.005)
    with pytest.raises(Timeout):
        limit.start()
        sleep(10)
    limit.close()


def test_start_new(hub):
    """start_new starts a new one, or one that is given and not running; a running one is left as it is."""
    first = Timeout.start_new(10)
    assert first.pending
    assert Timeout.start_new(first) is first
    first.cancel()
    assert Timeout.start_new(first) is first
    assert first.pending
    first.close()
    nothing = Timeout.start_new(None)
    assert not nothing.pending


def test_fires_in_the_greenlet_that_started_it(hub):
    """A timeout fires in the greenlet that started it, whichever runs then."""
    seen = []

    def body():
        try:
            with Timeout(0.002):
                sleep(10)
        except Timeout:
            seen.append("inside")

    one = spawn(body)
    sleep(0.01)
    one.join(timeout=5)
    assert seen == ["inside"]


def test_dead_greenlets_are_spared(hub, capsys):
    """A timeout whose greenlet has ended without closing it does nothing."""
    spawn(lambda: Timeout(0.001).start()).join()
    sleep(0.005)
    assert capsys.readouterr().err == ""


def test_order(hub):
    """Timeouts compare by their seconds; None is the longest."""
    assert Timeout(1) < Timeout(2) < Timeout(None)
    assert min(Timeout(3), Timeout(1)).seconds == 1
    with pytest.raises(TypeError):
        assert Timeout(1) < 5


def test_unreferenced(hub):
    """A timeout with ref=False is no reason for the loop to go on."""
    limit = Timeout(3600, ref=False)
    limit.start()
    assert hub.join(timeout=1)
    limit.close()


def test_with_timeout(hub):
    """with_timeout returns what the function returned if it was in time, passing its arguments."""
    assert with_timeout(5, lambda *args, **kwargs: (args, kwargs), 1, two=2) == ((1,), {"two": 2})
    with pytest.raises(Timeout):
        with_timeout(0.001, sleep, 10)


def test_with_timeout_value(hub):
    """with_timeout returns timeout_value when its own time is up, None included."""
    assert with_timeout(0.001, sleep, 10, timeout_value="late") == "late"
    assert with_timeout(0.001, sleep, 10, timeout_value=None) is None


def test_with_timeout_lets_others_pass(hub):
    """with_timeout does not take another timeout, or an exception of the function, for its own."""

    def foreign():
        with Timeout(0.001):
            sleep(10)

    with pytest.raises(Timeout):
        with_timeout(5, foreign, timeout_value="late")

    def fail():
        raise Failure

    with pytest.raises(Failure):
        with_timeout(5, fail, timeout_value="late")


def test_no_wait_no_timeout(hub):
    """A block that never waits is not interrupted, however long it takes."""
    with Timeout(0) as limit:
        sum(range(1000))
    assert not limit.pending


def test_forgotten_timeouts_leak_nothing(hub):
    """100,000 timeouts started and closed leave memory flat."""

    def rounds(count):
        for _ in range(count):
            Timeout.start_new(3600).close()

    rounds(2000)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        rounds(5_000)
        sleep(0)
        rounds(5_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    rounds(88_000)
    assert grown < 100_000
    assert hub.join(timeout=1)


def test_restarted_timeouts_leak_nothing(hub):
    """A timeout that is started and cancelled again and again leaves one timer at most."""
    limit = Timeout(3600)
    for _ in range(10_000):
        limit.start()
        limit.cancel()
    assert hub.join(timeout=1)


def test_on_the_virtual_clock(virtual_clock):
    """Timeouts follow the loop's clock: an hour passes at once when everybody sleeps."""
    with pytest.raises(Timeout), Timeout(3600):
        Event().wait()
    assert virtual_clock.now() == 3600
    assert hubbub.Event().wait(timeout=60) is False
    assert virtual_clock.now() == 3660


def test_a_class_with_attributes_of_its_own(hub):
    """A subclass may have class attributes where the base has slots: what was given is what counts."""

    class Limit(Timeout):
        seconds = None
        exception = None

    limit = Limit(0.001, ValueError("late"))
    assert (limit.seconds, str(limit)) == (0.001, "0.001 seconds: late")
    limit.start()
    with pytest.raises(ValueError, match="late"):
        sleep(5)
    assert not limit.pending
    with pytest.raises(Limit, match=r"^0\.001 seconds$"), Limit(0.001):
        sleep(5)
