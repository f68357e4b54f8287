"""Random calls of the interface of loops and watchers, and calls from the wrong thread: exceptions at most."""

from __future__ import annotations

import errno
import math
import os
import random
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import hypothesis.strategies as st
import pytest
from hubbub.abc import READ, WRITE
from hubbub.exceptions import InvalidThreadUseError, LoopDestroyed
from hubbub.loop.watchers import Timer
from hubbub.lowlevel import make_loop
from hubbub.plugins import LOOPS, load
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

# 100,000 calls on each loop when asked for: HUBBUB_RANDOM_CALLS=100000.
CALLS = int(os.environ.get("HUBBUB_RANDOM_CALLS", "2000"))
STEPS = 50

seconds = st.sampled_from([0.0, -1.0, 1e-9, 0.0005, 5.0, 1e9, 1e300, math.inf, -math.inf])
bad_seconds = st.just(math.nan)
numbers = st.sampled_from([-(2**31), -2, -1, 2**31 - 1, 10**6])
ACTIONS = ("nothing", "stop", "close", "start", "fail", "run")
PHASES = ("async_", "prepare", "check", "idle", "fork")


class Failed(Exception):
    """Raised by callbacks on purpose."""


class Failures:
    """Stands where the hub stands; anything but the expected goes on up."""

    def handle_error(self, context, kind, error, traceback):
        if not isinstance(error, (Failed, OSError, ValueError, LoopDestroyed)):
            raise error


def check_counts(loop, made):
    """Compare what the loop has counted with what is active. ``made``: all watchers of it that are the test's."""
    holding = [one for one in made if one.active and one.ref and not isinstance(one, Timer)]
    assert loop.refs == len(holding)
    running = [entry for entry in loop._heap if entry[2] is not None]
    assert loop.timer_count() == len(running)
    assert loop._timers_alive() == any(entry[4] for entry in running)
    for one in (one for one in made if isinstance(one, Timer) and one.active):
        assert one.pending == (one._fire in loop.ready)
        assert one.pending or (one._key in loop._heap and one._key[4] == one.ref)
    assert len(loop.ready) == len({id(call) for call in loop.ready})


class Strict:
    """Stands where the hub stands, and lets nothing pass."""

    def handle_error(self, context, kind, error, traceback):
        raise error


class LoopMachine(RuleBasedStateMachine):
    """Makes, starts, stops, changes, closes and fires watchers; opens, closes and reuses descriptors; turns."""

    loop_class = None
    sockets = Bundle("sockets")
    watchers = Bundle("watchers")
    keys = Bundle("keys")

    def __init__(self):
        super().__init__()
        self.loop = self.loop_class()
        self.loop.error_handler = Failures()
        self.made = []
        self.open = []
        self.later = []
        self.depth = 0

    def teardown(self):
        for watcher in self.made:
            watcher.close()
        for key in self.later:
            self.loop.cancel_later(*key)
        for sock in self.open:
            self.loop.descriptor_closing(sock.fileno())
            sock.close()
        if not self.loop.destroyed:
            self.works()
        self.loop.destroy()

    def works(self):
        """Whatever happened before, a descriptor and a timer are still noticed."""
        seen = []
        left, right = socket.socketpair()
        with left, right, self.loop.io(left.fileno(), READ) as watcher:
            watcher.start(lambda: (seen.append("io"), watcher.stop()))
            self.loop.timer(0.0).start(seen.append, "timer")
            right.send(b"x")
            self.loop.run()
            assert sorted(seen) == ["io", "timer"]
            watcher.close()
            self.loop.descriptor_closing(left.fileno())

    def keep(self, watcher):
        self.made.append(watcher)
        return watcher

    # Descriptors

    @rule(target=sockets)
    def pair(self):
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        self.open += ends
        return multiple(*ends)

    @rule(sock=sockets)
    def send(self, sock):
        with suppress(OSError):
            sock.send(b"x")

    @rule(sock=sockets)
    def receive(self, sock):
        with suppress(OSError):
            sock.recv(100)

    @rule(sock=consumes(sockets), told=st.booleans())
    def shut(self, sock, told):
        if told and sock.fileno() >= 0:
            self.loop.descriptor_closing(sock.fileno())
        self.open.remove(sock)
        sock.close()

    @rule(sock=sockets, other=sockets)
    def replace(self, sock, other):
        if sock.fileno() >= 0 and other.fileno() >= 0:
            os.dup2(other.fileno(), sock.fileno())

    # Watchers

    @rule(target=watchers, sock=sockets, events=st.sampled_from([READ, WRITE, READ | WRITE]), ref=st.booleans())
    def io(self, sock, events, ref):
        return self.keep(self.loop.io(max(sock.fileno(), 0), events, ref)) if sock.fileno() >= 0 else multiple()

    @rule(target=watchers, fd=numbers)
    def io_of_a_bad_number(self, fd):
        if fd >= 0:
            return self.keep(self.loop.io(fd, READ))
        with pytest.raises(ValueError, match="descriptor"):
            self.loop.io(fd, READ)
        return multiple()

    @rule(target=watchers, after=seconds, repeat=st.sampled_from([0.0, 0.0, 1e-9, 0.001, 1e300]), ref=st.booleans())
    def timer(self, after, repeat, ref):
        return self.keep(self.loop.timer(after, repeat, ref))

    @rule(after=seconds, repeat=bad_seconds)
    def timer_of_no_time(self, after, repeat):
        for times in ((after, repeat), (repeat, after)):
            with pytest.raises(ValueError, match="NaN"):
                self.loop.timer(*times)

    @rule(target=watchers, kind=st.sampled_from(PHASES), ref=st.booleans(), priority=st.integers(-2, 2))
    def phase(self, kind, ref, priority):
        return self.keep(getattr(self.loop, kind)(ref=ref, priority=priority))

    @rule(target=watchers)
    def stat(self):
        return self.keep(self.loop.stat(tempfile.gettempdir(), 0.001))

    @rule(number=numbers)
    def signal_of_a_bad_number(self, number):
        with pytest.raises(ValueError, match="signal"):
            self.loop.signal(number)

    @rule(
        watcher=watchers, other=watchers, action=st.sampled_from(["nothing", "stop", "close", "start", "fail", "run"])
    )
    def start(self, watcher, other, action):
        actions = {
            "nothing": int,
            "stop": other.stop,
            "close": other.close,
            "start": partial(self.attempt, other.start, int),
            "fail": self.fail,
            "run": self.turn,
        }
        self.attempt(watcher.start, actions[action])

    def fail(self):
        raise Failed

    def attempt(self, function, *args, **kwargs):
        """A call that may meet a closed descriptor, a closed watcher or a destroyed loop, and nothing worse."""
        try:
            function(*args, **kwargs)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.EPERM, errno.EEXIST):
                raise
        except ValueError as error:
            if "closed" not in str(error):
                raise
        except LoopDestroyed:
            pass  # a watcher of a loop that was destroyed

    @rule(watcher=watchers)
    def stop(self, watcher):
        watcher.stop()
        assert not watcher.active
        assert not watcher.pending

    @rule(watcher=watchers)
    def close(self, watcher):
        watcher.close()

    @rule(watcher=watchers, ref=st.booleans())
    def change_ref(self, watcher, ref):
        watcher.ref = ref
        assert watcher.ref is ref

    @rule(watcher=watchers)
    def show(self, watcher):
        assert repr(watcher)
        assert repr(self.loop)

    # The loop

    @rule()
    def turn(self):
        if self.depth < 3:  # a callback may turn the loop, but not without end
            self.depth += 1
            try:
                self.loop.run(nowait=True)
            finally:
                self.depth -= 1

    @rule(target=keys, after=seconds, repeat=st.sampled_from([0.0, 0.001]), ref=st.booleans())
    def call_later(self, after, repeat, ref):
        callback = partial(int)
        self.later.append((self.loop.call_later(after, callback, repeat, ref), callback))
        return self.later[-1]

    @rule(key=consumes(keys))
    def cancel_later(self, key):
        if key in self.later:
            self.later.remove(key)
            self.loop.cancel_later(*key)

    @rule(stopped=st.booleans())
    def run_callback(self, stopped):
        call = self.loop.run_callback_threadsafe(self.fail)
        if stopped:
            call.stop()
            assert not call.pending

    @rule()
    def wake_and_break(self):
        self.loop.wake()
        self.loop.break_()

    @rule(fd=numbers)
    def forget(self, fd):
        self.loop.descriptor_closing(fd)
        self.loop.backend.forget(fd)

    @rule()
    def begin_anew(self):
        self.loop.reinit()

    @invariant()
    def counts_are_those_of_what_is_active(self):
        """Whether the loop goes on follows from what is started and waited for, whatever was called before."""
        check_counts(self.loop, self.made)

    @rule(often=st.integers(0, 20))
    def destroy(self, often):
        if often == 20:
            self.loop.destroy()
            for call in (self.loop.run, partial(self.loop.timer, 1.0), partial(self.loop.run_callback, int)):
                with pytest.raises(LoopDestroyed):
                    call()
            self.made, self.later, self.loop = [], [], self.loop_class()
            self.loop.error_handler = Failures()


def test_random_calls(hub, loop_name):
    """Random calls, sound and unsound, raise the documented exceptions at most, and the loop goes on working."""
    machine = type("Machine", (LoopMachine,), {"loop_class": staticmethod(partial(make_loop, load(LOOPS, loop_name)))})
    limits = settings(
        derandomize=True,
        max_examples=max(CALLS // STEPS, 1),
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,),
    )
    run_state_machine_as_test(machine, settings=limits)


class Crowd:
    """A few watchers that start, stop, change and close themselves and one another, many of them while they are due."""

    def __init__(self, loop, seed):
        self.loop = loop
        self.random = random.Random(seed)
        self.watchers = []
        self.ends = socket.socketpair()
        self.actions = (self.start, self.start, self.again, self.stop, self.change_ref, self.close, self.pause)

    def make(self):
        rng, loop, ref = self.random, self.loop, self.random.random() < 0.7
        kind = rng.randrange(8)
        if kind < 4:
            return loop.timer(rng.choice([0.0, 0.0, 0.0001, 5.0]), rng.choice([0.0, 0.0001]), ref=ref)
        if kind == 4:
            return loop.io(rng.choice(self.ends).fileno(), WRITE, ref=ref)
        return getattr(loop, rng.choice(PHASES))(ref=ref)

    def any(self):
        while len(self.watchers) < 4:
            self.watchers.append(self.make())
        return self.random.choice(self.watchers)

    def start(self):
        self.any().start(self.act)

    def again(self):
        watcher = self.any()
        getattr(watcher, "again", watcher.start)(self.act)

    def stop(self):
        self.any().stop()

    def change_ref(self):
        watcher = self.any()
        watcher.ref = not watcher.ref

    def close(self):
        watcher = self.any()
        watcher.close()
        self.watchers.remove(watcher)

    def pause(self):
        time.sleep(0.0002)  # what runs is due now

    def act(self):
        self.random.choice(self.actions)()
        check_counts(self.loop, self.watchers)

    def run(self, steps):
        for _ in range(steps):
            self.act()
            if self.random.random() < 0.3:
                self.loop.run(nowait=True)
                check_counts(self.loop, self.watchers)
        for watcher in self.watchers:
            watcher.close()
        check_counts(self.loop, [])
        self.loop.run()
        for end in self.ends:
            self.loop.descriptor_closing(end.fileno())
            end.close()


@pytest.mark.parametrize("seed", range(5))
def test_counts_of_a_crowd(hub, loop_name, seed):
    """What keeps a loop going is what is started, whenever watchers are started, stopped and changed: also when due."""
    loop = make_loop(load(LOOPS, loop_name))
    loop.error_handler = Strict()
    Crowd(loop, seed).run(1000)
    loop.destroy()


def test_another_thread(loop_name):
    """Another thread may wake the loop and queue calls; it may not start watchers or run it."""
    loop = make_loop(load(LOOPS, loop_name))
    left, right = socket.socketpair()
    ran = []
    watchers = [loop.timer(1.0), loop.io(left.fileno(), READ), *(getattr(loop, kind)() for kind in PHASES)]
    refused = [loop.run, *(partial(watcher.start, int) for watcher in watchers)]

    def misuse():
        for call in refused:
            with pytest.raises(InvalidThreadUseError, match="another thread"):
                call()
        loop.wake()
        loop.run_callback_threadsafe(ran.append, "queued")

    with left, right, ThreadPoolExecutor(1) as thread:
        thread.submit(misuse).result(10)
        loop.run()
        loop.destroy()
    assert ran == ["queued"]
    assert not any(watcher.active for watcher in watchers)
