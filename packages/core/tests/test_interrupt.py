"""What throws into a greenlet, what a shield keeps out of it, and from which thread it may be called: the table."""

from __future__ import annotations

import os
import signal
import threading

import hubbub
import hubbub.signal
import pytest
from greenlet import getcurrent, greenlet
from hubbub import CancelScope, Event, LoopExit, Timeout, get_hub, shield, sleep, spawn
from hubbub.lowlevel import interrupt, interrupts_to, run_callback, spawn_raw


class Failure(Exception):
    """What is thrown here."""


class Victim:
    """A greenlet that is in a scope, in a shield, in a scope, and notes where something struck it."""

    def __init__(self, limit=None, inner_limit=None):
        self.outer, self.inner = CancelScope(), CancelScope()
        self.limit, self.inner_limit = limit, inner_limit
        self.gate, self.struck = Event(), None
        self.greenlet = spawn(self.run)
        sleep(0)

    def run(self):
        try:
            with self.outer:
                limit = Timeout.start_new(self.limit)
                try:
                    with shield():
                        self.protected()
                    self.where = "after the shield"
                    sleep(60)
                finally:
                    limit.cancel()
        except BaseException as error:
            self.note(error)
        if self.outer.cancelled_caught:
            self.note(hubbub.Cancelled(self.outer))

    def protected(self):
        self.where = "in the shield"
        try:
            with self.inner, Timeout(self.inner_limit):
                self.gate.wait()
        except BaseException as error:
            self.note(error)
            raise
        if self.inner.cancelled_caught:
            self.note(hubbub.Cancelled(self.inner))

    def note(self, error):
        if self.struck is None:
            self.struck = self.where

    def found(self):
        """Where it was struck, once it has been let out of the shield."""
        for _ in range(3):
            sleep(0)
        self.gate.set()
        for _ in range(3):
            sleep(0)
        self.greenlet.kill(timeout=5)
        assert self.greenlet.dead
        return self.struck


def in_thread(function, *args, **kwargs):
    """Call it in a native thread, and let that end."""
    errors = []

    def work():
        try:
            function(*args, **kwargs)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    sleep(0)
    if errors:
        raise errors[0]


def expire(seconds=0.002):
    sleep(seconds * 5)


IN, AFTER = "in the shield", "after the shield"
TABLE = {
    "kill": (AFTER, lambda it: it.greenlet.kill(Failure, block=False)),
    "kill with GreenletExit": (AFTER, lambda it: it.greenlet.kill(block=False)),
    "kill, the function": (AFTER, lambda it: hubbub.kill(it.greenlet, Failure)),
    "kill from another thread": (AFTER, lambda it: in_thread(it.greenlet.kill, Failure, block=False)),
    "killall": (AFTER, lambda it: hubbub.killall([it.greenlet], Failure, block=False)),
    "interrupt": (AFTER, lambda it: interrupt(it.greenlet, Failure())),
    "interrupt from another thread": (AFTER, lambda it: in_thread(interrupt, it.greenlet, Failure)),
    "cancel the scope around": (AFTER, lambda it: it.outer.cancel()),
    "cancel the scope around from another thread": (AFTER, lambda it: in_thread(it.outer.cancel)),
    "cancel the scope inside": (IN, lambda it: it.inner.cancel()),
    "cancel the scope inside from another thread": (IN, lambda it: in_thread(it.inner.cancel)),
    "throw": (IN, lambda it: run_callback(it.greenlet.throw, Failure())),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(hub, name):
    """What was begun inside of a shield cuts through it, everything else waits for its end, and nothing is lost."""
    where, strike = TABLE[name]
    victim = Victim()
    strike(victim)
    assert victim.found() == where


def test_timeout_that_began_outside(hub):
    """A Timeout that began before the shield comes after it."""
    victim = Victim(limit=0.002)
    expire()
    assert victim.struck is None
    assert victim.found() == AFTER


def test_timeout_that_began_inside(hub):
    """A Timeout that began in the shield ends what it limits there."""
    victim = Victim(inner_limit=0.002)
    expire()
    assert victim.found() == IN


def test_timeout_that_was_kept_out_may_be_cancelled(hub):
    """A Timeout that a shield has kept out runs until it is thrown: cancelled, or started anew, it does not come."""
    limit = Timeout(0.002)
    limit.start()
    with shield():
        expire()
        assert limit.pending
        limit.cancel()
    sleep(0)
    sleep(0)
    limit.start()
    with shield():
        expire()
        limit.cancel()
        limit.seconds = 60
        limit.start()
    sleep(0)
    sleep(0)
    assert limit.pending
    limit.cancel()


def test_timeout_kept_out_is_raised_once(hub):
    """After the shield it is raised, as itself, and is over."""
    with pytest.raises(Timeout) as caught, Timeout(0.002) as limit:
        with shield():
            expire()
        sleep(5)
    assert caught.value is limit
    assert not limit.pending


def test_nested_shields(hub):
    """What is kept out by an inner shield is kept out by the outer one too."""
    steps = []

    def work():
        with shield():
            with shield():
                sleep(0.001)
            steps.append("inner")
            sleep(0.001)
            steps.append("outer")
        sleep(60)

    one = spawn(work)
    sleep(0)
    one.kill(timeout=5)
    assert steps == ["inner", "outer"]
    assert one.dead


def test_signal_cuts_through(hub):
    """What a signal handler raises belongs to the main greenlet, in a shield or not."""

    def fail(number, frame):
        raise Failure

    before = hubbub.signal.prompt(signal.SIGUSR1, fail)
    spawn(os.kill, os.getpid(), signal.SIGUSR1)
    try:
        with pytest.raises(Failure), shield():
            sleep(5)
    finally:
        hubbub.signal.prompt(signal.SIGUSR1, before)


def test_deadlock_cuts_through(hub):
    """A deadlock in a shield would otherwise never end."""
    with pytest.raises(LoopExit), shield():
        Event().wait()


def test_main_greenlet(hub):
    """The main greenlet may be interrupted as any other, also from another thread."""
    main = getcurrent()
    for strike in (lambda: interrupt(main, Failure), lambda: in_thread(interrupt, main, Failure)):
        spawn(strike)
        with pytest.raises(Failure):
            sleep(5)


def test_bare_greenlet_from_another_thread(hub):
    """A bare greenlet is interrupted by the hub of its own thread, whoever asks."""
    struck = []

    def work():
        try:
            sleep(60)
        except Failure:
            struck.append(get_hub())

    bare = spawn_raw(work)
    sleep(0)
    in_thread(hubbub.kill, bare, Failure)
    sleep(0)
    assert struck == [hub]
    assert bare.dead


def test_greenlet_that_has_not_begun(hub):
    """One that has not begun never will, whichever thread says so."""
    ran = []
    for strike in (lambda one: interrupt(one, Failure), lambda one: in_thread(one.kill, Failure, block=False)):
        one = hubbub.Greenlet(ran.append, 1)
        strike(one)
        one.start()
        one.join(timeout=5)
        sleep(0)
        assert isinstance(one.exception, Failure) or ran
    assert len(ran) <= 1


def test_wanted(hub):
    """What is not wanted any more when it would be thrown, after a shield, is not thrown; it is asked once."""
    asked = []
    for answer, where in ((False, None), (True, "after the shield")):
        victim = Victim()
        interrupt(victim.greenlet, Failure(), lambda answer=answer: asked.append(answer) or answer)
        sleep(0)
        assert asked[-1:] != [answer]
        victim.gate.set()
        sleep(0)
        sleep(0)
        assert victim.struck == where
        assert asked[-1] == answer
        victim.greenlet.kill()
    assert asked == [False, True]


def test_dead_greenlet(hub):
    """One that has ended is left alone."""
    one = spawn(int)
    one.join()
    interrupt(one, Failure)
    sleep(0)
    assert one.successful()


def test_no_greenlet(hub):
    """Bad arguments are refused at the call."""
    with pytest.raises(TypeError, match="a greenlet is needed"):
        interrupt(5, Failure)
    with pytest.raises(TypeError, match="exception"):
        interrupt(spawn(int), 5)


def test_thread_without_a_hub(hub):
    """A bare greenlet of a thread that has no hub cannot be interrupted, and the error says so."""
    made = []
    in_thread(lambda: made.append(greenlet(lambda: None)))
    if not made[0].dead:
        with pytest.raises(RuntimeError, match="has no hub"):
            interrupt(made[0], Failure)


STRIKES = {
    "kill": lambda greenlet, scope: greenlet.kill(Failure, block=False),
    "kill from another thread": lambda greenlet, scope: in_thread(greenlet.kill, Failure, block=False),
    "interrupt": lambda greenlet, scope: interrupt(greenlet, Failure()),
    "scope": lambda greenlet, scope: scope.cancel(),
    "timeout": lambda greenlet, scope: expire(),
}


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("name", STRIKES)
def test_interrupts_to(hub, name, takes):
    """Code that asks for the interrupts which began before it gets them on the hub, and may take them."""
    asked, thrown, block = [], [], CancelScope()

    def receive(error):
        asked.append(error if isinstance(error, type) else type(error))
        assert getcurrent() is hub
        gate.set()
        return takes

    def work():
        with block, Timeout(0.002 if name == "timeout" else None, Failure):
            try:
                with interrupts_to(receive):
                    gate.wait()
            except (Failure, hubbub.Cancelled) as error:
                thrown.append(type(error))
                raise

    gate = Event()
    greenlet = spawn(work)
    greenlet.handle_failure = greenlet.keep_failure
    sleep(0)
    STRIKES[name](greenlet, block)
    greenlet.join(5)
    expected = [hubbub.Cancelled if name == "scope" else Failure]
    assert asked[:1] == expected
    assert thrown == ([] if takes else expected)


def test_interrupts_to_of_what_began_inside(hub):
    """Limits and scopes of the block itself, and interrupts of others and after it, are not asked about."""
    asked = []
    with interrupts_to(asked.append):
        with pytest.raises(Timeout), Timeout(0.001):
            sleep(5)
        with CancelScope(0.001) as scope:
            sleep(5)
        assert scope.cancelled_caught
        spawn(sleep, 5).kill()
    with pytest.raises(Timeout), Timeout(0.001):
        sleep(5)
    assert asked == []


def test_interrupts_to_waits_for_shields(hub):
    """An interrupt is asked about when the shields of the greenlet have ended."""
    asked = []

    def receive(error):
        asked.append(where)
        return True

    with Timeout(0.001), interrupts_to(receive):
        where = "shield"
        with shield():
            expire()
        where = "after"
        sleep(0)
        sleep(0)
    assert asked == ["after"]
